"""The items that anybody was on last, and the items that came up last: for news, drops and bursts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .base import Arrays, FloatArray, IntArray, Observation, Query

KEEP = 256


@njit(cache=True)
def _to_front(latest: Any, n: int, item: int) -> int:
    at = 0
    while at < n and latest[at] != item:
        at += 1
    if at == n and n < latest.shape[0]:
        n += 1
    elif at == n:
        at = n - 1
    while at > 0:
        latest[at] = latest[at - 1]
        at -= 1
    latest[0] = item
    return n


@njit(cache=True)
def _candidates(latest: Any, n_latest: int, newest: int, blocked: Any, items: Any, scores: Any, counts: Any) -> None:
    k = items.shape[1]
    n = 0
    for i in range(n_latest):
        if blocked[latest[i]] == 0:
            items[0, n] = latest[i]
            scores[0, n] = 1.0 / (1.0 + i)
            n += 1
            if n == k:
                break
    counts[0] = n
    n = 0
    for back in range(min(newest, KEEP)):
        row = newest - 1 - back
        if blocked[row] == 0:
            items[1, n] = row
            scores[1, n] = 1.0 / (1.0 + back)
            n += 1
            if n == k:
                break
    counts[1] = n


class Recency:
    """Two lists: ``latest`` (seen last by anyone) and ``newest`` (first seen last; rows are in order of first sight)."""

    lists = ("latest", "newest")

    def __init__(self) -> None:
        self.latest = np.zeros(KEEP, np.int32)
        self.n = np.zeros(2, np.int64)  # entries of latest, rows known

    def learn_one(self, o: Observation) -> None:
        self.n[1] = max(int(self.n[1]), o.item + 1)
        if o.weight > 0.0:
            self.n[0] = _to_front(self.latest, int(self.n[0]), o.item)

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        _candidates(self.latest, int(self.n[0]), int(self.n[1]), q.blocked, items, scores, counts)

    def snapshot(self) -> Arrays:
        return {"latest": self.latest, "n": self.n}

    def restore(self, state: Arrays) -> None:
        self.latest, self.n = state["latest"].copy(), state["n"].copy()

    def remap(self, new_index: IntArray) -> None:
        rows = new_index[self.latest[: int(self.n[0])]]
        rows = rows[rows >= 0]
        self.latest[: len(rows)] = rows
        self.n[:] = len(rows), int(new_index.max(initial=-1)) + 1

    @property
    def nbytes(self) -> int:
        return self.latest.nbytes
