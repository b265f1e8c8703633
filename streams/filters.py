"""What may not be listed: consumed items, items that are not available, deny lists."""

from __future__ import annotations

from typing import Any

from numba import njit

from online_models.base import RATED
from online_models.items import ItemTable

from .catalogue import Catalogue
from .config import FilterConfig
from .contracts.catalogue import Item
from .experiments import Treatment
from .user_state import UserState

FOR_ALL, FOR_USER, DENIED = 1, 2, 4
"""Bits of ``ItemTable.blocked``: for everybody, what the user has consumed, what the user's variant denies."""

NOTHING, RATED_ONLY, RATED_AND_LAST, EVERYTHING = range(4)


@njit(cache=True)
def _mark(blocked: Any, own: Any, n: int, mode: int) -> None:
    if mode == NOTHING:
        return
    for i in range(n):
        if mode == EVERYTHING or own[i]["flags"] & RATED:
            blocked[own[i]["item"]] |= FOR_USER
    if mode == RATED_AND_LAST and n > 0:
        blocked[own[n - 1]["item"]] |= FOR_USER


@njit(cache=True)
def _unmark(blocked: Any, own: Any, n: int) -> None:
    for i in range(n):
        blocked[own[i]["item"]] &= FOR_ALL


class Filters:
    """Rules that keep items out. Rules for everybody are bits in the item table; a user's are set for one request."""

    def __init__(self, config: FilterConfig, table: ItemTable, catalogue: Catalogue) -> None:
        self._config, self._table, self._catalogue = config, table, catalogue
        self._denied = frozenset(config.deny_items)
        self._denied_categories = frozenset(config.deny_categories)

    def admit(self, row: int, item_id: str) -> None:
        """A row has been given to an item: set what is known against it."""
        if self._withheld(item_id):
            self._table.blocked[row] |= FOR_ALL

    def update(self, item_id: str, item: Item | None) -> None:
        """The catalogue speaks: not available, of a denied category, removed (None), or fine again."""
        bad = item is None or not item.available or not self._denied_categories.isdisjoint(item.categories)
        self._catalogue.tell(item_id, item, withheld=bad)
        row = self._table.row(item_id)
        if row >= 0:
            self._table.blocked[row] = FOR_ALL if self._withheld(item_id) else 0

    def _withheld(self, item_id: str) -> bool:
        return item_id in self._denied or self._catalogue.withholds(item_id)

    def block(self, state: UserState, treatment: Treatment) -> None:
        """Set the user's bit on what this user's list leaves out."""
        _mark(self._table.blocked, state.own, state.n, self._mode(state, treatment.consumed or self._config.consumed))
        for row in self._denied_rows(treatment):
            self._table.blocked[row] |= DENIED

    def unblock(self, state: UserState, treatment: Treatment) -> None:
        """Take the user's bits away again."""
        if (treatment.consumed or self._config.consumed) != "none":
            _unmark(self._table.blocked, state.own, state.n)
        for row in self._denied_rows(treatment):
            self._table.blocked[row] &= FOR_ALL

    def leaves_out(self, row: int, state: UserState, treatment: Treatment) -> str:
        """Why an item may not be listed to this user, in words; empty if it may."""
        if self._table.blocked[row] & FOR_ALL:
            return "it may not be listed to anybody: it is denied, or the catalogue says that it is not available"
        if self._table.ids[row] in treatment.deny_items:
            return "it may not be listed under the variant of an experiment that the user is in"
        self.block(state, treatment)
        blocked = bool(self._table.blocked[row])
        self.unblock(state, treatment)
        return "it is left out for this user: consumed, or what the user is on ([pipeline.filters])" if blocked else ""

    def _denied_rows(self, treatment: Treatment) -> list[int]:
        return [row for item_id in treatment.deny_items if (row := self._table.row(item_id)) >= 0]

    def _mode(self, state: UserState, consumed: str) -> int:
        if consumed == "auto":
            on = state.last_type != "purchase" and not self._config.repeats
            return RATED_AND_LAST if on else RATED_ONLY
        return EVERYTHING if consumed == "all" else NOTHING
