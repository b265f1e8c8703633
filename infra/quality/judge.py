"""The judge: what each query's ranking is worth, and what the lists are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from online_models.base import FloatArray
from online_models.expected import NAMES, expected
from online_models.metrics import K

from .plan import Plan

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Verdict:
    """Of one run of a plan: ``values`` [queries, metrics] over all targets, ``known`` [queries, metrics] over those seen before (NaN where
    there are none); rows of queries that were not put are NaN. ``coverage`` is the share of the items that may be ranked at the end that
    some list held. ``listed`` and ``wanted`` are the mean shares of all events so far that listed items and targets had."""

    values: Floats
    known: Floats
    coverage: float
    listed: float
    wanted: float

    @property
    def asked(self) -> npt.NDArray[np.bool_]:
        """[queries] which were put."""
        return ~np.isnan(self.values[:, 0])


class Judge:
    """Sees the rankings of one run, and the events as they are learned."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.values: Floats = np.full((len(plan), len(NAMES)), np.nan, np.float32)
        self.known: Floats = self.values.copy()
        self._shown = np.zeros(len(plan.items), np.bool_)
        self._count = np.zeros(len(plan.items), np.int64)
        self._events = self._most = 0
        self._listed = self._wanted = 0.0
        self._lists = 0

    def look(self, query: int, items: Sequence[str], scores: FloatArray) -> None:
        """Judge the answer to a query: ``items``, best first, and their scores, in which level items are the same.

        Items that may not be ranked are passed over.
        """
        plan = self._plan
        seen = int(plan.seen[query])
        numbers = np.fromiter((plan.items.get(item, seen) for item in items), np.int64, len(items))
        allowed = numbers < seen
        if not allowed.all():
            numbers, scores = numbers[allowed], scores[allowed]
        targets = plan.of(query)
        at = np.flatnonzero((numbers[:, None] == targets).any(axis=1))
        self.values[query] = expected(scores, at, len(targets))
        known = targets[targets < seen]
        if len(known) == len(targets):
            self.known[query] = self.values[query]
        elif len(known):
            self.known[query] = expected(scores, at, len(known))
        self._note(numbers[:K], known, seen)

    def _note(self, top: npt.NDArray[np.int64], known: npt.NDArray[np.int64], seen: int) -> None:
        self._shown[top] = True
        self._most = max(self._most, seen)
        if len(top) and len(known) and self._events:
            self._listed += float(self._count[top].mean()) / self._events
            self._wanted += float(self._count[known].mean()) / self._events
            self._lists += 1

    def passed(self, item: str) -> None:
        """An event on the item has been learned."""
        self._count[self._plan.items[item]] += 1
        self._events += 1

    def verdict(self) -> Verdict:
        """What has been seen so far."""
        n = max(self._lists, 1)
        coverage = float(self._shown.sum()) / max(self._most, 1)
        return Verdict(self.values, self.known, coverage, self._listed / n, self._wanted / n)
