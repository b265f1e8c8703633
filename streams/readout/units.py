"""What happened to each unit of one experiment: a pure fold of one partition's events, each followed by the list that answered it."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator

import msgspec

from online_models.items import hash_id
from streams.contracts.events import Event
from streams.contracts.experiments import INTERLEAVED, Definition

from .users import COLUMNS, DAY_MS, Exposed, Purchase, Shown, Unit, User, Users

CONVERSION, REVENUE, CLICKED, LISTS, HITS, TARGETS, CREDIT, DECIDED = range(8)
"""Columns of a unit: has it converted; its revenue; lists with a click, lists; events that the list before had named, events;
and of lists that two variants share, those clicked more for the second less those for the first, and all with a click for either."""
BEFORE_DAYS = 14
"""How long before its first exposure a unit's covariates reach back."""
MOST = 1e12
"""Money beyond which a value is a slip, and counts as none."""
JUDGED = 20
"""Places of a list that count."""
NOTHING = (0.0,) * COLUMNS
SAME = 1_000
"""Exposures that are alike of which one is kept for all."""


class _Cause(msgspec.Struct, frozen=True):
    partition: int
    offset: int


class _Item(msgspec.Struct, frozen=True):
    item_id: str
    variant: str | None = None


class ListRecord(msgspec.Struct, frozen=True):
    """What a read-out needs of a `Recommendation`."""

    request_id: str
    user_id: str
    timestamp: int
    items: list[_Item]
    caused_by: _Cause | None = None
    after: _Cause | None = None
    experiments: list[Exposed] = []


class Units:
    """The fold. ``changed`` are units whose columns are not as the sums hold them; `settled` hands them over.

    ``begun``: when the experiment was (ms), so that lists of another one of its name are nobody's; 0: that is not known.
    """

    def __init__(self, definition: Definition, begun: int = 0) -> None:
        d = self._definition = definition
        self._name, self._begun, self._window = d.name, begun, d.attribution_s * 1000
        self._clicks, self._conversions = frozenset(d.clicks), frozenset(d.conversions)
        self._judged = self._clicks | self._conversions
        self._sides = {v.name: n for n, v in enumerate(d.variants[:2])} if d.method == "interleave" else {}
        self._variants = {INTERLEAVED} if d.method == "interleave" else {v.name for v in d.variants}
        self._on_impression = d.exposure == "impression"
        self._by_ramp = d.method == "bandit"
        self.users = Users(self._window + BEFORE_DAYS * DAY_MS)
        self.changed: set[Unit] = set()
        self._same: dict[Exposed, Exposed] = {}
        """One object for all that say the same: variants and ramps are few."""
        self.earned: Counter[tuple[str, int, int]] = Counter()
        """Of a bandit, by variant, ramp and column: what all lists earned, of whichever units and whenever those came."""
        self.strange = 0
        """Lists in a variant that the definition lacks, which are in none."""
        self.unattributed = 0
        """Events that would have counted, but came too long after the lists of the experiment that their users had."""

    def take_list(self, record: ListRecord) -> None:
        """The list that answers the latest event. One that answers an impression is nobody's: the user is on another list, which it
        must not push out, and one page view has as many impressions as places were seen."""
        user = self.users.at(record.user_id, record.timestamp)
        if not user.looking:
            self._show(user, record.user_id, self.slim(record))

    def take_asked(self, user_id: str, made: Shown) -> bool:
        """A list that the user asked for over HTTP. False for one that was asked for again: it is the same list."""
        user = self.users.at(user_id, made.timestamp)
        if any(made.name == shown.name for shown in user.lists):
            return False
        self._show(user, user_id, made)
        return True

    def slim(self, record: ListRecord) -> Shown:
        """What is remembered of a list."""
        mine = next((e for e in record.experiments if self._is_mine(e)), None)
        if mine is not None and mine.unit is None:
            if len(self._same) > SAME:
                self._same.clear()
            mine = self._same.setdefault(mine, mine)
        items = array("Q", [hash_id(item.item_id) for item in record.items[:JUDGED]]).tobytes()
        made = Shown(hash_id(record.request_id), record.timestamp, items, mine)
        if self._sides:
            one, other = (
                array("Q", {hash_id(i.item_id) for i in record.items if self._sides.get(i.variant or "") == side})
                for side in (0, 1)
            )
            made.picks, made.clicks = (one, other), [0, 0]
        return made

    def _show(self, user: User, user_id: str, made: Shown) -> None:
        user.note_list(made)
        if self._is_own(made):
            user.since_ms = made.timestamp if user.since_ms is None else min(user.since_ms, made.timestamp)
        if not self._on_impression:
            self._expose(user, user_id, made, made.timestamp)

    def _is_mine(self, e: Exposed) -> bool:
        another = e.begun and self._begun and e.begun != self._begun
        return e.name == self._name and not e.forced and not another

    def take_event(self, event: Event) -> None:
        """The next event of the partition, which a list answers."""
        now = event.timestamp
        user = self.users.at(event.user_id, now)
        kind = event.event_type
        user.looking = kind == "impression"
        named = self._named(user, event.request_id)
        if kind == "impression":
            if named is not None and self._on_impression and now - named.timestamp <= self._window:
                self._expose(user, event.user_id, named, now)
            return
        if kind == "return" and kind not in self._conversions:
            self._take_back(user, event)
            return
        if named is not None and now - named.timestamp > self._window:
            self.unattributed += kind in self._judged and named.exposure is not None and named.exposed
            return
        shown = named or self._latest(user, now)
        if kind in self._judged:
            if shown is None:
                self.unattributed += any(
                    made.exposed and made.exposure is not None and now - made.timestamp > self._window
                    for made in user.lists
                )
            else:
                self._judge(user, event, shown, shown is named)
            user.last_item = event.item_id
        if kind in self._conversions:
            value = event.value if event.value is not None and abs(event.value) <= MOST else 0.0
            self._convert(user, now, shown, hash_id(event.item_id), value)

    def _judge(self, user: User, event: Event, shown: Shown, joined: bool) -> None:
        """A click, or what the list should have named."""
        hit = shown.holds(hash_id(event.item_id))
        if event.item_id != user.last_item:
            self._add(user, shown, event.timestamp, TARGETS, 1.0)
            if hit:
                self._add(user, shown, event.timestamp, HITS, 1.0)
        if event.event_type in self._clicks and (hit or joined) and not shown.clicked:
            shown.clicked = True
            self._add(user, shown, event.timestamp, CLICKED, 1.0)
        if event.event_type in self._clicks:
            self._credit(user, event, shown)

    def _credit(self, user: User, event: Event, shown: Shown) -> None:
        """A click on an item of a list that two variants share is for the one that picked it; it counts once."""
        item = hash_id(event.item_id)
        if shown.picks is None or shown.clicks is None or not any(item in picks for picks in shown.picks):
            return
        side = int(item not in shown.picks[0])
        shown.picks[side].remove(item)
        before = _sign(shown.clicks)
        if not any(shown.clicks):
            self._add(user, shown, event.timestamp, DECIDED, 1.0)
        shown.clicks[side] += 1
        self._add(user, shown, event.timestamp, CREDIT, float(_sign(shown.clicks) - before))

    def _convert(self, user: User, now: int, shown: Shown | None, item: int, paid: float) -> None:
        if shown is not None and self._waits(shown):
            held = shown.hold()
            held[CONVERSION] = 1.0
            held[REVENUE] += paid
            user.note_purchase(Purchase(item, None, paid, shown))
        elif shown is None or shown.unit is None:
            past = self._past(user, now)
            past[CONVERSION] = 1.0
            past[REVENUE] += paid
            if shown is not None and self._is_own(shown):
                user.note_purchase(Purchase(item, None, paid))
        else:
            shown.unit.now[CONVERSION] = 1.0
            shown.unit.now[REVENUE] += paid
            user.note_purchase(Purchase(item, shown.unit, paid))
            self.changed.add(shown.unit)

    def _take_back(self, user: User, event: Event) -> None:
        """A return undoes the revenue of what was bought in the experiment, of the unit that bought it, the latest purchase first."""
        left, item = None if event.value is None else abs(event.value), hash_id(event.item_id)
        for bought in reversed(user.bought):
            if bought.item != item or not bought.paid or left == 0.0:
                continue
            back = bought.paid if left is None else min(left, bought.paid)
            bought.paid -= back
            if bought.unit is not None:
                bought.unit.now[REVENUE] -= back
                self.changed.add(bought.unit)
            elif bought.shown is not None:
                bought.shown.hold()[REVENUE] -= back
            if left is None:
                return
            left -= back

    def _expose(self, user: User, user_id: str, made: Shown, now: int) -> None:
        if made.exposed:
            return
        made.exposed = True
        if made.exposure is not None and made.exposure.variant not in self._variants:
            self.strange += 1
            made.exposure = None
        if made.exposure is not None:
            name = made.exposure.unit or user_id
            unit = self.users.unit(user, user_id, name)
            if unit is None:
                before = self._before(user, now) if name == user_id else NOTHING
                unit = Unit(made.exposure.variant, made.exposure.ramp, now, before)
                self.users.add(user, name, unit)
            # Once a bandit's shares have moved, what a unit does is no part of the random split that it came under.
            if not self._by_ramp or unit.ramp == made.exposure.ramp:
                unit.mixed |= unit.variant != made.exposure.variant
                made.unit = unit
        self._add(user, made, now, LISTS, 1.0)
        held, made.held = made.held, None
        if held is not None:
            self._take_held(user, made, held)

    def _take_held(self, user: User, made: Shown, held: list[float]) -> None:
        """The list was seen, so what waited for that counts."""
        sold, held[CONVERSION] = held[CONVERSION], 0.0
        paid, held[REVENUE] = held[REVENUE], 0.0
        for column, value in enumerate(held):
            if value:
                self._add(user, made, made.timestamp, column, value)
        for bought in user.bought:
            if bought.shown is made:
                bought.shown, bought.unit = None, made.unit
        if made.unit is not None and sold:
            made.unit.now[CONVERSION] = 1.0
            made.unit.now[REVENUE] += paid
            self.changed.add(made.unit)

    def _waits(self, shown: Shown) -> bool:
        """Whether what the list earns waits until it is seen: of the experiment's own, for no other can be counted."""
        return not shown.exposed and self._is_own(shown)

    def _is_own(self, shown: Shown) -> bool:
        return shown.exposure is not None and shown.exposure.variant in self._variants

    def _add(self, user: User, shown: Shown, now: int, column: int, value: float) -> None:
        """What a list earned; it waits until the list is seen, so that who is counted does not depend on who clicks."""
        if self._waits(shown):
            shown.hold()[column] += value
            return
        if self._by_ramp and shown.exposure is not None and self._is_own(shown):
            self.earned[shown.exposure.variant, shown.exposure.ramp, column] += round(value)
        if shown.unit is not None:
            shown.unit.now[column] += value
            self.changed.add(shown.unit)
        elif not self._is_own(shown):
            self._past(user, shown.timestamp if column == LISTS else now)[column] += value

    def _past(self, user: User, now: int) -> list[float]:
        """The columns of its day, of the latest days only: of those that an exposure reaches back to there are no more. Nowhere, once
        there is a list of the experiment, seen or not: what came after it may come of it."""
        if user.since_ms is not None and user.since_ms <= now:
            return [0.0] * COLUMNS
        columns = user.past.setdefault(now // DAY_MS, [0.0] * COLUMNS)
        if len(user.past) > BEFORE_DAYS + 1:
            del user.past[min(user.past)]
        return columns

    def _before(self, user: User, now: int) -> tuple[float, ...]:
        days = [user.past[d] for d in sorted(user.past) if d >= now // DAY_MS - BEFORE_DAYS]
        sums = [sum(day[c] for day in days) for c in range(COLUMNS)]
        user.past = {}
        return (float(sums[CONVERSION] > 0.0), *sums[1:])

    def _named(self, user: User, request_id: str | None) -> Shown | None:
        if request_id is None:
            return None
        name = hash_id(request_id)
        return next((shown for shown in reversed(user.lists) if shown.name == name), None)

    def _latest(self, user: User, now: int) -> Shown | None:
        """The latest list from before ``now`` that the user was shown, if that is not too long ago."""
        for shown in reversed(user.lists):
            if shown.timestamp < now and shown.exposed:
                return shown if now - shown.timestamp <= self._window else None
        return None

    def settled(self) -> Iterator[Unit]:
        """The units that have changed since the last call."""
        changed, self.changed = self.changed, set()
        yield from changed


def _sign(clicks: list[int]) -> int:
    return (clicks[1] > clicks[0]) - (clicks[1] < clicks[0])
