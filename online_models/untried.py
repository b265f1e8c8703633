"""New items that hardly anybody has touched, with a bonus that shrinks as they are tried.

Of an item that was on ``n`` events (impressions among them) or lists, n/(n + kappa) is known, and the rest is the bonus: the weight of
a prior against ``n`` observations (Bühlmann's credibility; "Experience rating and credibility", ASTIN Bulletin 4, 1967).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ._kernels import insert_top
from .base import Arrays, FloatArray, IntArray, Observation, Query, grown, remapped

SCAN = 1_024
"""Newest rows that are looked through."""
LEAST = 0.5
"""Items with a smaller bonus are not named."""


@njit(cache=True)
def _candidates(tried: Any, known: int, kappa: float, blocked: Any, items: Any, scores: Any) -> int:
    n = 0
    for item in range(max(known - SCAN, 0), known):
        bonus = np.float32(kappa / (kappa + tried[item]))
        if bonus >= LEAST and blocked[item] == 0:
            n = insert_top(items, scores, n, items.shape[0], item, bonus)
    return n


@njit(cache=True)
def _describe(x: Any, rows: Any, n: int, c: int, tried: Any, kappa: float) -> None:
    for i in range(n):
        times = tried[rows[i]] if rows[i] < tried.shape[0] else 0
        x[i, c] = np.float32(kappa / (kappa + times))


class Untried:
    """Of each item how often it was tried: events of any type on it, and lists that it stood in.

    >>> model, empty = Untried(kappa=1.0), np.zeros(0, np.int32)
    >>> for item in (0, 1, 1):
    ...     model.learn_one(Observation(item, 1.0, 0, 1, 1, empty, empty, 0))
    >>> model.show([0, 0])
    >>> model.tried[:2].tolist()
    [3, 2]
    """

    lists = ("untried",)

    def __init__(self, kappa: float = 10.0) -> None:
        self.kappa = kappa
        self.tried: IntArray = np.zeros(64, np.int32)
        self.known = np.zeros(1, np.int64)

    def learn_one(self, o: Observation) -> None:
        self._reach(o.item)
        self.tried[o.item] += 1

    def _reach(self, row: int) -> None:
        if row >= len(self.tried):
            self.tried = grown(self.tried, row + 1)
        self.known[0] = max(int(self.known[0]), row + 1)

    def show(self, rows: list[int]) -> None:
        """A list was shown with these items in it."""
        for row in rows:
            self._reach(row)
            self.tried[row] += 1

    def is_untried(self, row: int) -> bool:
        """Whether the item may still be named."""
        return row >= len(self.tried) or self.kappa / (self.kappa + float(self.tried[row])) >= LEAST

    def describe(self, x: FloatArray, rows: IntArray, n: int, c: int) -> None:
        """Fill column ``c`` with the bonus: 1 for an item that was never tried, less and less the oftener it was."""
        _describe(x, rows, n, c, self.tried, self.kappa)

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        counts[0] = _candidates(self.tried, int(self.known[0]), self.kappa, q.blocked, items[0], scores[0])

    def snapshot(self) -> Arrays:
        return {"tried": self.tried, "known": self.known}

    def restore(self, state: Arrays) -> None:
        self.tried, self.known = state["tried"].copy(), state["known"].copy()

    def remap(self, new_index: IntArray) -> None:
        self.tried = remapped(self.tried, new_index)
        self.known[0] = int(new_index.max(initial=-1)) + 1

    @property
    def nbytes(self) -> int:
        return int(self.tried.nbytes)
