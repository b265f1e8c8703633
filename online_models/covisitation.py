"""Item–item co-visitation with decay: what follows, or goes with, the items that the user was on last.

Each event adds to the rows of the user's latest items, less for those further back; weights halve every ``half_life``
events (forward decay, as in `popularity`). With ``window=1`` it is a first-order Markov chain: last item → next.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ._kernels import drain_top
from ._rows import Rows, add_weight
from .base import Arrays, FloatArray, IntArray, Observation, Query, remapped

_BIG = 2.0**60


@njit(cache=True)
def _reach(item: int, history: Any, window: int) -> int:
    """The highest row that learning will write to."""
    for p in range(min(window, history.shape[0])):
        item = max(item, history[p])
    return item


@njit(cache=True)
def _learn(
    pool: Any, total: Any, item: int, history: Any, ages: Any, window: int, step: float, max_age: int, both: bool, w: float, cap: int
) -> None:  # fmt: skip
    keys, weights, start, room, size, free, tail = pool
    for p in range(min(window, history.shape[0])):
        other = history[p]
        if ages[p] > max_age:
            break
        if other != item:
            add_weight(keys, weights, start, room, size, free, tail, other, item, w, cap)
            total[other] += w
            if both:
                add_weight(keys, weights, start, room, size, free, tail, item, other, w, cap)
                total[item] += w
        w *= step


@njit(cache=True)
def _candidates(
    pool: Any, total: Any, recent: Any, last: int, fade: float, damp: float, unit: float, blocked: Any, acc: Any, touched: Any,
    items: Any, scores: Any,
) -> int:  # fmt: skip
    keys, weights, start, _room, size, _free, _tail = pool
    n = 0
    w = 1.0
    for r in range(min(last, recent.shape[0])):
        row = recent[r]
        if row < size.shape[0] and size[row] > 0:
            scale = np.float32(w / (total[row] + damp * unit))
            for i in range(start[row], start[row] + size[row]):
                key = keys[i]
                more = np.float32(weights[i] * scale)
                if more == 0.0:  # decayed to nothing; counted, it would be touched again in every row
                    continue
                if acc[key] == 0.0:
                    touched[n] = key
                    n += 1
                acc[key] += more
        w *= fade
    return drain_top(acc, touched, n, blocked, items.shape[0], items, scores)


@njit(cache=True)
def _links(
    pool: Any, total: Any, recent: Any, last: int, fade: float, damp: float, unit: float, items: Any, mark: Any, most: Any, out: Any
) -> None:  # fmt: skip
    keys, weights, start, _room, size, _free, _tail = pool
    for i in range(items.shape[0]):
        mark[items[i]] = i + 1
        out[i], most[i] = -1, 0.0
    w = 1.0
    for r in range(min(last, recent.shape[0])):
        row = recent[r]
        if row < size.shape[0] and size[row] > 0:
            scale = np.float32(w / (total[row] + damp * unit))
            for i in range(start[row], start[row] + size[row]):
                at = mark[keys[i]] - 1
                if at >= 0 and weights[i] * scale > most[at]:
                    most[at] = weights[i] * scale
                    out[at] = row
        w *= fade
    for i in range(items.shape[0]):
        mark[items[i]] = 0


class CoVisitation:
    """Decayed co-visitation.

    ``window`` items back are counted at learning, each ``step`` times as much as the one after it, none older than
    ``max_age_ms``; ``both`` counts both directions. A query adds up the rows of the ``last`` items, each divided by
    (its total + ``damp``), faded by ``fade`` a place.
    """

    def __init__(
        self, name: str, window: int, last: int, half_life: float, step: float = 0.6, fade: float = 0.8, damp: float = 1.0,
        max_age_ms: int = 30 * 60_000, both: bool = False, row_cap: int = 256,
    ) -> None:  # fmt: skip
        self.lists = (name,)
        self.window, self.last, self.step, self.fade, self.damp = window, last, step, fade, damp
        self.max_age_ms, self.both = max_age_ms, both
        self.growth = 2.0 ** (1.0 / half_life)
        self.rows = Rows(row_cap)
        self.total = np.zeros(64, np.float64)
        self.unit = np.ones(1, np.float64)

    def _reserve(self, rows: int, appends: int) -> None:
        self.rows.reserve(rows, appends)
        if len(self.rows.start) > len(self.total):
            self.total = np.concatenate([self.total, np.zeros(len(self.rows.start) - len(self.total))])

    def learn_one(self, o: Observation) -> None:
        if o.weight <= 0.0:
            return
        # an item that was forgotten and came back by another user's weightless event may be in a history unlearned
        self._reserve(_reach(o.item, o.history, self.window) + 1, 2 * self.window)
        self.unit[0] *= self.growth
        w = o.weight * float(self.unit[0])
        _learn(
            self.rows.pool, self.total, o.item, o.history, o.ages, self.window, self.step, self.max_age_ms, self.both,
            w, self.rows.cap,
        )  # fmt: skip
        if self.unit[0] > _BIG:
            self.rows.weights *= np.float32(1.0 / self.unit[0])
            self.total /= self.unit[0]
            self.unit[0] = 1.0

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        counts[0] = _candidates(
            self.rows.pool, self.total, q.recent, self.last, self.fade, self.damp, float(self.unit[0]), q.blocked,
            q.scratch.acc, q.scratch.touched, items[0], scores[0],
        )  # fmt: skip

    def links(self, recent: IntArray, items: IntArray, mark: IntArray) -> IntArray:
        """For each of the distinct ``items``, which of the ``last`` latest adds most to its score, -1 where none does.

        Of two that add the same it is the later one. ``mark`` is work space over all rows, all zero before and after.
        """
        out = np.empty(len(items), np.int32)
        _links(
            self.rows.pool, self.total, recent, self.last, self.fade, self.damp, float(self.unit[0]), items, mark,
            np.empty(len(items), np.float32), out,
        )  # fmt: skip
        return out

    def snapshot(self) -> Arrays:
        return {**self.rows.snapshot("rows"), "total": self.total, "unit": self.unit}

    def restore(self, state: Arrays) -> None:
        self.rows.restore("rows", state)
        self.total, self.unit = state["total"].copy(), state["unit"].copy()

    def remap(self, new_index: IntArray) -> None:
        self._reserve(len(new_index), 0)
        self.rows.remap(new_index)
        self.total = remapped(self.total, new_index)

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + self.total.nbytes
