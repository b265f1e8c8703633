"""Events and lists of the topics, in whatever order they are read, to the sums of an experiment.

A list answers the event at an offset. So the events of a partition in offset order, each followed by its list, are one order that
does not depend on who reads what first, or on how often a worker published a list again after a crash. Events that no list of their
partition has reached wait: a worker may be behind.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

import msgspec

from online_models.items import hash_id
from streams.contracts.events import Event, Source
from streams.contracts.experiments import Definition
from streams.contracts.reading import UNREADABLE
from streams.learned import EventWindow
from streams.validate import validate

from .tally import Tally
from .units import ListRecord, Units

WINDOW = 200_000
"""Event ids of a partition that are remembered to know a copy."""
FORGET_EVERY = 10_000

_decode = msgspec.json.Decoder(ListRecord).decode


@dataclass
class _Partition:
    """What has been read of a partition and not been folded."""

    events: deque[tuple[int, Event]] = field(default_factory=deque)
    lists: dict[int, ListRecord] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    """A heap of the offsets in ``lists``."""
    reached: dict[int, int] = field(default_factory=dict)
    """Partition of `recommendations` → offset of the latest event of this partition whose list it has given."""
    next_event: int = 0
    next_list: int = 0
    ids: EventWindow = field(default_factory=lambda: EventWindow(WINDOW))
    clock: int = 0
    folded: int = 0


class Readout:
    """One experiment's sums. ``partitions``: of `events` that are folded here (None: all); others' tallies can be added."""

    def __init__(
        self, definition: Definition, period_s: int = 86_400, partitions: frozenset[int] | None = None
    ) -> None:
        self.units = Units(definition)
        self._tally = Tally(definition, period_s)
        self._wanted = partitions
        self._partitions: dict[int, _Partition] = {}
        self.unreadable = 0
        self.answered = 0
        """Events that were followed by a list of the same user."""

    def take_event(self, raw: bytes | None, source: Source, event_id: str = "") -> None:
        """A record of topic `events` (a line of a log), in offset order a partition. What is no event is left out, as in the stream."""
        if self._wanted is not None and source.partition not in self._wanted:
            return
        part = self._of(source.partition)
        if source.offset < part.next_event:
            return
        part.next_event = source.offset + 1
        event = validate(raw, None, event_id)
        if isinstance(event, Event) and (name := hash_id(event.event_id)) not in part.ids:
            part.ids.add(name)
            part.events.append((source.offset, event))
        self._drain(part)

    def take_list(self, raw: bytes | None, read_from: int = 0) -> None:
        """A record of topic `recommendations`, from its partition ``read_from``. A copy of an earlier one is left out."""
        try:
            record = _decode(raw or b"")
        except UNREADABLE:
            self.unreadable += 1
            return
        cause = record.caused_by
        if cause is None or (self._wanted is not None and cause.partition not in self._wanted):
            return
        part = self._of(cause.partition)
        part.reached[read_from] = max(part.reached.get(read_from, -1), cause.offset)
        if cause.offset >= part.next_list and cause.offset not in part.lists:
            part.lists[cause.offset] = record
            heappush(part.order, cause.offset)
        self._drain(part)

    def tally(self) -> Tally:
        """The sums so far."""
        for unit in self.units.settled():
            self._tally.tell(unit)
        self._tally.unattributed = self.units.unattributed
        self._tally.partitions = set(self._partitions)
        return self._tally

    def _of(self, partition: int) -> _Partition:
        part = self._partitions.get(partition)
        if part is None:
            part = self._partitions[partition] = _Partition()
        return part

    def _drain(self, part: _Partition) -> None:
        """Fold the events up to the latest one that is known to be answered: a worker may be behind with the others."""
        until = min(part.reached.values(), default=-1)
        while part.events and part.events[0][0] <= until:
            offset, event = part.events.popleft()
            self._lists_before(part, offset)
            self.units.take_event(event)
            self._tally.events += 1
            part.clock, part.folded = max(part.clock, event.timestamp), part.folded + 1
            if part.folded % FORGET_EVERY == 0:
                self.units.forget(part.clock)
            answer = part.lists.get(offset)
            self.answered += answer is not None and answer.user_id == event.user_id
            self._lists_before(part, offset + 1)

    def _lists_before(self, part: _Partition, offset: int) -> None:
        while part.order and part.order[0] < offset:
            at = heappop(part.order)
            self.units.take_list(part.lists.pop(at))
            self._tally.lists += 1
            part.next_list = at + 1
