"""Open moments: events of one user at one timestamp share the lists from before the first of them.

A moment stays open while its partition's clock stands at its timestamp; the next later event closes it, and only then
is it judged. Offsets from the first event of the open moments on should not be committed, so that a restart never falls
into the middle of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from online_models.base import FloatArray, IntArray
from online_models.metrics import K

from .contracts.events import Event, Source
from .prequential import GONE, Moment

MOST = 50_000
"""Open moments of a partition (users at one timestamp: logs with a resolution of days have many). Beyond it the oldest
closes, and what comes of it later is a moment of its own."""


@dataclass(slots=True)
class _Front:
    """A partition's latest timestamp, the first and the latest offset seen at it, and its moments."""

    timestamp: int
    first: int
    latest: int
    moments: dict[int, Moment]
    teaching: deque[Moment] = field(default_factory=deque)
    """Those whose features are still there, oldest first."""


class _Saved(msgspec.Struct, array_like=True):
    """An open moment as bytes. ``rows``, ``x`` and ``active`` are empty where it teaches no more."""

    user: int
    number: int
    n_items: int
    fresh: list[str]
    lists: bytes
    targets: list[int]
    rows: bytes
    x: bytes
    active: bytes
    version: str
    arm: str = ""


class _SavedFront(msgspec.Struct, array_like=True):
    partition: int
    timestamp: int
    first: int
    latest: int
    moments: list[_Saved]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_SavedFront]).decode


class OpenMoments:
    """The moments that may get more events, by partition and user; at most `MOST` of a partition.

    ``judge`` is called with each moment that closes. At most ``teaching`` moments of a partition keep the features that
    the blend learns from (the oldest lose them first), and at most ``uncommitted`` offsets are held back.
    """

    def __init__(
        self, buffer: Callable[[], FloatArray], judge: Callable[[Moment], None], teaching: int, uncommitted: int
    ) -> None:
        self._new_buffer, self._judge = buffer, judge
        self._teaching, self._uncommitted = teaching, uncommitted
        self._fronts: dict[int, _Front] = {}
        self._buffers: list[FloatArray] = [buffer()]

    def begins(self, event: Event, source: Source) -> bool:
        """Whether the event moves its partition's clock on; all moments before it are then closed."""
        front = self._fronts.get(source.partition)
        if front is not None and event.timestamp <= front.timestamp:
            front.latest = max(front.latest, source.offset)
            return False
        if front is not None:
            for moment in front.moments.values():
                self._close(moment)
        self._fronts[source.partition] = _Front(event.timestamp, source.offset, source.offset, {})
        return True

    def late(self, event: Event, source: Source) -> bool:
        """Whether the event is older than its partition's clock."""
        return event.timestamp < self._fronts[source.partition].timestamp

    def find(self, event: Event, source: Source, user: int) -> Moment | None:
        """The open moment that the event belongs to. ``user`` is the 64-bit hash of its user."""
        front = self._fronts[source.partition]
        return front.moments.get(user) if event.timestamp == front.timestamp else None

    def add(self, moment: Moment, event: Event, source: Source, user: int) -> None:
        """Keep a new moment open. (One of a late event is closed by `settle`.)"""
        front = self._fronts[source.partition]
        if event.timestamp == front.timestamp:
            front.moments[user] = moment
            front.teaching.append(moment)
            if len(front.teaching) > self._teaching:
                self._release(front.teaching.popleft())
            if len(front.moments) > MOST:
                self._close(front.moments.pop(next(iter(front.moments))))

    def settle(self, moment: Moment, event: Event, source: Source) -> None:
        """The event has been dealt with: a late one was a moment of its own."""
        if self.late(event, source):
            self._close(moment)

    def __len__(self) -> int:
        return sum(len(front.moments) for front in self._fronts.values())

    def keep(self, partitions: Container[int]) -> None:
        """Close the moments of all other partitions: their events are somebody else's now."""
        for gone in [partition for partition in self._fronts if partition not in partitions]:
            for moment in self._fronts.pop(gone).moments.values():
                self._close(moment)

    def buffer(self) -> FloatArray:
        """A feature matrix for a new moment."""
        return self._buffers.pop() if self._buffers else self._new_buffer()

    def _release(self, moment: Moment) -> None:
        if moment.x is not None:
            self._buffers.append(moment.x)
            moment.x = moment.rows = None

    def _close(self, moment: Moment) -> None:
        self._release(moment)
        self._judge(moment)

    def _all(self) -> Iterator[Moment]:
        for front in self._fronts.values():
            yield from front.moments.values()

    def finish(self) -> None:
        """The stream has ended: close them all."""
        for moment in self._all():
            self._close(moment)
        self._fronts.clear()

    def safe_offset(self, partition: int) -> int | None:
        """The first offset that may belong to an open moment; None if nothing has been seen of the partition."""
        front = self._fronts.get(partition)
        return None if front is None else max(front.first, front.latest - self._uncommitted)

    def snapshot(self) -> npt.NDArray[np.uint8]:
        """The open moments as bytes, for a worker that stops in the middle of them."""
        saved = [
            _SavedFront(p, f.timestamp, f.first, f.latest, [self._save(user, m) for user, m in f.moments.items()])
            for p, f in self._fronts.items()
        ]
        return np.frombuffer(_encode(saved), np.uint8)

    def restore(self, state: npt.NDArray[np.uint8]) -> None:
        """Take over a snapshot: events that belong to its moments find them."""
        self._fronts = {}
        for f in _decode(state.tobytes()):
            moments = {saved.user: self._load(f.timestamp, saved) for saved in f.moments}
            teaching = deque(moment for moment in moments.values() if moment.x is not None)
            self._fronts[f.partition] = _Front(f.timestamp, f.first, f.latest, moments, teaching)

    def _save(self, user: int, m: Moment) -> _Saved:
        rows = x = active = b""
        if m.x is not None and m.rows is not None and m.active is not None:
            rows, x, active = m.rows.tobytes(), m.x[: m.n_rows].tobytes(), m.active.tobytes()
        return _Saved(
            user, m.number, m.n_items, m.fresh, m.lists.tobytes(), m.targets, rows, x, active, m.version, m.arm
        )

    def _load(self, timestamp: int, s: _Saved) -> Moment:
        lists = np.frombuffer(s.lists, np.int32).reshape(-1, K).copy()
        moment = Moment(timestamp, s.number, s.n_items, s.fresh, lists, s.targets, version=s.version, arm=s.arm)
        if s.active:
            moment.rows, moment.active = np.frombuffer(s.rows, np.int32), np.frombuffer(s.active, np.int32)
            moment.n_rows, moment.x = len(moment.rows), self.buffer()
            moment.x[: moment.n_rows] = np.frombuffer(s.x, np.float32).reshape(moment.n_rows, moment.x.shape[1])
        return moment

    def remap(self, new_index: IntArray) -> None:
        """The item table was compacted. Features cannot be moved: open moments teach no more."""
        for moment in self._all():
            self._release(moment)
            moment.rival = None
            moved = new_index[np.maximum(moment.lists, 0)]
            moment.lists = np.where(moment.lists < 0, moment.lists, np.where(moved < 0, GONE, moved)).astype(np.int32)
            moment.targets = [int(new_index[t]) if t >= 0 and new_index[t] >= 0 else GONE - 1 for t in moment.targets]
            moment.n_items = int(np.count_nonzero(new_index[: moment.n_items] >= 0))
