"""What may not be listed: consumed items, items that are not available, deny lists."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from online_models.base import RATED, IntArray
from online_models.items import ItemTable

from .config import FilterConfig
from .contracts.catalogue import Item
from .user_state import UserState

FOR_ALL, FOR_USER = 1, 2
"""Bits of ``ItemTable.blocked``."""

_NOTHING = np.zeros(0, np.int32)


class Filters:
    """Rules that keep items out. Rules for everybody are bits in the item table; a user's are set for one request."""

    def __init__(self, config: FilterConfig, table: ItemTable) -> None:
        self._config, self._table = config, table
        self._denied = frozenset(config.deny_items)
        self._denied_categories = frozenset(config.deny_categories)
        self._unavailable: set[str] = set()

    def admit(self, row: int, item_id: str) -> None:
        """A row has been given to an item: set what is known against it."""
        if item_id in self._denied or item_id in self._unavailable:
            self._table.blocked[row] |= FOR_ALL

    def update(self, item_id: str, item: Item | None) -> None:
        """The catalogue speaks: not available, of a denied category, removed (None), or fine again."""
        bad = item is None or not item.available or not self._denied_categories.isdisjoint(item.categories)
        if bad:
            self._unavailable.add(item_id)
        else:
            self._unavailable.discard(item_id)
        row = self._table.row(item_id)
        if row >= 0:
            self._table.blocked[row] = FOR_ALL if bad or item_id in self._denied else 0

    def consumed(self, state: UserState) -> IntArray:
        """Rows that this user's list leaves out."""
        own = state.own[: state.n]
        rule = self._config.consumed
        if rule == "none" or state.n == 0:
            return _NOTHING
        if rule == "all":
            return own["item"].copy()
        if state.last_type in ("view", "click"):
            last = own["item"][-1:]
            return np.concatenate([own["item"][(own["flags"] & RATED) != 0], last])
        return own["item"][(own["flags"] & RATED) != 0]

    def block(self, rows: IntArray) -> npt.NDArray[np.uint8]:
        """Set the user's bit; returns the array that sources read."""
        self._table.blocked[rows] |= FOR_USER
        return self._table.blocked

    def unblock(self, rows: IntArray) -> None:
        """Take the user's bit away again."""
        self._table.blocked[rows] &= FOR_ALL
