"""Has a quality changed? Named ADWIN detectors (Bifet and Gavaldà, SDM 2007) over figures like log loss and hit rate.

River's ``drift.ADWIN`` decides. Its window lives in compiled code that offers no state that another release could read,
so each detector is kept as the values that it was fed since it began: replaying them gives the very same detector, and
that is what `DriftMonitor.restore` does. To bound them, a detector that has been fed ``2 * window`` values begins anew
with the latest ``window`` of them, in a live monitor exactly as in a restored one (about a millisecond, once in
``window`` values).
"""

from __future__ import annotations

import math
from array import array
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from river import drift

from .base import Arrays
from .errors import InputError


@dataclass(frozen=True, slots=True)
class Drift:
    """A change: the mean of ``name`` went from ``old_mean`` to ``new_mean``; seen at its ``n``-th value."""

    name: str
    n: int
    old_mean: float
    new_mean: float


def _two_means(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Means on both sides of the cut that explains most of the variance, each side at least 32 values or a third.

    ADWIN itself says that there was a change, hardly where: what it keeps may be old values for the most part.

    >>> _two_means(np.array([0.0, 0.0, 0.0, 1.0, 1.0]))
    (0.0, 1.0)
    """
    left = np.arange(1, len(values))
    sums = np.cumsum(values)
    right_means = (sums[-1] - sums[:-1]) / left[::-1]
    left_means = sums[:-1] / left
    least = min(32, len(values) // 3)
    told_apart = (left * left[::-1] * (left_means - right_means) ** 2)[least - 1 : len(values) - least]
    cut = least - 1 + int(np.argmax(told_apart))
    return float(left_means[cut]), float(right_means[cut])


class _Track:
    """One detector and the values that make it up."""

    __slots__ = ("alarms", "clock", "delta", "detector", "n", "values")

    def __init__(self, delta: float, clock: int) -> None:
        self.delta, self.clock = delta, clock
        self.n = self.alarms = 0
        self._begin()

    def _begin(self) -> None:
        self.detector = drift.ADWIN(delta=self.delta, clock=self.clock)
        self.values = array("d")

    def feed(self, x: float) -> tuple[float, float] | None:
        """Means before and after, if ``x`` brings out a change; the detector then begins anew, as River's does."""
        self.values.append(x)
        self.detector.update(x)
        if not self.detector.drift_detected:
            return None
        means = _two_means(np.array(self.values))
        self._begin()
        return means

    def replay(self, values: array[float]) -> tuple[float, float] | None:
        """Begin anew with these values. A change among them counts too."""
        self._begin()
        found = None
        for x in values:
            found = self.feed(x) or found
        return found


class DriftMonitor:
    """A detector for each name, at most ``max_names``: the one updated longest ago makes room.

    ``delta`` bounds ADWIN's chance of a false alarm at a check, ``clock`` is the number of values between checks. Twice
    ``window`` values is the longest memory; a change is found the faster the larger it is.

    >>> monitor = DriftMonitor()
    >>> found = [monitor.update("hit_rate", float(i % 10 == 0 if i < 3000 else i % 2 == 0)) for i in range(4000)]
    >>> [(d.name, 3000 < d.n < 3100, round(d.old_mean, 1), round(d.new_mean, 1)) for d in found if d]
    [('hit_rate', True, 0.1, 0.5)]
    """

    def __init__(self, delta: float = 0.002, clock: int = 32, window: int = 4096, max_names: int = 64) -> None:
        if not 0.0 < delta < 1.0 or clock < 1 or window < 32 or max_names < 1:
            raise InputError(
                "0 < delta < 1, clock ≥ 1, window ≥ 32 and max_names ≥ 1",
                f"{delta}, {clock}, {window} and {max_names}",
                "correct the setting",
            )
        self.delta, self.clock, self.window, self.max_names = delta, clock, window, max_names
        self._tracks: OrderedDict[str, _Track] = OrderedDict()  # updated longest ago first

    def update(self, name: str, value: float, top: float = 1.0) -> Drift | None:
        """Feed one value; the change that it brings out, if any, in either direction.

        ADWIN's bound holds for values in [0, 1]: ``value`` is cut to [0, ``top``] and measured in units of ``top``. The
        means of a `Drift` are in the value's own units. Raises InputError on NaN, infinity or a ``top`` of 0 or less.
        """
        if not (math.isfinite(value) and top > 0.0):
            raise InputError(f"a finite {name} and a top above 0", f"{value!r} and {top!r}", "leave it out")
        track = self._tracks.get(name)
        if track is None:
            track = self._admit(name)
        else:
            self._tracks.move_to_end(name)
        track.n += 1
        means = track.feed(min(max(value / top, 0.0), 1.0))
        if means is None and len(track.values) >= 2 * self.window:
            means = track.replay(track.values[-self.window :])
        if means is None:
            return None
        track.alarms += 1
        return Drift(name, track.n, means[0] * top, means[1] * top)

    def _admit(self, name: str) -> _Track:
        if not name or "\n" in name:
            raise InputError("a name of one line", repr(name), "rename it")
        if len(self._tracks) >= self.max_names:
            self._tracks.popitem(last=False)
        track = self._tracks[name] = _Track(self.delta, self.clock)
        return track

    @property
    def counts(self) -> dict[str, int]:
        """Values fed, by name."""
        return {name: track.n for name, track in self._tracks.items()}

    @property
    def alarms(self) -> dict[str, int]:
        """Changes found, by name."""
        return {name: track.alarms for name, track in self._tracks.items()}

    def snapshot(self) -> Arrays:
        """All state: ``names`` (UTF-8, one a line), counts, and the values that each detector is made of."""
        tracks = self._tracks.values()
        return {
            "names": np.frombuffer("\n".join(self._tracks).encode(), np.uint8).copy(),
            "n": np.array([t.n for t in tracks], np.int64),
            "alarms": np.array([t.alarms for t in tracks], np.int64),
            "lengths": np.array([len(t.values) for t in tracks], np.int64),
            "values": np.concatenate([np.zeros(0), *(np.array(t.values) for t in tracks)]),
        }

    def restore(self, state: Arrays) -> None:
        """Take over a snapshot. Under the same settings all that follows is as if never interrupted."""
        self._tracks.clear()
        names = state["names"].tobytes().decode().split("\n") if len(state["names"]) else []
        ends = np.cumsum(state["lengths"]).tolist()
        rows = zip(names, state["n"].tolist(), state["alarms"].tolist(), state["lengths"].tolist(), ends, strict=True)
        for name, n, alarms, length, end in rows:
            track = self._admit(name)
            track.n, track.alarms = n, alarms
            values = array("d", state["values"][end - length : end].astype(np.float64).tobytes())
            track.replay(values if length < 2 * self.window else values[-self.window :])

    @property
    def nbytes(self) -> int:
        """Bytes held, the detectors' own by estimate."""
        return sum(3000 + 8 * len(track.values) for track in self._tracks.values())
