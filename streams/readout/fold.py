"""Events and lists of the topics, in whatever order they are read, to the sums of an experiment.

An event counts if a list answers it: a copy, and what a worker refused, has none. `Join` says which one does; what counts is each user's
order, which does not depend on who reads what first, or on how often a worker published a list again after a crash.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from streams.contracts.events import Event, Source
from streams.contracts.experiments import Definition
from streams.contracts.reading import UNREADABLE
from streams.validate import validate

from .join import Join
from .tally import Tally
from .units import ListRecord, Units
from .users import ACTIVE, KEPT_LISTS

FORGET_EVERY = 10_000
STRANGERS = 100_000
"""Users of whom there is no event yet whose lists are kept, until there is one."""

_decode = msgspec.json.Decoder(ListRecord).decode


@dataclass
class _Partition:
    """What happened to the units of a partition of `events`."""

    units: Units
    clock: int = 0
    folded: int = 0


class Readout:
    """One experiment's sums. ``partitions``: of `events` that are folded here (None: all); others' tallies can be added.
    ``begun``: see `Units`. ``lists``: partitions of `recommendations`."""

    def __init__(
        self,
        definition: Definition,
        period_s: int = 86_400,
        partitions: frozenset[int] | None = None,
        begun: int = 0,
        lists: int = 1,
    ) -> None:
        self._definition, self._begun = definition, begun
        self._tally = Tally(definition, period_s, begun)
        self._wanted = partitions
        self._join = Join(self, lists, partitions)
        self._partitions: dict[int, _Partition] = {}
        self._strangers: OrderedDict[str, list[ListRecord]] = OrderedDict()
        self._dropped = 0
        self.unreadable = 0
        self.answered = 0
        """Events that were followed by a list of the same user."""

    def take_event(self, raw: bytes | None, source: Source, event_id: str = "") -> None:
        """A record of topic `events` (a line of a log), in offset order a partition. What is no event is left out, as in the stream."""
        if self._wanted is not None and source.partition not in self._wanted:
            return
        self._of(source.partition)
        event = validate(raw, None, event_id)
        self._join.take_event(source.partition, source.offset, event if isinstance(event, Event) else None)

    def take_list(self, raw: bytes | None, read_from: int = 0) -> None:
        """A record of topic `recommendations`, from its partition ``read_from``. A copy of an earlier one is left out."""
        try:
            record = _decode(raw or b"")
        except UNREADABLE:
            self.unreadable += 1
            return
        self._join.take_list(read_from, record)

    def passed(self, partition: int, offset: int) -> None:
        """See `Join.passed`."""
        self._join.passed(partition, offset)

    def caught_up(self, lists: Collection[int] | None = None) -> None:
        """See `Join.caught_up`."""
        self._join.caught_up(lists)

    def ahead(self) -> tuple[set[int], set[int]]:
        """See `Join.ahead`."""
        return self._join.ahead()

    @property
    def waiting(self) -> dict[int, int]:
        """Events by partition that may still be answered."""
        return self._join.waiting

    @property
    def ahead_of_events(self) -> bool:
        """Whether lists wait for their events."""
        return self._join.held > 0

    @property
    def unsettled(self) -> bool:
        """See `Join.unsettled`."""
        return self._join.unsettled

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
        for part in parts:
            part.units.earned = Counter({key: n for key, n in part.units.earned.items() if key[1] > tally.dropped})
        tally.earned = sum((part.units.earned for part in parts), Counter())
        tally.unattributed = sum(part.units.unattributed for part in parts)
        tally.forgotten = sum(part.units.users.forgotten for part in parts)
        tally.crowded = sum(part.units.users.crowded for part in parts)
        tally.lost = self._join.late + self._dropped
        tally.until_ms = max((part.clock for part in parts), default=0)
        tally.partitions = set(self._partitions)
        return tally

    def _of(self, partition: int) -> _Partition:
        part = self._partitions.get(partition)
        if part is None:
            part = self._partitions[partition] = _Partition(Units(self._definition, begun=self._begun))
        return part

    def take_answered(self, partition: int, event: Event, answer: ListRecord) -> None:
        """An event, and the list that answers it."""
        part = self._of(partition)
        for asked in self._strangers.pop(event.user_id, ()):
            self._show(part, asked)
        part.units.take_event(event)
        part.units.take_list(answer)
        self._tally.events += 1
        self._tally.lists += 1
        self.answered += answer.user_id == event.user_id
        part.clock, part.folded = max(part.clock, event.timestamp), part.folded + 1
        if part.folded % FORGET_EVERY == 0:
            self._make_room(part)

    def _make_room(self, part: _Partition) -> None:
        """Between two looks there may be millions of events."""
        for unit in part.units.settled():
            self._tally.tell(unit)
        part.units.users.forget(part.clock)
        if sum(each.units.users.active for each in self._partitions.values()) > ACTIVE:
            for each in self._partitions.values():
                each.units.users.crowd_out(ACTIVE // len(self._partitions))

    def take_alone(self, partition: int, made: ListRecord) -> None:
        """A list whose event is not to be had any more: it was shown all the same."""
        self._show(self._of(partition), made)

    def take_asked(self, made: ListRecord) -> None:
        """A list that was asked for over HTTP. Of whom no event is known it is kept until there is one."""
        if made.after is not None:
            self._show(self._of(made.after.partition), made)
            return
        kept = self._strangers.setdefault(made.user_id, [])
        kept.append(made)
        del kept[:-KEPT_LISTS]
        while len(self._strangers) > STRANGERS:
            self._dropped += len(self._strangers.popitem(last=False)[1])

    def _show(self, part: _Partition, made: ListRecord) -> None:
        self._tally.lists += part.units.take_asked(made)
