"""Lists that were asked for over HTTP by users of whom there is no event yet: anybody can ask, so they are few, slim, and one reader's."""

from __future__ import annotations

from collections import OrderedDict

from online_models.errors import InputError
from streams.partitioning import key_hash

from .users import Shown

STRANGERS = 100_000
"""Lists that are kept in all, shared equally by the partitions of `events`."""
KEPT = 5
"""Lists that are kept of one user."""


class Strangers:
    """Lists by user, until there is an event of the user. ``partitions``: of `events`, of which those ``wanted`` (None: all) are read here.

    A user's events stand where Kafka's standard partitioner puts the key, so each list is kept, or `lost`, by one reader only; and since
    each partition has its own share of the room, it is the same lists whoever reads it.
    """

    def __init__(self, partitions: int = 1, wanted: frozenset[int] | None = None) -> None:
        self._partitions, self._wanted = partitions, wanted
        self._kept: dict[int, OrderedDict[str, list[Shown]]] = {}
        self._counts: dict[int, int] = {}
        self.lost = 0
        """Lists that there was no room for: the oldest."""
        self._left = False
        """Whether some were left to another reader."""
        self._elsewhere: int | None = None
        """A partition with events of a user whose key says another one."""

    @property
    def lists(self) -> int:
        """That are kept."""
        return sum(self._counts.values())

    def is_mine(self, user_id: str) -> bool:
        """Whether this reader keeps the user's lists, until there is an event."""
        mine = self._wanted is None or self._owner(user_id) in self._wanted
        self._left |= not mine
        return mine

    def put(self, user_id: str, made: Shown) -> None:
        """A list of a user of whom there is no event yet."""
        owner = self._owner(user_id)
        kept = self._kept.setdefault(owner, OrderedDict())
        lists = kept.setdefault(user_id, [])
        if any(made.name == shown.name for shown in lists):  # asked for again
            return
        lists.append(made)
        self._counts[owner] = self._counts.get(owner, 0) + 1
        if len(lists) > KEPT:
            del lists[0]
            self._drop(owner, 1)
        while self._counts[owner] > max(STRANGERS // self._partitions, 1):
            self._drop(owner, len(kept.popitem(last=False)[1]))

    def _drop(self, owner: int, lists: int) -> None:
        self._counts[owner] -= lists
        self.lost += lists

    def pop(self, user_id: str, partition: int) -> list[Shown]:
        """The lists of a user of whom there is an event now, in that partition."""
        owner = -1
        if self._wanted is not None and self._elsewhere is None:
            owner = self._owner(user_id)
            if owner not in self._wanted:
                self._elsewhere = partition
        if not any(self._counts.values()):
            return []
        owner = self._owner(user_id) if owner < 0 else owner
        kept = self._kept.get(owner)
        found = kept.pop(user_id, None) if kept else None
        if found is None:
            return []
        self._counts[owner] -= len(found)
        return found

    def check(self) -> None:
        """Raises InputError if a list may have been left to a reader that does not read its user's events."""
        if self._left and self._elsewhere is not None:
            raise InputError(
                "each user in the partition that Kafka's standard partitioner gives, where lists over HTTP came before the first event",
                f"a user of another one in partition {self._elsewhere}",
                "read all partitions with one reader, without --partition",
            )

    def _owner(self, user_id: str) -> int:
        return key_hash(user_id.encode("utf-8", "surrogatepass")) % self._partitions if self._partitions > 1 else 0
