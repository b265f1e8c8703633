"""Explicit ratings as a candidate source: River's biased matrix factorisation behind the protocol of all sources."""

from __future__ import annotations

import numpy as np

from .base import Arrays, FloatArray, IntArray, Observation, Query, remapped
from .river_mf import RiverBiasedMF

_REFRESH = 512


class Ratings:
    """One list, ``rated``: the items whose rating by this user is expected to be highest, among the ``scan`` rated last.

    Silent for users who have rated nothing, so logs without ratings pay nothing for it.
    """

    lists = ("rated",)

    def __init__(self, seed: int = 0, scan: int = 4_096, max_users: int = 100_000) -> None:
        self.scan = scan
        self.model = RiverBiasedMF(seed=seed, max_users=max_users)
        self.last_rated = np.full(64, -1, np.int64)
        self.active: IntArray = np.zeros(0, np.int32)
        self.n = np.zeros(1, np.int64)

    def learn_one(self, o: Observation) -> None:
        if not o.rated or o.value is None:
            return
        if o.item >= len(self.last_rated):
            grown = np.full(max(o.item + 1, 2 * len(self.last_rated)), -1, np.int64)
            grown[: len(self.last_rated)] = self.last_rated
            self.last_rated = grown
        new = self.last_rated[o.item] < 0
        self.last_rated[o.item] = self.n[0]
        self.n[0] += 1
        self.model.learn_one(o.user, o.item, o.value)
        if (new and len(self.active) < self.scan) or self.n[0] % _REFRESH == 0:
            self._refresh()

    def _refresh(self) -> None:
        rows = np.flatnonzero(self.last_rated >= 0)
        if len(rows) > self.scan:
            rows = rows[np.argpartition(self.last_rated[rows], len(rows) - self.scan)[-self.scan :]]
        self.active = np.sort(rows).astype(np.int32)

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        counts[0] = 0
        if not self.model.knows(q.user):
            return
        best, score = self.model.recommend(q.user, items.shape[1], self.active[q.blocked[self.active] == 0])
        counts[0] = len(best)
        items[0, : len(best)], scores[0, : len(best)] = best, score

    def snapshot(self) -> Arrays:
        own: Arrays = {"last_rated": self.last_rated, "active": self.active, "n": self.n}
        return own | {f"model.{name}": array for name, array in self.model.snapshot().items()}

    def restore(self, state: Arrays) -> None:
        for field in ("last_rated", "active", "n"):
            setattr(self, field, state[field].copy())
        self.model.restore({name[6:]: array for name, array in state.items() if name.startswith("model.")})

    def remap(self, new_index: IntArray) -> None:
        self.last_rated = remapped(self.last_rated, new_index, -1)
        self.model.remap(new_index)
        self._refresh()

    @property
    def nbytes(self) -> int:
        return self.model.nbytes + self.last_rated.nbytes
