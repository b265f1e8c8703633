"""Candidates: every source names its items side by side, and their union is described in numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from online_models.base import FloatArray, IntArray, Query
from online_models.closeness import FACTORS, by_factors, by_visits
from online_models.features import ITEM, LAST, PER_SOURCE, describe, unite

from .knowledge import Arm, Knowledge


class Candidates:
    """Work space for one request at a time: the sources' lists, and the union with its features.

    After `gather`: ``items``/``scores`` [lists, k] and ``counts`` [lists] as the sources gave them, ``rows`` [n] the union.
    """

    def __init__(self, knowledge: Knowledge | Arm, per_list: int) -> None:
        self._knowledge = knowledge
        n, beside = len(knowledge.lists), knowledge.beside
        self.items: IntArray = np.zeros((n, per_list), np.int32)
        self.scores: FloatArray = np.zeros((n, per_list), np.float32)
        self.counts: IntArray = np.zeros(n, np.int32)
        self._named: IntArray = np.zeros(n, np.int32)
        self.rows: IntArray = np.zeros(n * per_list, np.int32)
        self.n = 0
        ranks = np.arange(per_list)
        self._inv = (1.0 / (1.0 + ranks)).astype(np.float32)
        self._log = (1.0 - np.log1p(ranks) / np.log(per_list + 1)).astype(np.float32)
        self._minmax = np.array([name in (*knowledge.factors.lists, "deep", "rated") for name in knowledge.lists])
        self._parts = []
        at = 0
        for source in knowledge.sources:
            to = at + len(source.lists)
            self._parts.append((source, self.items[at:to], self.scores[at:to], self.counts[at:to]))
            at = to
        self._plain, self._beside, self._of_item = n - len(beside.lists), beside.first, beside.of_item
        self._first = PER_SOURCE * self._plain
        self._own = self._first + len(knowledge.config.sources.popularity) + len(ITEM)
        self._habits = knowledge.features.index("rating")
        self._deep = knowledge.features.index(LAST)
        self._close = knowledge.features.index(FACTORS[0])

    def buffer(self) -> FloatArray:
        """A feature matrix that `gather` can fill."""
        return np.zeros((len(self.rows), len(self._knowledge.features)), np.float32)

    def gather(self, q: Query, x: FloatArray, silent: IntArray | None = None) -> int:
        """Ask every source, unite, describe into ``x`` [n, features]; returns n. Lists that are ``silent``, by number, stay empty.

        Leaves all models as they were.
        """
        k = self._knowledge
        for source, items, scores, counts in self._parts:
            source.candidates(q, items, scores, counts)
        self._named[:] = self.counts
        if silent is not None:
            self.counts[silent] = 0
        self.n = n = int(
            unite(
                self.items, self.scores, self.counts, self._minmax, self._inv, self._log, q.scratch.mark, self.rows, x, self._plain,
                self._beside,
            )
        )  # fmt: skip
        if n == 0:
            return 0
        rows = k.following.rows
        last = int(q.recent[0]) if len(q.recent) else -1
        start = stop = 0
        total = 1.0
        if 0 <= last < len(rows.size):
            start = int(rows.start[last])
            stop = start + int(rows.size[last])
            total = float(k.following.total[last]) or 1.0
        table = k.items
        user = k.factors.moment(q.vector, q.recent)
        describe(
            x, self.rows, n, self._first, self._plain, k.popularity.score, k.popularity.total, table.last_n, table.last_ms,
            table.first_ms, table.count, table.events, q.timestamp, q.own, q.n_events, q.session_seq, q.scratch.mark,
            rows.keys, rows.weights, start, stop, total,
        )  # fmt: skip
        k.habits.describe(x, self.rows, n, self._habits, self._own, k.rating_max)
        c, far = self._close, k.far
        by_factors(
            x, self.rows, n, c, k.factors.vectors, q.vector, user, q.recent, table.first_ms, q.timestamp,
        )  # fmt: skip
        by_visits(
            x, self.rows, n, c + len(FACTORS), q.scratch.mark, q.recent, rows.entries, k.following.total, far.rows.entries, far.total,
            far.last, far.fade, far.damp, float(far.unit[0]),
        )  # fmt: skip
        if q.version is not None:
            q.version.nearness(q, self.rows[:n], x[:n, self._deep])
        if k.shelf.told:
            k.shelf.describe(x, self.rows, n, self._of_item, q.recent, q.in_session, q.own)
        if k.untried is not None:
            k.untried.describe(x, self.rows, n, len(k.features) - 1)
        k.blend.hidden.fill(x, n, k.wide)
        return n

    def lists(self, width: int) -> npt.NDArray[np.int32]:
        """The first ``width`` items of every source's list, -1 where it ends; of those that were silent too."""
        out = self.items[:, :width].copy()
        for s, count in enumerate(self._named.tolist()):
            if count < width:
                out[s, count:] = -1
        return out
