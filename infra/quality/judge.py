"""The judge: what each query's ranking is worth, and what the lists are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from online_models.base import FloatArray
from online_models.expected import NAMES, expected
from online_models.metrics import K

from .beside import shared
from .plan import Plan

Floats = npt.NDArray[np.float32]

_SUMS = np.dtype([("listed", "f8"), ("wanted", "f8"), ("lists", "i8"), ("most", "i8")])
"""Of the lists so far: summed shares, how many they are, and the most items that one could have named."""


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
    """Sees the rankings of one run, and the events as they are learned. The rankings may be shown to it in a fork (`beside`)."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.values: Floats = shared((len(plan), len(NAMES)), np.float32)
        self.known: Floats = shared((len(plan), len(NAMES)), np.float32)
        self.values[:] = self.known[:] = np.nan
        self._shown = shared((len(plan.items),), np.bool_)
        self._sums = shared((), _SUMS)
        self._count = np.zeros(len(plan.items), np.int64)
        self._events = 0

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
        sums = self._sums
        self._shown[top] = True
        sums["most"] = max(sums["most"], seen)
        if len(top) and len(known) and self._events:
            sums["listed"] += self._count[top].mean() / self._events
            sums["wanted"] += self._count[known].mean() / self._events
            sums["lists"] += 1

    def passed(self, item: str) -> None:
        """An event on the item has been learned."""
        self._count[self._plan.items[item]] += 1
        self._events += 1

    def verdict(self) -> Verdict:
        """What has been seen so far."""
        sums = self._sums
        n = max(int(sums["lists"]), 1)
        coverage = float(self._shown.sum()) / max(int(sums["most"]), 1)
        return Verdict(self.values, self.known, coverage, float(sums["listed"]) / n, float(sums["wanted"]) / n)
