"""What a read-out remembers of each user, and what it forgets: a function of the user's own events, whoever reads what."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec

COLUMNS = 8
"""Of a unit: see `units`."""
DAY_MS = 86_400_000
KEPT_LISTS = KEPT_SESSIONS = 20
"""Of a user: lists, for clicks that name theirs; sessions, for events that still belong to them."""
KEPT_PURCHASES = 100
"""Of a user, for returns."""
ACTIVE = 250_000
"""Users of all partitions of whom everything is remembered."""
RESTING = 1_000_000
"""Users of a partition that have been silent for long of whom the unit and the purchases are remembered."""


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
    picks: dict[str, int] | None = None
    """Item → 0 or 1: whose pick it is, of a list that two variants share."""
    clicks: list[int] | None = None

    def holds(self, item: int) -> bool:
        """Whether the item of this hash is on it."""
        return item in memoryview(self.items).cast("Q")


@dataclass(slots=True)
class Purchase:
    """``paid``: what has not been taken back."""

    item_id: str
    unit: Unit
    paid: float


@dataclass(slots=True)
class User:
    """``units`` by name, the one that came last at the end; ``bought`` in the experiment; ``past``: day → columns of what was outside."""

    units: OrderedDict[str, Unit] = field(default_factory=OrderedDict)
    bought: list[Purchase] = field(default_factory=list)
    lists: list[Shown] = field(default_factory=list)
    last_item: str = ""
    last_ms: int = 0
    past: dict[int, list[float]] = field(default_factory=dict)
    looking: bool = False
    """Whether the latest event is an impression."""

    def note_list(self, made: Shown) -> None:
        """The latest list."""
        self.lists.append(made)
        del self.lists[:-KEPT_LISTS]

    def note_unit(self, name: str, unit: Unit) -> None:
        """A unit that has just been exposed for the first time."""
        self.units[name] = unit
        while len(self.units) > KEPT_SESSIONS:
            self.units.popitem(last=False)

    def note_purchase(self, bought: Purchase) -> None:
        """The latest purchase in the experiment."""
        self.bought.append(bought)
        del self.bought[:-KEPT_PURCHASES]


class Users:
    """Users by id. Of one who was silent for more than ``keep_ms``, so that nothing from before can count any more, the unit and the
    purchases remain (a session is over then, and does not); of the ``resting`` such users that are silent longest not even that.
    ``forgotten`` counts those: if one comes back, it is a new unit. ``crowded`` counts users that had to rest before their time: what they
    do next is for none of their lists.
    """

    def __init__(self, keep_ms: int, resting: int = RESTING) -> None:
        self._keep, self._most = keep_ms, resting
        self._known: OrderedDict[str, User] = OrderedDict()
        self._resting: OrderedDict[str, tuple[Unit | None, list[Purchase]]] = OrderedDict()
        self.forgotten = self.crowded = 0

    def __len__(self) -> int:
        return len(self._known) + len(self._resting)

    @property
    def active(self) -> int:
        """Of whom everything is remembered."""
        return len(self._known)

    def crowd_out(self, most: int) -> None:
        """Remember of those that are silent longest no more than of who was silent for long; ``crowded`` counts them."""
        while len(self._known) > most:
            self._rest(next(iter(self._known)))
            self.crowded += 1

    def at(self, user_id: str, now: int) -> User:
        """The user, of whom something is known at ``now`` (ms)."""
        user = self._known.get(user_id)
        if user is not None and now - user.last_ms > self._keep:
            self._rest(user_id)
            user = None
        if user is None:
            user = self._known[user_id] = User()
            unit, user.bought = self._resting.pop(user_id, (None, user.bought))
            if unit is not None:
                user.units[user_id] = unit
        else:
            self._known.move_to_end(user_id)
        user.last_ms = max(user.last_ms, now)
        return user

    def forget(self, now: int) -> None:
        """Make room, at ``now`` by the clock of these users' partition. What `at` gives is the same without."""
        while self._known:
            user_id, user = next(iter(self._known.items()))
            if now - user.last_ms <= self._keep + DAY_MS:  # an event that comes late finds what it would have found
                break
            self._rest(user_id)

    def _rest(self, user_id: str) -> None:
        user = self._known.pop(user_id)
        unit = user.units.get(user_id)
        if unit is None and not user.bought:
            return
        self._resting[user_id] = unit, user.bought
        while len(self._resting) > self._most:
            self._resting.popitem(last=False)
            self.forgotten += 1
