"""Which list answers which event, whatever is read first: records of topics `events` and `recommendations`, joined by offset.

A list says which event it answers (partition, offset). So each is kept until the other has come; nothing waits for anything else. What
matters is the order for each user, and that is the same whoever is read first: a user's events stand in one partition in order, and so do
the user's lists, by the same key. A list that was asked for over HTTP stands after the event that it knew of, or where it stands among
the user's lists if that is later.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Protocol

from streams.contracts.events import Event

from .units import ListRecord

EVENTS = 50_000
"""Events of all partitions that may wait for their lists before no more are read: the workers are behind."""
LISTS = 10_000
"""Lists of all partitions that may wait for their events before no more are read."""
UNANSWERED = 10_000
"""Events of all partitions that no list answers, as it seems, which are kept for one that comes late."""
GIVEN_UP = 1_000_000
"""Offsets of a partition's events without a list that are remembered, so that a list that comes too late is told from a copy."""


class Sink(Protocol):
    """Who is told, in an order that is each user's own."""

    def take_answered(self, partition: int, event: Event, answer: ListRecord) -> None:
        """An event, and the list that answers it."""

    def take_alone(self, partition: int, made: ListRecord) -> None:
        """A list whose event is not to be had any more."""

    def take_asked(self, made: ListRecord) -> None:
        """A list that was asked for over HTTP."""


@dataclass
class _Partition:
    """What has been read of a partition of `events`, and of the lists that answer its events."""

    events: OrderedDict[int, Event | None] = field(default_factory=OrderedDict)
    """By offset, without a list so far; None: refused."""
    unanswered: OrderedDict[int, Event | None] = field(default_factory=OrderedDict)
    """Those of which it seems that there is no list."""
    given_up: array[int] = field(default_factory=lambda: array("Q"))
    """Offsets, the least first, of those that are not kept any more."""
    forgot: int = -1
    """Up to this offset not even that is known."""
    lists: dict[int, ListRecord] = field(default_factory=dict)
    """By offset, without an event so far."""
    behind: dict[int, list[ListRecord]] = field(default_factory=dict)
    """By offset of a list that waits: those asked for since by the same user."""
    early: dict[int, list[tuple[int, int, int, ListRecord]]] = field(default_factory=dict)
    """By partition of `recommendations`, a heap of those asked for by what they know, round in which they came, and number: the answer to
    what they know may still come there."""
    order: list[int] = field(default_factory=list)
    """A heap of the offsets in ``lists``."""
    reached: dict[int, int] = field(default_factory=dict)
    """Partition of `recommendations` → offset of the latest event of this partition whose list it has given."""
    lifted: dict[int, int] = field(default_factory=dict)
    """Likewise, up to which it has none any more."""
    sure: int = -1
    """Up to this offset an event whose list has not been read has none."""
    mark: int = -1
    first: int | None = None
    next_event: int = 0

    def look(self, lists: int) -> None:
        """Find out what is ``sure``, with so many partitions of `recommendations`."""
        self.sure = min(max(self.reached.get(n, -1), self.lifted.get(n, -1)) for n in range(lists))

    def waits_for(self, n: int) -> bool:
        """Whether that partition of `recommendations` may hold the list that answers the first event without one."""
        return bool(self.events) and max(self.reached.get(n, -1), self.lifted.get(n, -1)) < next(iter(self.events))

    @property
    def held(self) -> int:
        """Lists that wait."""
        return len(self.lists) + sum(map(len, self.behind.values())) + sum(map(len, self.early.values()))


class Join:
    """Joins. ``lists``: partitions of `recommendations`; ``wanted``: of `events` (None: all)."""

    def __init__(self, sink: Sink, lists: int = 1, wanted: frozenset[int] | None = None) -> None:
        self._sink, self._lists, self._wanted = sink, lists, wanted
        self._parts: dict[int, _Partition] = {}
        self._latest: dict[str, tuple[int, int]] = {}
        """User → partition and offset of the latest list that waits for its event."""
        self._number = self._round = 0
        self.late = 0
        """Lists that came after their event had been given up."""

    def take_event(self, partition: int, offset: int, event: Event | None) -> None:
        """A record of topic `events`, in offset order a partition; None: it is no event."""
        if self._wanted is not None and partition not in self._wanted:
            return
        part = self._of(partition)
        if offset < part.next_event:
            return
        self.passed(partition, offset)
        part.next_event = offset + 1
        if offset in part.lists:
            heappop(part.order)
            self._settle(partition, part, offset, event, part.lists.pop(offset))
        else:
            part.events[offset] = event
            self._let_go(part)

    def take_list(self, read_from: int, made: ListRecord) -> None:
        """A record of topic `recommendations`, of its partition ``read_from``, in offset order a partition."""
        cause = made.caused_by
        if cause is None:
            self._take_asked(read_from, made)
            return
        if self._wanted is not None and cause.partition not in self._wanted:
            return
        part, offset = self._of(cause.partition), cause.offset
        before = part.reached.get(read_from, -1)
        part.reached[read_from] = max(before, offset)
        if before <= part.sure or read_from >= self._lists:
            self._lists = max(self._lists, read_from + 1)
            part.look(self._lists)
        if offset in part.events:
            self._settle(cause.partition, part, offset, part.events.pop(offset), made)
        elif offset in part.unanswered:
            self._settle(cause.partition, part, offset, part.unanswered.pop(offset), made)
        elif part.first is not None and offset < part.first:
            self._sink.take_alone(cause.partition, made)
        elif offset >= part.next_event:
            if offset not in part.lists:
                part.lists[offset] = made
                heappush(part.order, offset)
                self._latest[made.user_id] = cause.partition, offset
        else:
            at = bisect_left(part.given_up, offset)
            self.late += offset <= part.forgot or (at < len(part.given_up) and part.given_up[at] == offset)
        early = part.early.get(read_from, ())
        while early and early[0][0] <= part.reached[read_from]:
            self._place(heappop(early)[3])
        self._let_go(part)

    def passed(self, partition: int, offset: int) -> None:
        """All events of a partition before ``offset`` that there are have been taken: their lists wait no longer."""
        if self._wanted is not None and partition not in self._wanted:
            return
        part = self._of(partition)
        if part.first is None:
            part.first = offset
        part.next_event = max(part.next_event, offset)
        while part.order and part.order[0] < offset:
            at = heappop(part.order)
            self._settle(partition, part, at, None, part.lists.pop(at))

    def caught_up(self, lists: Collection[int] | None = None) -> None:
        """Everything has been read that these partitions of `recommendations` (None: all) held when this is called.

        One of them may have nothing to say of a partition of events for long. So what any has reached at one call, these have at the
        next: by then the batch that was being published has been read too.
        """
        self._round += 1
        for part in self._parts.values():
            for n in range(self._lists) if lists is None else lists:
                part.lifted[n] = max(part.lifted.get(n, -1), part.mark)
            part.mark = max(part.reached.values(), default=-1)
            part.look(self._lists)
            if lists is None:
                for early in part.early.values():
                    old = sorted(each for each in early if each[1] < self._round - 1)
                    early[:] = sorted(each for each in early if each[1] >= self._round - 1)
                    for each in old:
                        self._place(each[3])
            self._let_go(part)

    def ahead(self) -> tuple[set[int], set[int]]:
        """Partitions of `events`, and of `recommendations`, of which no more should be read until the others have caught up.

        There is always one to go on with: a partition of lists that events which are held back wait for, or else the events of its lists.
        """
        parts, events, lists = self._parts, set[int](), set[int]()
        if sum(len(part.events) for part in parts.values()) > EVENTS:
            events = {n for n, part in parts.items() if len(part.events) * len(parts) > EVENTS}
        if self.held > LISTS:
            for number, part in parts.items():
                for n, at in part.reached.items():
                    # What holds the events of this partition back may be that the lists of another are not there yet.
                    needed = number in events and any(parts[p].waits_for(n) for p in events)
                    if part.lists and at >= part.next_event and not needed:
                        lists.add(n)
        return events, lists

    def sure(self, partition: int) -> int:
        """Up to this offset of `events` everything has been read of all lists."""
        return self._of(partition).sure

    @property
    def waiting(self) -> dict[int, int]:
        """Events by partition that may still be answered."""
        return {number: len(part.events) for number, part in self._parts.items()}

    @property
    def held(self) -> int:
        """Lists that wait."""
        return sum(part.held for part in self._parts.values())

    @property
    def unsettled(self) -> bool:
        """Whether lists that were asked for wait to be told what came before them."""
        return any(early for part in self._parts.values() for early in part.early.values())

    def _of(self, partition: int) -> _Partition:
        part = self._parts.get(partition)
        if part is None:
            part = self._parts[partition] = _Partition()
        return part

    def _settle(self, partition: int, part: _Partition, offset: int, event: Event | None, made: ListRecord) -> None:
        if event is None:
            self._sink.take_alone(partition, made)
        else:
            self._sink.take_answered(partition, event, made)
        if self._latest.get(made.user_id) == (partition, offset):
            del self._latest[made.user_id]
        for asked in part.behind.pop(offset, ()):
            self._sink.take_asked(asked)

    def _let_go(self, part: _Partition) -> None:
        """Events that no list answers: copies, and what a worker refused."""
        while part.events and next(iter(part.events)) <= part.sure:
            offset, event = part.events.popitem(last=False)
            part.unanswered[offset] = event
        while len(part.unanswered) * len(self._parts) > UNANSWERED:
            part.given_up.append(part.unanswered.popitem(last=False)[0])
            if len(part.given_up) > GIVEN_UP:
                part.forgot = part.given_up[GIVEN_UP // 2 - 1]
                del part.given_up[: GIVEN_UP // 2]

    def _take_asked(self, read_from: int, made: ListRecord) -> None:
        after = made.after
        if after is None:
            self._place(made)
        elif self._wanted is None or after.partition in self._wanted:
            part = self._of(after.partition)
            if part.reached.get(read_from, -1) >= after.offset:
                self._place(made)
            else:
                self._number += 1
                heappush(part.early.setdefault(read_from, []), (after.offset, self._round, self._number, made))

    def _place(self, asked: ListRecord) -> None:
        """Behind the user's latest list."""
        where = self._latest.get(asked.user_id)
        if where is None:
            self._sink.take_asked(asked)
        else:
            self._parts[where[0]].behind.setdefault(where[1], []).append(asked)
