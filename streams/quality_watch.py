"""Watch: has a list, or a variant's, become better or worse? Prequential hit rates, moment by moment, into drift detectors.

What users get and what they would have got just before the event are watched moment by moment, and so are the lists of each variant; the
sources in means of `BLOCK` moments, which costs a quarter and finds a change in less than twice the time. The moments of a block under way
are not in a snapshot.
"""

from __future__ import annotations

from collections import OrderedDict, deque

import numpy as np
import numpy.typing as npt

from online_models.drift import Drift
from online_models.items import hash_id

from .contracts.drifts import QUALITY, QualityDrift
from .contracts.events import Event, Source
from .knowledge import BLOCK, Knowledge

ARMS = 32
"""Variants watched at a time; of more, those that have had no moment for longest make room once they have been silent for `SILENT`."""

SILENT = 10_000
"""Moments of all."""

KEPT = 256
"""Drifts that wait for somebody to take them; the oldest are dropped."""


def drift_id(figure: str, partition: int, offset: int) -> str:
    """The id of a change of a figure that the event at this place brought out.

    >>> drift_id("hr@20 knn", 0, 7) == drift_id("hr@20 knn", 0, 7) != drift_id("hr@20 knn", 0, 8)
    True
    """
    return f"d-{hash_id(f'drift/{figure}/{partition}/{offset}'):016x}"


class QualityWatch:
    """Feeds the detectors of ``knowledge`` and keeps what they find, until it is taken. ``lists``: those of `Prequential`, the
    fresh and the served one first."""

    def __init__(self, knowledge: Knowledge, lists: tuple[str, ...]) -> None:
        self._knowledge = knowledge
        self._whole, self._sources = [f"{QUALITY} {n}" for n in lists[:2]], [f"{QUALITY} {n}" for n in lists[2:]]
        self._sums = np.zeros(len(self._sources))
        self._moments = 0
        self._arms: OrderedDict[str, int] = OrderedDict()
        self._at: tuple[int, Source] | None = None
        self._found: deque[QualityDrift] = deque(maxlen=KEPT)
        self.worse = 0
        """Drifts for the worse so far of what users get, found by their own events; those of single sources are none."""
        knowledge.drifted = self._drifted  # type: ignore[method-assign]

    def looks_at(self, event: Event | None, source: Source | None = None) -> None:
        """What is found from now on is this event's doing. None: somebody else's, who tells of it."""
        self._at = None if event is None or source is None else (event.timestamp, source)

    def judged(self, arm: str, hits: npt.NDArray[np.float64]) -> None:
        """A moment was judged: ``hits`` [lists], each 0 or 1, of the fresh list made under the variants ``arm``, and of the others."""
        note, self._moments = self._knowledge.note, self._moments + 1
        for name, hit in zip(self._whole, hits[:2].tolist(), strict=True):
            note(name, hit)
        if arm and self._admits(arm):
            note(f"{QUALITY} arm {arm}", float(hits[0]))
        self._sums += hits[2:]
        if self._moments % BLOCK == 0:
            for name, total in zip(self._sources, self._sums.tolist(), strict=True):
                note(name, total / BLOCK, of=BLOCK)
            self._sums[:] = 0.0

    def _admits(self, arm: str) -> bool:
        if arm not in self._arms and len(self._arms) >= ARMS:
            silent, since = next(iter(self._arms.items()))
            if self._moments - since < SILENT:
                return False
            del self._arms[silent]
        self._arms[arm] = self._moments
        self._arms.move_to_end(arm)
        return True

    def _drifted(self, drift: Drift, worse: bool, of: int) -> None:
        if self._at is None:
            return
        timestamp, source = self._at
        self.worse += worse and of == 1
        self._found.append(
            QualityDrift(
                drift_id=drift_id(drift.name, source.partition, source.offset), figure=drift.name, before=drift.old_mean,
                after=drift.new_mean, worse=worse, moments=drift.n * of, timestamp=timestamp, partition=source.partition,
                offset=source.offset,
            )
        )  # fmt: skip

    def take(self) -> list[QualityDrift]:
        """What has been found since it was asked last."""
        found = list(self._found)
        self._found.clear()
        return found
