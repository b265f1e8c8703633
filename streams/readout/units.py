"""What happened to each unit of one experiment: a pure fold of one partition's events, each followed by the list that answered it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from streams.contracts.events import Event
from streams.contracts.experiments import Definition

CONVERSION, REVENUE, CLICKED, LISTS, HITS, TARGETS, CREDIT, DECIDED = range(8)
"""Columns of a unit: has it converted; its revenue; lists with a click, lists; events that the list before had named, events;
and of lists that two variants share, those clicked more for the second less those for the first, and all with a click for either."""
COLUMNS = 8

DAY_MS = 86_400_000
BEFORE_DAYS = 14
"""How long before its first exposure a unit's covariates reach back."""
MOST = 1e12
"""Money beyond which a value is a slip, and counts as none."""
KEPT_LISTS = 20
"""Of a user, for clicks that name theirs."""


class _Cause(msgspec.Struct, frozen=True):
    partition: int
    offset: int


class _Item(msgspec.Struct, frozen=True):
    item_id: str
    variant: str | None = None


class _Exposed(msgspec.Struct, frozen=True):
    name: str
    variant: str
    unit: str | None = None
    ramp: int = 0
    forced: bool = False


class ListRecord(msgspec.Struct, frozen=True):
    """What a read-out needs of a `Recommendation`."""

    request_id: str
    user_id: str
    timestamp: int
    items: list[_Item]
    caused_by: _Cause | None = None
    experiments: list[_Exposed] = []


@dataclass(slots=True)
class Unit:
    """One unit that was exposed. ``now`` and ``before`` are its columns.

    What the sums know of it: whether it was ``counted`` at all, whether as one of several variants (``left``), and its columns ``told``.
    """

    variant: str
    ramp: int
    first_ms: int
    before: tuple[float, ...]
    mixed: bool = False
    now: list[float] = field(default_factory=lambda: [0.0] * COLUMNS)
    bought: dict[str, float] = field(default_factory=dict)
    told: tuple[float, ...] | None = None
    counted: bool = False
    left: bool = False


@dataclass(slots=True)
class _List:
    request_id: str
    timestamp: int
    items: frozenset[str]
    unit: str | None
    variant: str
    ramp: int
    exposed: bool = False
    clicked: bool = False
    picks: dict[str, int] = field(default_factory=dict)
    """Item → 0 or 1: whose pick it is."""
    clicks: list[int] = field(default_factory=lambda: [0, 0])


@dataclass(slots=True)
class _User:
    lists: deque[_List] = field(default_factory=lambda: deque(maxlen=KEPT_LISTS))
    last_item: str = ""
    last_ms: int = 0
    past: dict[int, list[float]] = field(default_factory=dict)
    """Day → columns of what happened outside the experiment."""


class Units:
    """The fold. ``changed`` are units whose columns are not as the sums hold them; `settled` hands them over."""

    def __init__(self, definition: Definition) -> None:
        d = self._definition = definition
        self._name, self._window = d.name, d.attribution_s * 1000
        self._clicks, self._conversions = frozenset(d.clicks), frozenset(d.conversions)
        self._judged = self._clicks | self._conversions
        self._sides = {v.name: n for n, v in enumerate(d.variants[:2])} if d.method == "interleave" else {}
        self._on_impression = d.exposure == "impression"
        self._users: OrderedDict[str, _User] = OrderedDict()
        self.units: dict[str, Unit] = {}
        self.changed: set[str] = set()
        self.unattributed = 0
        """Events that would have counted, but came too long after any list, or before the one they were older than."""

    def take_list(self, record: ListRecord) -> None:
        """The list that answers the latest event."""
        user = self._user(record.user_id)
        mine = next((e for e in record.experiments if e.name == self._name and not e.forced), None)
        unit = None if mine is None else mine.unit or record.user_id
        items = frozenset(item.item_id for item in record.items[:20])
        made = _List(
            record.request_id, record.timestamp, items, unit, mine.variant if mine else "", mine.ramp if mine else 0
        )
        if self._sides:
            made.picks = {i.item_id: self._sides[i.variant] for i in record.items if i.variant in self._sides}
        lists = user.lists
        if not self._on_impression and len(lists) > 1 and lists[-2].timestamp < lists[-1].timestamp < made.timestamp:
            lists[
                -2
            ].items = frozenset()  # only the lists of the last two moments can still be meant without being named
        lists.append(made)
        if not self._on_impression:
            self._expose(user, record.user_id, made, record.timestamp)

    def take_event(self, event: Event) -> None:
        """The next event of the partition, which no event before it was a copy of."""
        user = self._user(event.user_id)
        now = event.timestamp
        user.last_ms = max(user.last_ms, now)
        kind = event.event_type
        named = self._named(user, event.request_id)
        if kind == "impression":
            if named is not None and self._on_impression:
                self._expose(user, event.user_id, named, now)
            return
        if named is not None and now - named.timestamp > self._window:
            self.unattributed += 1
            return
        shown = named or self._latest(user, now)
        if kind in self._judged:
            if shown is None:
                self.unattributed += bool(user.lists)
            else:
                self._judge(user, event, shown)
            user.last_item = event.item_id
        if kind in self._conversions:
            self._convert(user, event, shown)
        elif kind == "return":
            self._take_back(user, event)

    def _judge(self, user: _User, event: Event, shown: _List) -> None:
        """A click, or what the list should have named."""
        hit = event.item_id in shown.items
        if event.item_id != user.last_item:
            self._add(user, shown, event.timestamp, TARGETS, 1.0)
            if hit:
                self._add(user, shown, event.timestamp, HITS, 1.0)
        joined = event.request_id is not None and event.request_id == shown.request_id
        if event.event_type in self._clicks and (hit or joined) and not shown.clicked:
            shown.clicked = True
            self._add(user, shown, event.timestamp, CLICKED, 1.0)
        if shown.picks and event.event_type in self._clicks:
            self._credit(user, event, shown)

    def _credit(self, user: _User, event: Event, shown: _List) -> None:
        """A click on an item of a list that two variants share is for the one that picked it; it counts once."""
        side = shown.picks.pop(event.item_id, None)
        if side is None:
            return
        before = _sign(shown.clicks)
        if not any(shown.clicks):
            self._add(user, shown, event.timestamp, DECIDED, 1.0)
        shown.clicks[side] += 1
        self._add(user, shown, event.timestamp, CREDIT, float(_sign(shown.clicks) - before))

    def _convert(self, user: _User, event: Event, shown: _List | None) -> None:
        value = event.value if event.value is not None and abs(event.value) <= MOST else 0.0
        if shown is None or shown.unit is None or not shown.exposed:
            past = self._past(user, event.timestamp)
            past[CONVERSION] = 1.0
            past[REVENUE] += value
            return
        unit = self.units[shown.unit]
        unit.now[CONVERSION] = 1.0
        unit.now[REVENUE] += value
        unit.bought[event.item_id] = unit.bought.get(event.item_id, 0.0) + value
        self.changed.add(shown.unit)

    def _take_back(self, user: _User, event: Event) -> None:
        """A return undoes the revenue of what was bought in the experiment, whenever it comes."""
        for shown in reversed(user.lists):
            if shown.unit is not None and shown.exposed:
                self._take_from(shown.unit, event)
                return
        if event.user_id in self.units:
            self._take_from(event.user_id, event)

    def _take_from(self, name: str, event: Event) -> None:
        unit = self.units[name]
        if event.item_id in unit.bought:
            paid = unit.bought[event.item_id]
            back = paid if event.value is None else min(abs(event.value), paid)
            unit.bought[event.item_id] = paid - back
            unit.now[REVENUE] -= back
            self.changed.add(name)

    def _expose(self, user: _User, user_id: str, made: _List, now: int) -> None:
        if made.exposed:
            return
        made.exposed = True
        if made.unit is not None:
            unit = self.units.get(made.unit)
            if unit is None:
                before = self._before(user, now) if made.unit == user_id else (0.0,) * COLUMNS
                unit = self.units[made.unit] = Unit(made.variant, made.ramp, now, before)
            if unit.variant != made.variant:
                unit.mixed = True
        self._add(user, made, now, LISTS, 1.0)

    def _add(self, user: _User, shown: _List, now: int, column: int, value: float) -> None:
        if shown.unit is None:
            self._past(user, now)[column] += value
        elif shown.exposed:
            self.units[shown.unit].now[column] += value
            self.changed.add(shown.unit)

    def _past(self, user: _User, now: int) -> list[float]:
        day = now // DAY_MS
        if day not in user.past:
            user.past[day] = [0.0] * COLUMNS
            for old in [d for d in user.past if d < day - BEFORE_DAYS]:
                del user.past[old]
        return user.past[day]

    def _before(self, user: _User, now: int) -> tuple[float, ...]:
        days = [user.past[d] for d in sorted(user.past) if d >= now // DAY_MS - BEFORE_DAYS]
        sums = [sum(day[c] for day in days) for c in range(COLUMNS)]
        user.past = {}
        return (float(sums[CONVERSION] > 0.0), *sums[1:])

    def _named(self, user: _User, request_id: str | None) -> _List | None:
        if request_id is None:
            return None
        return next((shown for shown in reversed(user.lists) if shown.request_id == request_id), None)

    def _latest(self, user: _User, now: int) -> _List | None:
        """The latest list from before ``now`` that the user was shown, if that is not too long ago."""
        for shown in reversed(user.lists):
            if shown.timestamp < now and (shown.exposed or not self._on_impression):
                return shown if now - shown.timestamp <= self._window else None
        return None

    def _user(self, user_id: str) -> _User:
        user = self._users.get(user_id)
        if user is None:
            user = self._users[user_id] = _User()
        else:
            self._users.move_to_end(user_id)
        return user

    def forget(self, now: int) -> None:
        """Drop what is known of users whose latest event is too long before ``now`` for anything of it to count any more."""
        while self._users:
            user_id, user = next(iter(self._users.items()))
            if now - user.last_ms <= self._window + BEFORE_DAYS * DAY_MS:
                break
            del self._users[user_id]

    def settled(self) -> Iterator[Unit]:
        """The units that have changed since the last call."""
        changed, self.changed = self.changed, set()
        for name in changed:
            yield self.units[name]


def _sign(clicks: list[int]) -> int:
    return (clicks[1] > clicks[0]) - (clicks[1] < clicks[0])
