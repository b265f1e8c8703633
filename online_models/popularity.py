"""Decayed popularity: what everybody does just now, at several half-lives side by side.

Counts decay by half every ``half_life`` events. Instead of ageing every count at every event, the weight of a new event
grows (forward decay: Cormode et al., "Forward Decay", ICDE 2009), so an order once right stays right until an item of it
is seen again: the best ``TOP`` items of each half-life are kept sorted in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .base import Arrays, FloatArray, IntArray, Observation, Query, grown, remapped

TOP = 256
_BIG = 1e200


@njit(cache=True)
def _raise(score: Any, top: Any, place: Any, n_top: Any, item: int) -> None:
    """Move ``item``, whose score has just grown, up the sorted list."""
    s = score[item]
    at = place[item]
    if at < 0:
        n = n_top[0]
        if n < top.shape[0]:
            at = n
            n_top[0] = n + 1
        else:
            last = top[n - 1]
            if score[last] > s or (score[last] == s and last < item):
                return
            place[last] = -1
            at = n - 1
    while at > 0:
        other = top[at - 1]
        if score[other] > s or (score[other] == s and other < item):
            break
        top[at] = other
        place[other] = at
        at -= 1
    top[at] = item
    place[item] = at


@njit(cache=True)
def _learn(
    growth: Any, unit: Any, total: Any, score: Any, top: Any, place: Any, n_top: Any, item: int, weight: float
) -> bool:
    big = False
    for h in range(growth.shape[0]):
        unit[h] *= growth[h]
        w = weight * unit[h]
        total[h] += w
        score[h, item] += w
        _raise(score[h], top[h], place[h], n_top[h : h + 1], item)
        big = big or unit[h] > _BIG
    return big


@njit(cache=True)
def take(score: Any, top: Any, n_top: int, scale: float, blocked: Any, items: Any, scores: Any) -> int:
    """The first ``len(items)`` of a sorted list that are not blocked."""
    n = 0
    for t in range(n_top):
        item = top[t]
        if blocked[item] == 0:
            items[n] = item
            scores[n] = score[item] * scale
            n += 1
            if n == items.shape[0]:
                break
    return n


@njit(cache=True)
def _candidates(
    score: Any, top: Any, n_top: Any, unit: Any, blocked: Any, items: Any, scores: Any, counts: Any
) -> None:
    for h in range(unit.shape[0]):
        counts[h] = take(score[h], top[h], n_top[h], 1.0 / unit[h], blocked, items[h], scores[h])


class Popularity:
    """Popularity at each of ``half_lives``, in events; with ``entries``, in events that begin a session, and of these alone.

    >>> p = Popularity([10.0])
    >>> empty = np.zeros(0, np.int32)
    >>> for item in (3, 5, 5):
    ...     p.learn_one(Observation(item, 1.0, 0, 1, 1, empty, empty, 0))
    >>> p.ranked(0).tolist()
    [5, 3]
    """

    def __init__(self, half_lives: list[float], name: str = "popular", entries: bool = False) -> None:
        self.entries = entries
        self.lists = tuple(f"{name}-{h:.0f}" for h in half_lives)
        n = len(half_lives)
        self.growth = 2.0 ** (1.0 / np.asarray(half_lives, np.float64))
        self.score = np.zeros((n, 64), np.float64)
        self.place = np.full((n, 64), -1, np.int32)
        self.top = np.zeros((n, TOP), np.int32)
        self.n_top = np.zeros(n, np.int64)
        self.unit = np.ones(n, np.float64)
        self.total = np.zeros(n, np.float64)

    def learn_one(self, o: Observation) -> None:
        if o.weight <= 0.0 or (self.entries and o.in_session):
            return
        if o.item >= self.score.shape[1]:
            self.score, self.place = grown(self.score, o.item + 1), grown(self.place, o.item + 1, -1)
        if _learn(self.growth, self.unit, self.total, self.score, self.top, self.place, self.n_top, o.item, o.weight):
            for h in np.flatnonzero(self.unit > _BIG):
                self.score[h] /= self.unit[h]
                self.total[h] /= self.unit[h]
                self.unit[h] = 1.0
                self._sort(int(h))

    def _sort(self, h: int) -> None:
        """Sort list ``h`` anew: scores that fell to nothing may tie now."""
        order = np.lexsort((np.arange(self.score.shape[1]), -self.score[h]))[:TOP]
        order = order[self.score[h, order] > 0.0]
        self.place[h] = -1
        self.place[h, order] = np.arange(len(order))
        self.top[h, : len(order)] = order
        self.n_top[h] = len(order)

    def ranked(self, h: int) -> IntArray:
        """The best items at half-life number ``h``, at most ``TOP``, best first."""
        return self.top[h, : int(self.n_top[h])]

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        _candidates(self.score, self.top, self.n_top, self.unit, q.blocked, items, scores, counts)

    _FIELDS = ("score", "place", "top", "n_top", "unit", "total")

    def snapshot(self) -> Arrays:
        return {f: getattr(self, f) for f in self._FIELDS}

    def restore(self, state: Arrays) -> None:
        for field in self._FIELDS:
            setattr(self, field, state[field].copy())

    def remap(self, new_index: IntArray) -> None:
        self.score = remapped(self.score, new_index)
        for h in range(len(self.unit)):
            self._sort(h)

    @property
    def nbytes(self) -> int:
        return sum(int(getattr(self, f).nbytes) for f in self._FIELDS)
