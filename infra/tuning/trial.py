"""One trial: the first part of a log replayed under some settings, judged in two slices, and given up early where it falls behind.

It is the replay that `headrace replay` does; what is judged at an event is what a replay of the whole log judges there, for
nothing after it has been read. (But for the largest rating, which a replay takes from all that it plays.)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from online_models.metrics import NAMES
from streams.config import PipelineConfig
from streams.replay import WARM_UP, Replay

Sums = npt.NDArray[np.float64]

VALIDATION = 0.35
"""Share of what is judged that the search does not look at: its end."""

RUNGS = (0.3, 0.6)
"""Shares of the other slice after which a trial goes on only if it is good enough."""


class Part(msgspec.Struct, frozen=True):
    """The first ``events`` valid events of the log at ``path``, with the ``catalogue`` in a file, if there is one."""

    path: str
    events: int
    catalogue: str | None = None

    @property
    def marks(self) -> list[int]:
        """Events after which is looked: the rungs, and where the validation begins.

        >>> Part("log", 1_000).marks
        [356, 512, 720]
        """
        first = int(np.ceil(WARM_UP * self.events))
        cut = first + round((1.0 - VALIDATION) * (self.events - first))
        return [*(first + round(rung * (cut - first)) for rung in RUNGS), cut]


class Slice(msgspec.Struct, frozen=True):
    """Moments judged in a slice, and the means of the fresh list's metrics."""

    moments: int
    means: dict[str, float]

    @classmethod
    def between(cls, early: tuple[int, Sums], late: tuple[int, Sums]) -> Slice:
        """From counts and sums at its two ends."""
        n = late[0] - early[0]
        means = (late[1] - early[1]) / max(n, 1)
        return cls(n, {name: float(value) for name, value in zip(NAMES, means, strict=True)})


class Judged(msgspec.Struct, frozen=True):
    """What came of a trial: the metric at the rungs it reached, and both slices if it got to the end."""

    rungs: list[float]
    fit: Slice | None
    validation: Slice | None
    seconds: float


class OutOfTime(Exception):
    """The budget ended in the middle of a trial: nothing comes of it."""


class _Behind(Exception):
    """The trial is not good enough at a rung."""


def judge(
    part: Part, config: PipelineConfig, metric: str, bars: tuple[float, ...] = (), left_s: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Judged:  # fmt: skip
    """Replay the part. At each rung the ``metric`` so far has to reach its bar. Raises `OutOfTime` after ``left_s`` seconds."""
    began = time.monotonic()
    column = NAMES.index(metric)
    marks = part.marks
    rungs: list[float] = []
    seen: list[tuple[int, Sums]] = []

    def look(done: int, total: int) -> None:
        progress(done, total)
        if left_s is not None and time.monotonic() - began > left_s:
            raise OutOfTime
        if done not in marks:
            return
        q = job.pipeline.prequential
        seen.append((q.scored, q.sums[0].copy()))
        if len(seen) <= len(RUNGS):
            rungs.append(float(q.sums[0, column]) / max(q.scored, 1))
            if bars and rungs[-1] < bars[len(seen) - 1]:
                raise _Behind

    job = Replay(part.path, config, limit=part.events, progress=look, catalogue=part.catalogue)
    try:
        job.run()
    except _Behind:
        return Judged(rungs, None, None, time.monotonic() - began)
    q, cut = job.pipeline.prequential, seen[-1]
    nothing: tuple[int, Any] = (0, np.zeros(len(NAMES)))
    fit, validation = Slice.between(nothing, cut), Slice.between(cut, (q.scored, q.sums[0]))
    return Judged(rungs, fit, validation, time.monotonic() - began)
