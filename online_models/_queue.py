"""A queue of item rows in the order in which they were last seen, the row that nobody has seen for longest in front."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from .base import Arrays, IntArray, fitted, grown

_OUT = -1
_AFTER, _BEFORE = 0, 1


@njit(cache=True)
def _front(links: Any, but: int, out: Any) -> int:
    n = 0
    at = links[_AFTER, 0]
    while at != 0 and n < out.shape[0]:
        if at - 1 != but:
            out[n] = at - 1
            n += 1
        at = links[_AFTER, at]
    return n


@njit(cache=True)
def _to_the_end(links: Any, row: int) -> None:
    at = row + 1
    after, before = links[_AFTER, at], links[_BEFORE, at]
    if after != _OUT:
        links[_AFTER, before] = after
        links[_BEFORE, after] = before
    last = links[_BEFORE, 0]
    links[_AFTER, last] = links[_BEFORE, 0] = at
    links[_BEFORE, at], links[_AFTER, at] = last, 0


@njit(cache=True)
def _touch(links: Any, row: int, out: Any) -> None:
    n = _front(links, row, out)
    _to_the_end(links, row)
    for i in range(n):
        _to_the_end(links, out[i])


@njit(cache=True)
def _fill(links: Any, rows: Any) -> None:
    links[:] = _OUT
    links[:, 0] = 0
    for row in rows:
        _to_the_end(links, row)


class Queue:
    """Rows by recency, a ring of links: place ``row + 1`` of ``links`` [2, rows + 1] holds the places after and before it.

    ``draws`` rows are taken from the front for each row that is seen, and go to the end behind it: nobody is taken again
    before all others were.

    >>> queue = Queue(draws=1)
    >>> for row in (4, 2, 7):
    ...     queue.touch(row)
    >>> queue.front(but=7).tolist(), queue.rows().tolist()
    ([4], [4, 7, 2])
    """

    def __init__(self, draws: int) -> None:
        self.draws = draws
        self.links: npt.NDArray[np.int32] = np.full((2, 64), _OUT, np.int32)
        self.links[:, 0] = 0

    def front(self, but: int) -> IntArray:
        """The rows that ``touch(but)`` will take. Changes nothing."""
        out = np.empty(self.draws, np.int32)
        return out[: _front(self.links, but, out)]

    def touch(self, row: int) -> None:
        """``row`` is seen: it goes to the end, and behind it those that it takes from the front."""
        self.links = grown(self.links, row + 2, _OUT)
        _touch(self.links, row, np.empty(self.draws, np.int32))

    def rows(self) -> IntArray:
        """All rows, the front first."""
        out = np.empty(self.links.shape[1], np.int32)
        return out[: _front(self.links, -1, out)]

    def snapshot(self) -> Arrays:
        return {"links": self.links}

    def restore(self, state: Arrays) -> None:
        self.links = state["links"].copy()

    def remap(self, new_index: IntArray) -> None:
        rows = fitted(new_index, self.links.shape[1])[self.rows()]
        _fill(self.links, rows[rows >= 0])

    @property
    def nbytes(self) -> int:
        return self.links.nbytes
