"""Which weights to cut and how far: where the squared error is least, as Su et al. choose in "Doubly robust off-policy
evaluation with shrinkage", ICML 2020, section 5."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, sqrt
from typing import Literal

import numpy as np

from ...errors import InputError
from .logged import Floats

Bound = Literal["direct", "upper"]
_CHANCE = 0.05  # that a bias is larger than its upper bound


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
    raw: Floats,
    changed: Sequence[Floats],
    rounds: Sequence[Floats],
    residual: Floats,
    bound: Bound = "direct",
    reward_range: float = 1.0,
) -> int:
    """The index of the ``changed`` weights whose estimate has the lowest squared error, as far as can be said, the first of
    equals: the variance of the mean plus the squared bias (`bias`).

    ``rounds`` [n] are the rows' contributions under each, ``residual`` = reward - q̂. ``reward_range``: how far two rewards
    may be apart.
    """
    if bound not in ("direct", "upper") or not reward_range > 0.0:
        found = f"bound={bound!r}, reward_range={reward_range}"
        raise InputError("bound direct or upper and reward_range > 0", found, "correct them")
    errors = [
        float(np.var(each)) / len(each) + bias(raw, weights, residual, bound, reward_range) ** 2
        for weights, each in zip(changed, rounds, strict=True)
    ]
    return int(np.argmin(errors))


def bias(raw: Floats, changed: Floats, residual: Floats, bound: Bound = "direct", reward_range: float = 1.0) -> float:
    """What the changed weights are off by. ``direct``: the mean of (w - ŵ)(r - q̂) in the log. ``upper``: Bernstein's
    allowance for chance on top, so that it is as large as the bias with probability 95 %.

    The allowance grows with the raw weights, however the changed ones are: with few rows it drowns the difference between
    the candidates, and the choice is nearly always to change nothing.
    """
    seen = abs(float(np.mean((raw - changed) * residual)))
    if bound == "direct":
        return seen
    n, chance = len(raw), log(2.0 / _CHANCE)
    slack = sqrt(2.0 * float(np.mean(raw**2)) * chance / n) + 2.0 * float(raw.max()) * chance / (3.0 * n)
    return seen + reward_range * slack
