"""The user's own items again: by recency, and by how often they came back ("buy again")."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ._kernels import insert_top
from .base import Arrays, FloatArray, IntArray, Observation, Query


@njit(cache=True)
def due(first: int, last: int, count: int, now: int) -> float:
    """How far the usual interval has run: 1 when the next event is due, 0 for an item that came once or just now.

    Never below 0, also for a request that is older than the user's last event. A feature of the blend (`features`).
    """
    if count < 2 or last <= first:
        return 0.0
    usual = (last - first) / (count - 1)
    return max(now - last, 0) / usual


@njit(cache=True)
def times(own: Any, row: int) -> int:
    """The user's events on the item in this row, as far as ``own`` (dtype OWN, the latest last) goes."""
    for i in range(own.shape[0] - 1, -1, -1):
        if own[i]["item"] == row:
            return int(own[i]["count"])
    return 0


@njit(cache=True)
def _candidates(own: Any, blocked: Any, items: Any, scores: Any, counts: Any) -> None:
    k = items.shape[1]
    n = 0
    for back in range(own.shape[0]):
        row = own[own.shape[0] - 1 - back]["item"]
        if blocked[row] == 0:
            items[0, n] = row
            scores[0, n] = 1.0 / (1.0 + back)
            n += 1
            if n == k:
                break
    counts[0] = n
    n = 0
    for i in range(own.shape[0]):
        o = own[i]
        if blocked[o["item"]] == 0:
            # the count decides; among equals the later one, by less than one event
            score = np.float32(o["count"]) + np.float32(i) / np.float32(own.shape[0] + 1)
            n = insert_top(items[1], scores[1], n, k, o["item"], score)
    counts[1] = n


class Repeats:
    """Two lists out of the user's own history: ``again`` (by recency) and ``often`` (by count). Learns nothing itself."""

    lists = ("again", "often")

    def learn_one(self, o: Observation) -> None:
        """The history is the user's; nothing to learn on the item side."""

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        _candidates(q.own, q.blocked, items, scores, counts)

    def snapshot(self) -> Arrays:
        return {}

    def restore(self, state: Arrays) -> None:
        """Nothing to take over."""

    def remap(self, new_index: IntArray) -> None:
        """Nothing to move."""

    @property
    def nbytes(self) -> int:
        return 0
