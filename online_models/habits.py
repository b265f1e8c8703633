"""What becomes of an item, whoever the user is: how often it is wanted at all, taken again, and how it is rated.

An item whose events are mostly low ratings, or the same user staying on it, is popular and yet nobody's next item. An item that
people take once only need not be listed to those who have it. Shares are drawn to that of all items while there are few events.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from ._kernels import fast_log
from .base import Arrays, FloatArray, IntArray, grown, remapped

NAMES = ("rating", "ratings", "wanted", "again", "log_again", "own_again")
"""The columns: rating above the mean of all, number of ratings, share of events that a list should have named, share by a user
who had the item, its logarithm, and that share again for the user's own items alone."""

PRIOR = 5.0
"""Events at the mean of all that every item counts as having had."""
_EVENTS, _WANTED, _AGAIN, _RATINGS, _VALUES = range(5)


@njit(cache=True)
def _learn(sums: Any, totals: Any, item: int, wanted: bool, again: bool, rated: bool, value: float) -> None:
    for field, step in (
        (_EVENTS, 1.0),
        (_WANTED, 1.0 * wanted),
        (_AGAIN, 1.0 * again),
        (_RATINGS, 1.0 * rated),
        (_VALUES, value),
    ):
        sums[field, item] += step
        totals[field] += step


@njit(cache=True)
def _describe(x: Any, rows: Any, n: int, c: int, own: int, sums: Any, totals: Any, top: float) -> None:
    events = totals[_EVENTS] + 1.0
    wanted, again = (totals[_WANTED] + 1.0) / events, (totals[_AGAIN] + 0.1) / events
    mean = totals[_VALUES] / totals[_RATINGS] if totals[_RATINGS] > 0.0 else 0.0
    for i in range(n):
        row = rows[i]
        if top > 0.0:
            rated = sums[_RATINGS, row]
            x[i, c] = ((sums[_VALUES, row] + PRIOR * mean) / (rated + PRIOR) - mean) * (5.0 / top)
            x[i, c + 1] = fast_log(np.float32(1.0 + rated)) * np.float32(0.1)
        seen = sums[_EVENTS, row] + PRIOR
        x[i, c + 2] = (sums[_WANTED, row] + PRIOR * wanted) / seen
        share = np.float32((sums[_AGAIN, row] + PRIOR * again) / seen)
        x[i, c + 3] = share
        x[i, c + 4] = np.float32(1.0) + fast_log(share + np.float32(0.01)) * np.float32(0.2)
        if x[i, own] > 0.0:
            x[i, c + 5] = share


class Habits:
    """Sums of each item: events, those that a list should have named, those by a user who had it, ratings, their values.

    >>> habits = Habits()
    >>> for had in (0, 1, 1):
    ...     habits.learn_one(item=7, wanted=True, again=had > 0, rating=None)
    >>> habits.sums[:, 7].tolist()
    [3.0, 3.0, 2.0, 0.0, 0.0]
    """

    def __init__(self) -> None:
        self.sums: npt.NDArray[np.float64] = np.zeros((5, 64))
        self.totals: npt.NDArray[np.float64] = np.zeros(5)

    def know(self, row: int) -> None:
        """A new item."""
        if row >= self.sums.shape[1]:
            self.sums = grown(self.sums, row + 1)

    def learn_one(self, item: int, wanted: bool, again: bool, rating: float | None) -> None:
        """One event on ``item``, a row; ``rating`` where it was rated."""
        self.know(item)
        _learn(self.sums, self.totals, item, wanted, again, rating is not None, rating or 0.0)

    def describe(self, x: FloatArray, rows: IntArray, n: int, c: int, own: int, top: float) -> None:
        """Fill the columns `NAMES` from ``c`` on. Column ``own`` says which are the user's; ``top`` is the largest rating (0: none)."""
        _describe(x, rows, n, c, own, self.sums, self.totals, top)

    def snapshot(self) -> Arrays:
        return {"sums": self.sums, "totals": self.totals}

    def restore(self, state: Arrays) -> None:
        self.sums, self.totals = state["sums"].copy(), state["totals"].copy()

    def remap(self, new_index: IntArray) -> None:
        """The item table was compacted. The sums of all keep what was learned of the items that are gone."""
        self.sums = remapped(self.sums, new_index)

    @property
    def nbytes(self) -> int:
        return self.sums.nbytes
