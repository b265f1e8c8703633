"""What a read-out remembers of each user, and what it forgets: a function of the user's own events, whoever reads what."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec

COLUMNS = 8
"""Of a unit: see `units`."""
DAY_MS = 86_400_000
KEPT_LISTS = 20
"""Of a user, for clicks that name theirs."""
KEPT_PURCHASES = 100
"""Of a user, for returns."""
AHEAD = 100
"""Users with times ahead of the clock that are passed over at a time: one wrong time keeps nobody else from resting."""


class Exposed(msgspec.Struct, frozen=True):
    """An experiment that a list was made under, as its record says."""

    name: str
    variant: str
    unit: str | None = None
    ramp: int = 0
    forced: bool = False
    begun: int = 0


@dataclass(slots=True, eq=False)
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
    told: tuple[float, ...] | None = None
    counted: bool = False
    left: bool = False
    seen_ms: int = 0
    """The user's latest time when it was last exposed."""


@dataclass(slots=True)
class Shown:
    """A list of a user."""

    name: int
    """Hash of its request_id."""
    timestamp: int
    items: bytes
    """Hashes of its items, 8 bytes each."""
    exposure: Exposed | None
    unit: Unit | None = None
    """Once it was exposed."""
    exposed: bool = False
    clicked: bool = False
    picks: tuple[array[int], array[int]] | None = None
    """Hashes of the items that the one and the other picked and that were not clicked, of a list that two variants share."""
    clicks: list[int] | None = None
    held: list[float] | None = None
    """By column, what waits until it is exposed."""

    def hold(self) -> list[float]:
        """The columns of what waits."""
        if self.held is None:
            self.held = [0.0] * COLUMNS
        return self.held

    def holds(self, item: int) -> bool:
        """Whether the item of this hash is on it."""
        return item in memoryview(self.items).cast("Q")


@dataclass(slots=True)
class Purchase:
    """``item``: its hash. ``paid``: what has not been taken back. Of a list that was not seen yet: ``shown``, and no ``unit``; of one that
    never will be, or that counts for none, neither: what comes back of it is nobody's."""

    item: int
    unit: Unit | None
    paid: float
    shown: Shown | None = None


@dataclass(slots=True)
class User:
    """``units`` by name, the one exposed last at the end; ``bought`` in the experiment; ``past``: day → columns of what was outside;
    ``since_ms``: when the first list of the experiment was made."""

    units: OrderedDict[str, Unit] = field(default_factory=OrderedDict)
    bought: list[Purchase] = field(default_factory=list)
    lists: list[Shown] = field(default_factory=list)
    last_item: str = ""
    last_ms: int = 0
    past: dict[int, list[float]] = field(default_factory=dict)
    since_ms: int | None = None
    looking: bool = False
    """Whether the latest event is an impression."""

    def rested(self, name: str) -> User:
        """What remains after a silence that nothing from before survives: the unit ``name``, and the purchases."""
        unit = self.units.get(name)
        for bought in self.bought:
            bought.shown = None
        return User(OrderedDict() if unit is None else OrderedDict({name: unit}), self.bought)

    def note_list(self, made: Shown) -> None:
        """The latest list."""
        self.lists.append(made)
        for gone in self.lists[:-KEPT_LISTS]:
            for bought in self.bought if gone.held is not None else ():
                bought.shown = None if bought.shown is gone else bought.shown
        del self.lists[:-KEPT_LISTS]

    def note_purchase(self, bought: Purchase) -> None:
        """The latest purchase in the experiment."""
        self.bought.append(bought)
        del self.bought[:-KEPT_PURCHASES]


class Users:
    """Users by id. Of one who was silent for more than ``keep_ms``, so that nothing from before can count any more, the unit and the
    purchases remain (a session is over then, and does not). So is a session of a user who goes on without it for as long; all others are
    remembered, however many a user has.

    Those whom `forget` finds are packed, so that they take little. Whoever comes back is what `at` would have found without, but for an
    event more than a day behind the clock: ``missed`` counts the lists that it might have been for.
    """

    def __init__(self, keep_ms: int) -> None:
        self._keep = keep_ms
        self._known: OrderedDict[str, User] = OrderedDict()
        self._resting: dict[str, bytes] = {}
        self.sessions = 0
        """That are remembered of those who are active, but one of each."""
        self.missed = 0

    @property
    def active(self) -> int:
        """Of whom everything is remembered."""
        return len(self._known)

    @property
    def resting(self) -> int:
        """Of whom the unit and the purchases are remembered."""
        return len(self._resting)

    def at(self, user_id: str, now: int) -> User:
        """The user, of whom something is known at ``now`` (ms)."""
        user = self._known.get(user_id)
        if user is None:
            packed = self._resting.pop(user_id, None)
            user = self._known[user_id] = User() if packed is None else self._wake(user_id, packed, now)
        else:
            if now - user.last_ms > self._keep:
                self.sessions -= _further(user)
                user = self._known[user_id] = user.rested(user_id)
            self._known.move_to_end(user_id)
        user.last_ms = max(user.last_ms, now)
        return user

    def unit(self, user: User, user_id: str, name: str) -> Unit | None:
        """The user's unit of this name, which is exposed now; None if it is new: see `add`."""
        before, over = _further(user), []
        for each, unit in user.units.items():
            if each == user_id:
                continue
            if user.last_ms - unit.seen_ms <= self._keep:
                break
            over.append(each)
        for each in over:
            del user.units[each]
        self.sessions += _further(user) - before
        found = user.units.get(name)
        if found is not None:
            found.seen_ms = user.last_ms
            user.units.move_to_end(name)
        return found

    def add(self, user: User, name: str, unit: Unit) -> None:
        """A unit that is exposed for the first time now."""
        before = _further(user)
        unit.seen_ms = user.last_ms
        user.units[name] = unit
        self.sessions += _further(user) - before

    def forget(self, clock: int) -> None:
        """Pack whoever is silent at ``clock`` (ms) by that of their partition. All units must have been handed over to the sums."""
        ahead = 0
        while self._known:
            user_id, user = next(iter(self._known.items()))
            if clock - user.last_ms > self._keep + DAY_MS:  # an event that comes late finds what it would have found
                del self._known[user_id]
                self.sessions -= _further(user)
                packed = pack(user, user_id)
                if packed is not None:
                    self._resting[user_id] = packed
            elif user.last_ms > clock and ahead < AHEAD:
                self._known.move_to_end(user_id)
                ahead += 1
            else:
                break

    def _wake(self, user_id: str, packed: bytes, now: int) -> User:
        user, last_ms, lists = unpack(packed, user_id)
        if now - last_ms <= self._keep:
            self.missed += lists
        return user


def _further(user: User) -> int:
    return max(len(user.units) - 1, 0)


_Packed = tuple[int, int, bool, list[tuple[str, int, int, int, list[float]]], list[tuple[int, int, float]]]
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(_Packed).decode


def pack(user: User, name: str) -> bytes | None:
    """The unit ``name`` and the purchases that may still come back, as bytes; None where there are none.

    Each unit must be as the sums hold it, for its ``told`` follows from it then.
    """
    own = user.units.get(name)
    bought = [b for b in user.bought if b.paid]
    units = list({id(u): u for u in [own, *(b.unit for b in bought)] if u is not None}.values())
    if not units:
        return None
    places = {id(unit): n for n, unit in enumerate(units)}
    plain = [
        (
            u.variant,
            u.ramp,
            u.first_ms,
            u.mixed | u.counted << 1 | u.left << 2,
            [*map(_short, u.now), *map(_short, u.before)],
        )
        for u in units
    ]
    paid = [(b.item, -1 if b.unit is None else places[id(b.unit)], _short(b.paid)) for b in bought]
    return _encode((user.last_ms, len(user.lists), own is not None, plain, paid))


def unpack(packed: bytes, name: str) -> tuple[User, int, int]:
    """What `pack` kept of a user, when there was something last (ms), and how many lists were not kept."""
    last_ms, lists, own, plain, paid = _decode(packed)
    units = []
    for variant, ramp, first_ms, flags, values in plain:
        now, before = values[:COLUMNS], tuple(values[COLUMNS:])
        mixed = bool(flags & 1)
        told = None if mixed else (*now, *before)
        units.append(Unit(variant, ramp, first_ms, before, mixed, now, told, bool(flags & 2), bool(flags & 4)))
    user = User(bought=[Purchase(item, None if place < 0 else units[place], left) for item, place, left in paid])
    if own:
        user.units[name] = units[0]
    return user, last_ms, lists


def _short(value: float) -> float:
    """The same number, as one that takes few bytes if that can be."""
    return int(value) if abs(value) < 2**53 and value == int(value) else value
