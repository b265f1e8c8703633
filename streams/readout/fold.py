"""Events and lists of the topics, in whatever order they are read, to the sums of an experiment.

A list answers the event at an offset. So the events of a partition in offset order, each followed by its list, are one order that
does not depend on who reads what first, or on how often a worker published a list again after a crash. An event counts if a list
answers it: a copy, and what a worker refused, has none. One whose list has not been read waits until it is known that there is none.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

import msgspec

from streams.contracts.events import Event, Source
from streams.contracts.experiments import Definition
from streams.contracts.reading import UNREADABLE
from streams.validate import validate

from .tally import Tally
from .units import ListRecord, Units
from .users import KEPT_LISTS

FORGET_EVERY = 10_000
UNANSWERED = 10_000
"""Events of a partition without a list that are kept, for a list that comes late."""
STRANGERS = 100_000
"""Users of whom there is no event yet whose lists are kept, until there is one."""

_decode = msgspec.json.Decoder(ListRecord).decode


@dataclass
class _Partition:
    """What has been read of a partition and not been folded."""

    units: Units
    events: deque[tuple[int, Event]] = field(default_factory=deque)
    lists: set[int] = field(default_factory=set)
    waiting: list[tuple[int, int, int, ListRecord]] = field(default_factory=list)
    """A heap of lists by offset; at one offset first the one that answers the event, then those asked for since, as they came."""
    reached: dict[int, int] = field(default_factory=dict)
    """Partition of `recommendations` → offset of the latest event of this partition whose list it has given."""
    unanswered: OrderedDict[int, Event] = field(default_factory=OrderedDict)
    next_event: int = 0
    done: int = -1
    """Offset of the latest event that was folded or left out."""
    complete: int = -1
    """Up to this offset all lists have been read."""
    mark: int = -1
    clock: int = 0
    folded: int = 0

    @property
    def until(self) -> int:
        """Up to this offset an event whose list has not been read has none."""
        return max(self.complete, min(self.reached.values(), default=-1))


class Readout:
    """One experiment's sums. ``partitions``: of `events` that are folded here (None: all); others' tallies can be added.
    ``begun``: see `Units`."""

    def __init__(
        self, definition: Definition, period_s: int = 86_400, partitions: frozenset[int] | None = None, begun: int = 0
    ) -> None:
        self._definition, self._begun = definition, begun
        self._tally = Tally(definition, period_s, begun)
        self._wanted = partitions
        self._partitions: dict[int, _Partition] = {}
        self._strangers: OrderedDict[str, list[ListRecord]] = OrderedDict()
        self._seen = 0
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
        if isinstance(event, Event):
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
        if cause is None:
            self._take_asked(record)
            return
        if self._wanted is not None and cause.partition not in self._wanted:
            return
        part = self._of(cause.partition)
        part.reached[read_from] = max(part.reached.get(read_from, -1), cause.offset)
        if cause.offset > part.done and cause.offset not in part.lists:
            part.lists.add(cause.offset)
            heappush(part.waiting, (cause.offset, 0, self._number(), record))
        elif (event := part.unanswered.pop(cause.offset, None)) is not None:
            self._fold(part, event, record)
        self._drain(part)

    def caught_up(self) -> None:
        """Everything has been read that was published when this is called.

        Lists of one events partition may be spread over several of `recommendations`, and one of those may have nothing to say for
        long. So what was reached at one call is complete at the next: by then the batch that was being published has been read too.
        """
        for part in self._partitions.values():
            part.complete, part.mark = part.mark, max(part.reached.values(), default=-1)
            self._drain(part)

    @property
    def waiting(self) -> dict[int, int]:
        """Events by partition that wait for their lists."""
        return {number: len(part.events) for number, part in self._partitions.items()}

    @property
    def users(self) -> int:
        """Of whom something is remembered."""
        return sum(len(part.units.users) for part in self._partitions.values()) + len(self._strangers)

    def tally(self) -> Tally:
        """The sums so far."""
        tally, parts = self._tally, self._partitions.values()
        for part in parts:
            for unit in part.units.settled():
                tally.tell(unit)
        tally.unattributed = sum(part.units.unattributed for part in parts)
        tally.forgotten = sum(part.units.users.forgotten for part in parts)
        tally.until_ms = max((part.clock for part in parts), default=0)
        tally.partitions = set(self._partitions)
        return tally

    def _of(self, partition: int) -> _Partition:
        part = self._partitions.get(partition)
        if part is None:
            part = self._partitions[partition] = _Partition(Units(self._definition, begun=self._begun))
        return part

    def _number(self) -> int:
        self._seen += 1
        return self._seen

    def _drain(self, part: _Partition) -> None:
        """Fold the events of which it is known whether they are answered; of the others a worker may be behind."""
        until = part.until
        while part.events and (part.events[0][0] in part.lists or part.events[0][0] <= until):
            offset, event = part.events.popleft()
            self._lists_before(part, offset)
            if offset in part.lists:
                _, _, _, answer = heappop(part.waiting)
                part.lists.discard(offset)
                self._fold(part, event, answer)
            else:
                part.unanswered[offset] = event
                while len(part.unanswered) > UNANSWERED:
                    part.unanswered.popitem(last=False)
            part.done = offset
            self._lists_before(part, offset + 1)

    def _fold(self, part: _Partition, event: Event, answer: ListRecord) -> None:
        for asked in self._strangers.pop(event.user_id, ()):
            self._show(part, asked)
        part.units.take_event(event)
        part.units.take_list(answer)
        self._tally.events += 1
        self._tally.lists += 1
        self.answered += answer.user_id == event.user_id
        part.clock, part.folded = max(part.clock, event.timestamp), part.folded + 1
        if part.folded % FORGET_EVERY == 0:
            part.units.users.forget(part.clock)

    def _lists_before(self, part: _Partition, offset: int) -> None:
        """Those asked for, and those whose events are not to be had any more."""
        while part.waiting and part.waiting[0][0] < offset:
            at, asked, _, record = heappop(part.waiting)
            part.lists.discard(at)
            if asked:
                self._show(part, record)
            else:
                part.units.take_list(record)
                self._tally.lists += 1

    def _take_asked(self, record: ListRecord) -> None:
        """A list that was asked for over HTTP, and what the user had done last when it was made."""
        after = record.after
        if after is None:
            kept = self._strangers.setdefault(record.user_id, [])
            kept.append(record)
            del kept[:-KEPT_LISTS]
            while len(self._strangers) > STRANGERS:
                self._strangers.popitem(last=False)
        elif self._wanted is None or after.partition in self._wanted:
            part = self._of(after.partition)
            if after.offset <= part.done:
                self._show(part, record)
            else:
                heappush(part.waiting, (after.offset, 1, self._number(), record))

    def _show(self, part: _Partition, asked: ListRecord) -> None:
        self._tally.lists += part.units.take_asked(asked)
