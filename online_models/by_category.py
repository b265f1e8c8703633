"""Trending by category: what everybody is on in the categories of the user's latest items.

Of each category the `POOL` items with the largest decayed counts are kept, sorted (forward decay, as in `popularity`: an order
once right stays right until an item of it is seen again). The counts are learned; which item is in which category the `Shelf` says,
and the pools follow from both. Categories come and go; their numbers are used again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ._kernels import drain_top
from .base import Arrays, FloatArray, IntArray, Observation, Query, grown, remapped
from .shelf import Shelf

POOL = 64
"""Items kept of a category."""
LATEST, FADE = 20, 0.9
"""Latest items whose categories are asked, and the weight of each further back."""
_BIG = 1e200


@njit(cache=True)
def _raise(score: Any, top: Any, n_top: Any, c: int, item: int) -> None:
    """Put ``item``, whose score has grown or is new, where it belongs in the pool of category ``c``."""
    n, s = n_top[c], score[item]
    at = 0
    while at < n and top[c, at] != item:
        at += 1
    if at == n:
        if n < top.shape[1]:
            n_top[c] = n + 1
        else:
            at = n - 1
            other = top[c, at]
            if score[other] > s or (score[other] == s and other < item):
                return
    while at > 0:
        other = top[c, at - 1]
        if score[other] > s or (score[other] == s and other < item):
            break
        top[c, at] = other
        at -= 1
    top[c, at] = item


@njit(cache=True)
def _learn(score: Any, cats: Any, top: Any, n_top: Any, item: int, weight: float) -> None:
    score[item] += weight
    for j in range(cats.shape[0]):
        if cats[j, item] >= 0:
            _raise(score, top, n_top, cats[j, item], item)


@njit(cache=True)
def _take_out(top: Any, n_top: Any, c: int, item: int) -> bool:
    """Whether the pool was full, so that another item may belong in it now."""
    n = n_top[c]
    for at in range(n):
        if top[c, at] == item:
            for later in range(at + 1, n):
                top[c, later - 1] = top[c, later]
            n_top[c] = n - 1
            return n == top.shape[1]
    return False


@njit(cache=True)
def _refill(score: Any, cats: Any, top: Any, n_top: Any, only: int) -> None:
    """Make the pool of category ``only`` anew; -1: of all."""
    for c in range(n_top.shape[0]):
        if only < 0 or c == only:
            n_top[c] = 0
    for item in range(min(score.shape[0], cats.shape[1])):
        if score[item] > 0.0:
            for j in range(cats.shape[0]):
                c = cats[j, item]
                if c >= 0 and (only < 0 or c == only):
                    _raise(score, top, n_top, c, item)


@njit(cache=True)
def _candidates(
    recent: Any, cats: Any, weights: Any, score: Any, top: Any, n_top: Any, blocked: Any, acc: Any, touched: Any, items: Any, scores: Any
) -> int:  # fmt: skip
    n = 0
    w = np.float32(1.0)
    for r in range(min(recent.shape[0], LATEST)):
        for j in range(cats.shape[0] if recent[r] < cats.shape[1] else 0):
            c = cats[j, recent[r]]
            if c < 0 or n_top[c] == 0 or weights[c] <= 0.0:
                continue
            scale = w * weights[c] / score[top[c, 0]]
            for t in range(n_top[c]):
                item = top[c, t]
                more = np.float32(score[item] * scale)
                if more == 0.0:
                    continue
                if acc[item] == 0.0:
                    touched[n] = item
                    n += 1
                acc[item] += more
        w *= np.float32(FADE)
    return drain_top(acc, touched, n, blocked, items.shape[0], items, scores)


class ByCategory:
    """Decayed counts with half-life ``half_life``, in events, and a pool for each category of ``shelf``.

    >>> shelf = Shelf()
    >>> for row, kind in enumerate(("tea", "soap", "tea")):
    ...     moves = shelf.tell(str(row), [kind], None)
    ...     shelf.know(row, str(row))
    >>> model, empty = ByCategory(shelf), np.zeros(0, np.int32)
    >>> for item in (0, 2, 2, 1):
    ...     model.learn_one(Observation(item, 1.0, 0, 1, 1, empty, empty, 0))
    >>> model.pool(0).tolist()
    [2, 0]
    """

    lists = ("category",)

    def __init__(self, shelf: Shelf | None = None, half_life: float = 20_000.0) -> None:
        self.shelf = Shelf() if shelf is None else shelf
        self.growth = 2.0 ** (1.0 / half_life)
        self.score = np.zeros(64, np.float64)
        self.unit = np.ones(1, np.float64)
        self.top: IntArray = np.zeros((0, POOL), np.int32)
        self.n_top: IntArray = np.zeros(0, np.int32)

    def learn_one(self, o: Observation) -> None:
        if o.weight <= 0.0:
            return
        if o.item >= len(self.score):
            self.score = grown(self.score, o.item + 1)
        self.unit *= self.growth
        self._reach(o.item)
        _learn(self.score, self.shelf.cats, self.top, self.n_top, o.item, o.weight * float(self.unit[0]))
        if self.unit[0] > _BIG:
            self.score /= self.unit[0]
            self.unit[0] = 1.0
            self.refill()  # scores that fell to nothing may tie now

    def _reach(self, item: int) -> None:
        """Room for the item's categories."""
        if self.shelf.categories > len(self.n_top):
            size = max(self.shelf.categories, 2 * len(self.n_top), 64)
            self.n_top = grown(self.n_top, size)
            self.top = np.concatenate([self.top, np.zeros((len(self.n_top) - len(self.top), POOL), np.int32)])
        if item >= self.shelf.cats.shape[1]:
            self.shelf.know(item, "")

    def moved(self, row: int, old: tuple[int, ...], new: tuple[int, ...]) -> None:
        """The catalogue has put an item into other categories."""
        self._reach(row)
        for c in sorted(set(old) - set(new)):
            if _take_out(self.top, self.n_top, c, row):
                _refill(self.score, self.shelf.cats, self.top, self.n_top, c)
        if row < len(self.score) and self.score[row] > 0.0:
            for c in sorted(set(new) - set(old)):
                _raise(self.score, self.top, self.n_top, c, row)

    def refill(self) -> None:
        """Make all pools anew, as after a restart."""
        self._reach(0)
        _refill(self.score, self.shelf.cats, self.top, self.n_top, -1)

    def pool(self, category: int) -> IntArray:
        """The rows kept of a category, the most wanted first."""
        return self.top[category, : int(self.n_top[category])]

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        counts[0] = 0
        if self.shelf.told and len(q.recent):
            shelf, work = self.shelf, q.scratch
            counts[0] = _candidates(
                q.recent,
                shelf.cats,
                shelf.weights,
                self.score,
                self.top,
                self.n_top,
                q.blocked,
                work.acc,
                work.touched,
                items[0],
                scores[0],
            )

    def snapshot(self) -> Arrays:
        return {"score": self.score, "unit": self.unit}

    def restore(self, state: Arrays) -> None:
        self.score, self.unit = state["score"].copy(), state["unit"].copy()
        self.refill()

    def remap(self, new_index: IntArray) -> None:
        """The item table was compacted, and the shelf with it."""
        self.score = remapped(self.score, new_index)
        self.refill()

    @property
    def nbytes(self) -> int:
        return int(self.score.nbytes + self.top.nbytes + self.n_top.nbytes)
