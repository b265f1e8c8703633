"""Test, then learn: how good the lists were, by source, judged on every event before anything learns it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from online_models.base import FloatArray, IntArray, grown
from online_models.metrics import NAMES, K, evaluate

from .contracts.events import Event
from .contracts.interactions import Interaction

FRESH, SERVED = "blend", "served"
END, GONE = -1, -2
"""In a list of rows: nothing follows; an item that the item table has dropped since."""
RECENT = 2_000
"""Moments that the recent figures look back, more or less (a moving average)."""


ARMS = 1_000

LOW_RATING = 0.8
"""A rating below this share of the largest rating is learned, but is nobody's target."""


def is_target(event: Event | Interaction, last_item: str, rating_max: float, repeats: bool = False) -> bool:
    """Whether a list should have named the event's item: not the same item as just before (but with ``repeats``), and not a low rating.

    ``rating_max`` is the largest rating there is, or the largest so far.
    """
    if event.event_type == "rating" and event.value is not None and event.value < LOW_RATING * rating_max:
        return False
    return repeats or event.item_id != last_item


@dataclass(slots=True)
class Moment:
    """Events of one user at one timestamp, and the lists from before the first of them.

    ``lists`` [lists, 20] holds the fresh list, the served list and one for each source, -1 where a list ends. While
    ``x`` is there the blend can still learn: the candidates ``rows``, their features, and the active contexts. ``version``
    of the deep model made the fresh list; where the moment is compared, ``rival`` [2, 20] is what another one would have
    made, blended and by itself. ``arm``: the variants of experiments that the fresh list was made under. ``scores`` are those of
    ``fresh`` (see `scoring.Ranked.levels`); an open moment that was restored has none. ``untold``: no interaction has said yet what
    stood in the list.
    """

    timestamp: int
    number: int
    n_items: int
    fresh: list[str]
    lists: IntArray
    targets: list[int] = field(default_factory=list)
    scores: FloatArray | None = None
    x: FloatArray | None = None
    rows: IntArray | None = None
    n_rows: int = 0
    active: IntArray | None = None
    version: str = ""
    rival: IntArray | None = None
    rival_version: str = ""
    arm: str = ""
    untold: bool = False


@njit(cache=True)
def _show(lists: Any, shown: Any) -> None:
    for s in range(lists.shape[0]):
        for r in range(lists.shape[1]):
            if lists[s, r] == END:
                break
            if lists[s, r] >= 0:
                shown[s, lists[s, r]] = 1


class Prequential:
    """Running sums of the metrics, by list. Moments numbered below ``first`` are learned from, not judged."""

    def __init__(self, sources: tuple[str, ...], first: int = 0, curve_every: int = 0) -> None:
        self.names = (FRESH, SERVED, *sources)
        self.first, self._every = first, curve_every
        self.sums = np.zeros((len(self.names), len(NAMES)))
        self.scored = 0
        self.unseen = 0
        self.curve: list[tuple[int, int, npt.NDArray[np.float64]]] = []
        self.recent: npt.NDArray[np.float64] = np.zeros((len(self.names), len(NAMES)))
        self._shown = np.zeros((len(self.names), 64), np.uint8)
        self._gone = np.zeros(len(self.names), np.int64)
        self.by_arm: dict[str, tuple[int, npt.NDArray[np.float64]]] = {}
        """Variants of experiments → moments judged and summed metrics of the fresh list; of at most `ARMS`."""

    def close(self, moment: Moment) -> npt.NDArray[np.float64] | None:
        """Judge a moment that will get no more events: metrics [lists, 4], or None if there is nothing to judge."""
        if not moment.targets or moment.number < self.first:
            return None
        found = evaluate(moment.lists, np.array(moment.targets, np.int32))
        self.sums += found
        self.scored += 1
        if moment.arm and (moment.arm in self.by_arm or len(self.by_arm) < ARMS):
            n, sums = self.by_arm.get(moment.arm, (0, np.zeros(len(NAMES))))
            self.by_arm[moment.arm] = n + 1, sums + found[0]
        self.recent += (found - self.recent) / min(self.scored, RECENT)
        self.unseen += all(t >= moment.n_items for t in moment.targets)
        if moment.n_items > self._shown.shape[1]:
            self._shown = grown(self._shown, moment.n_items)
        _show(moment.lists, self._shown)
        if self._every and self.scored % self._every == 0:
            self.curve.append((moment.number, self.scored, self.sums.copy()))
        return found

    def remap(self, new_index: IntArray) -> None:
        """The item table was compacted: what was shown and is gone stays counted."""
        shown = self._shown
        n = min(shown.shape[1], len(new_index))
        kept = np.flatnonzero(new_index[:n] >= 0)
        fresh = np.zeros_like(shown)
        fresh[:, new_index[kept]] = shown[:, kept]
        self._gone += shown.sum(axis=1, dtype=np.int64) - fresh.sum(axis=1, dtype=np.int64)
        self._shown = fresh

    def keep_arms(self, runs: Callable[[str], bool]) -> None:
        """Forget the arms for which ``runs`` says no."""
        self.by_arm = {arm: found for arm, found in self.by_arm.items() if runs(arm)}

    def arms(self) -> dict[str, dict[str, float]]:
        """Variants of experiments → moments judged, and the means of the fresh list's metrics."""
        return {
            arm: {"moments": n, **{m: float(v) for m, v in zip(NAMES, sums / n, strict=True)}}
            for arm, (n, sums) in sorted(self.by_arm.items())
        }

    def metrics(self, n_items: int) -> dict[str, dict[str, float]]:
        """List name → metric → mean over the moments judged, and coverage of ``n_items``."""
        out = {}
        for i, name in enumerate(self.names):
            values = {m: float(v) for m, v in zip(NAMES, self.sums[i] / max(self.scored, 1), strict=True)}
            values["coverage@20"] = float(self._shown[i].sum(dtype=np.int64) + self._gone[i]) / max(n_items, 1)
            out[name] = values
        return out


def padded(rows: list[int] | IntArray) -> IntArray:
    """Row numbers in a list of 20 places, -1 where there is none."""
    out = np.full(K, END, np.int32)
    out[: min(len(rows), K)] = rows[:K]
    return out
