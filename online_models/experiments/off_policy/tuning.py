"""Which weights to cut and how far: the least bound on the squared error, after Su et al., "Doubly robust off-policy
evaluation with shrinkage", ICML 2020, section 5."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, sqrt

import numpy as np

from ...errors import InputError
from .logged import Floats

CONFIDENCE = 0.05
"""Chance that a bias is larger than its bound."""


def grid(scales: Floats, size: int = 30, spread: float = 1.0) -> list[float]:
    """Candidates: a geometric grid from the 5th percentile of the positive ``scales`` over ``spread`` to ``spread`` times the
    95th, and infinity, which changes no weight.

    >>> [round(value, 2) for value in grid(np.array([1.0, 1.0, 2.0, 4.0, 0.0]), size=3)]
    [1.0, 1.92, 3.7, inf]
    """
    positive = scales[scales > 0.0]
    if not len(positive):
        return [inf]
    low, high = np.quantile(positive, [0.05, 0.95])
    return [*np.geomspace(low / spread, high * spread, size).tolist(), inf]


def choose(
    raw: Floats, changed: Sequence[Floats], rounds: Sequence[Floats], residual: Floats, reward_range: float = 1.0
) -> int:
    """The index of the ``changed`` weights whose estimate has the lowest bound on its squared error, the first of equals.

    ``rounds`` [n] are the rows' contributions under each, ``residual`` = reward - q̂. The bound is the variance of the mean
    plus the square of the bias' upper bound (`bias_bound`).
    """
    if not reward_range > 0.0:
        raise InputError("reward_range > 0", repr(reward_range), "give the largest difference of two rewards")
    bounds = [
        float(np.var(each)) / len(each) + bias_bound(raw, weights, residual, reward_range) ** 2
        for weights, each in zip(changed, rounds, strict=True)
    ]
    return int(np.argmin(bounds))


def bias_bound(raw: Floats, changed: Floats, residual: Floats, reward_range: float = 1.0) -> float:
    """What the changed weights may be off by: the mean of (w - ŵ)(r - q̂) in the log, and Bernstein's allowance for chance."""
    n = len(raw)
    seen = abs(float(np.mean((raw - changed) * residual)))
    chance = log(2.0 / CONFIDENCE)
    slack = sqrt(2.0 * float(np.mean(raw**2)) * chance / n) + 2.0 * float(raw.max()) * chance / (3.0 * n)
    return seen + reward_range * slack
