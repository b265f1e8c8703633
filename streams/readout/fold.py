"""Events and lists of the topics, in whatever order they are read, to the sums of an experiment.

An event counts if a list answers it: a copy, and what a worker refused, has none. `Join` says which one does; what counts is each user's
order, which does not depend on who reads what first, or on how often a worker published a list again after a crash.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass, field
from statistics import median_low

import msgspec

from online_models.errors import InputError
from streams.contracts.events import Event, Source
from streams.contracts.experiments import Definition
from streams.contracts.reading import UNREADABLE
from streams.validate import validate

from .join import Join
from .strangers import Strangers
from .tally import Tally
from .units import ListRecord, Units
from .users import Shown

FORGET_EVERY = 10_000
"""Events of a partition whose median time moves its clock; and events and lists after which room is made."""
MAX_USERS = 300_000
"""Users remembered at a time."""
RESTING = 16
"""Users who are silent for long that take no more room than one who is not."""
SESSIONS = 8
"""Sessions beyond the first of users who are not silent for long that take no more room than one user."""

_decode = msgspec.json.Decoder(ListRecord).decode


@dataclass
class _Partition:
    """What happened to the units of a partition of `events`."""

    units: Units
    latest: int = 0
    """Event time of the latest event that was counted."""
    clock: int = 0
    """Event time by which users are silent: one wrong time does not move it."""
    times: list[int] = field(default_factory=list)
    clocks: deque[tuple[int, int]] = field(default_factory=deque)
    """Medians to come, each with the offset that all lists must have been read up to, for some of them may be far behind others."""


class Readout:
    """One experiment's sums. ``partitions``: of `events` that are folded here (None: all); others' tallies can be added.
    ``begun``: see `Units`. ``lists``: partitions of `recommendations`. ``events``: partitions of `events` that there are in all.
    ``max_users``: remembered at a time; beyond that every method that takes something, and `tally`, raises InputError.
    """

    def __init__(
        self,
        definition: Definition,
        period_s: int = 86_400,
        partitions: frozenset[int] | None = None,
        begun: int = 0,
        lists: int = 1,
        events: int = 1,
        max_users: int = MAX_USERS,
    ) -> None:
        self._definition, self._begun = definition, begun
        self._tally = Tally(definition, period_s, begun)
        self._wanted = partitions
        self._join = Join(self, lists, partitions)
        self._partitions: dict[int, _Partition] = {}
        self._strangers = Strangers(events, partitions)
        self._slim = Units(definition, begun).slim
        self._max_users, self._folded = max_users, 0
        self.unreadable = 0
        self.answered = 0
        """Events that were followed by a list of the same user."""

    def take_event(self, raw: bytes | None, source: Source, event_id: str = "") -> None:
        """A record of topic `events` (a line of a log), in offset order a partition. What is no event is left out, as in the stream."""
        if self._wanted is not None and source.partition not in self._wanted:
            return
        part = self._of(source.partition)
        event = validate(raw, None, event_id)
        if isinstance(event, Event):
            _tick(part, source.offset, event.timestamp)
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
        """Of whom something is remembered, as `max_users` counts them: `RESTING` who are silent for long are one, and of the others
        `SESSIONS` beyond one of each."""
        each = [part.units.users for part in self._partitions.values()]
        resting, sessions = sum(users.resting for users in each), sum(users.sessions for users in each)
        return sum(users.active for users in each) + -(-resting // RESTING) + -(-sessions // SESSIONS)

    @property
    def strange(self) -> int:
        """Lists of the experiment in a variant that its definition lacks; they are among the `lost`."""
        return sum(part.units.strange for part in self._partitions.values())

    def tally(self) -> Tally:
        """The sums so far. Raises InputError as `Strangers.check` does."""
        self._strangers.check()
        self._check_room()
        tally, parts = self._tally, self._partitions.values()
        for part in parts:
            for unit in part.units.settled():
                tally.tell(unit)
        for part in parts:
            part.units.earned = Counter({key: n for key, n in part.units.earned.items() if key[1] > tally.dropped})
        tally.earned = sum((part.units.earned for part in parts), Counter())
        tally.unattributed = sum(part.units.unattributed for part in parts)
        missed = sum(part.units.users.missed for part in parts)
        tally.lost = self._join.late + self._strangers.lost + missed + self.strange
        tally.until_ms = max((part.latest for part in parts), default=0)
        tally.partitions = set(self._partitions)
        return tally

    def _of(self, partition: int) -> _Partition:
        part = self._partitions.get(partition)
        if part is None:
            part = self._partitions[partition] = _Partition(Units(self._definition, self._begun))
        return part

    def take_answered(self, partition: int, event: Event, answer: ListRecord) -> None:
        """An event, and the list that answers it."""
        part = self._of(partition)
        for asked in self._strangers.pop(event.user_id, partition):
            self._show(part, event.user_id, asked)
        part.units.take_event(event)
        part.units.take_list(answer)
        self._tally.events += 1
        self._tally.lists += 1
        self.answered += answer.user_id == event.user_id
        part.latest = max(part.latest, event.timestamp)
        self._make_room()

    def _make_room(self) -> None:
        """Between two looks there may be millions of events."""
        self._folded += 1
        if self._folded % FORGET_EVERY:
            return
        for number, part in self._partitions.items():
            for unit in part.units.settled():
                self._tally.tell(unit)
            while part.clocks and part.clocks[0][0] <= self._join.sure(number):
                part.clock = max(part.clock, part.clocks.popleft()[1])
            part.units.users.forget(part.clock)
        self._check_room()

    def _check_room(self) -> None:
        if self.users > self._max_users:
            raise InputError(
                f"at most {self._max_users:,} users remembered at a time ({RESTING} who are silent for long count as one, "
                f"as do {SESSIONS} more sessions of one who is not)",
                f"{self.users:,}",
                "read partitions apart with --partition and --save and add them with --merge, or raise --max-users",
            )

    def take_alone(self, partition: int, made: ListRecord) -> None:
        """A list whose event is not to be had any more: it was shown all the same."""
        part = self._of(partition)
        if made.caused_by is not None:
            _tick(part, made.caused_by.offset, made.timestamp)
        self._show(part, made.user_id, self._slim(made))
        self._make_room()

    def take_asked(self, made: ListRecord) -> None:
        """A list that was asked for over HTTP. Of whom no event is known it is kept until there is one."""
        if made.after is not None:
            self._show(self._of(made.after.partition), made.user_id, self._slim(made))
            self._make_room()
        elif self._strangers.is_mine(made.user_id):
            self._strangers.put(made.user_id, self._slim(made))

    def _show(self, part: _Partition, user_id: str, made: Shown) -> None:
        self._tally.lists += part.units.take_asked(user_id, made)


def _tick(part: _Partition, offset: int, ms: int) -> None:
    part.times.append(ms)
    if len(part.times) >= FORGET_EVERY:
        part.clocks.append((offset, median_low(part.times)))
        part.times = []
