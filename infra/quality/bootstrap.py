"""Means with intervals: a bootstrap that draws whole sessions, because the queries of one session stand or fall together.

Where there are periods, sessions are drawn within each, and the mean is that of the periods' means, all of the same weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .plan import Ints

DRAWS = 1_000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean, and between which bounds the middle 95 % of the draws lie."""

    mean: float
    low: float
    high: float


def intervals(
    values: npt.NDArray[Any], sessions: Ints, strata: Ints, draws: int = DRAWS, seed: int = 0
) -> list[Interval]:
    """Of each column of ``values`` [queries, columns]: the percentile bootstrap (Efron 1979) over sessions, drawn within strata.

    The same ``seed`` draws the same sessions. Of a difference, give the paired differences. Without queries there is no interval: raises
    ValueError.

    >>> [found] = intervals(np.array([[1.0], [0.0], [1.0], [0.0]]), np.array([0, 0, 1, 1]), np.zeros(4, np.int64))
    >>> found
    Interval(mean=0.5, low=0.5, high=0.5)
    """
    if not len(values):
        raise ValueError("expected at least one query, got none; ask about more of the log")
    rng = np.random.default_rng(seed)
    found = np.unique(strata)
    means = np.zeros(values.shape[1])
    drawn = np.zeros((draws, values.shape[1]))
    for stratum in found:
        inside = strata == stratum
        sums, sizes = by_session(values[inside], sessions[inside])
        means += sums.sum(axis=0) / sizes.sum() / len(found)
        for d in range(draws):
            times = np.bincount(rng.integers(0, len(sizes), len(sizes)), minlength=len(sizes)).astype(np.float64)
            drawn[d] += (times @ sums) / (times @ sizes) / len(found)
    low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return [Interval(*map(float, three)) for three in zip(means, low, high, strict=True)]


def by_session(values: npt.NDArray[Any], sessions: Ints) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sums [sessions, columns] and numbers of queries [sessions]."""
    _, number = np.unique(sessions, return_inverse=True)
    sizes: npt.NDArray[np.float64] = np.bincount(number).astype(np.float64)
    sums = np.zeros((len(sizes), values.shape[1]))
    for column, of in enumerate(values.T.astype(np.float64)):
        sums[:, column] = np.bincount(number, weights=of)
    return sums, sizes
