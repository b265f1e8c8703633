"""A copy of the item-side state from a place where a restart may begin: taken where a moment begins, given once all in it is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from online_models.base import Arrays


class Capture:
    """One copy at a time. ``copy`` makes it."""

    def __init__(self, copy: Callable[[], Arrays]) -> None:
        self._copy = copy
        self._wanted = False
        self._taken: tuple[Arrays, int, int] | None = None

    def request(self, allowed: bool) -> bool:
        """Ask for a copy at the next moment; False while an earlier one waits, or where none is ``allowed``."""
        self._wanted = self._taken is None and allowed
        return self._wanted

    @property
    def pending(self) -> bool:
        """Whether a copy was asked for and has not been given."""
        return self._wanted or self._taken is not None

    def call_off(self) -> None:
        """Forget what was asked for, and what was taken."""
        self._wanted, self._taken = False, None

    def begins(self, partition: int, offset: int) -> None:
        """A moment begins with the event at ``offset``: the place for a copy, if one is wanted."""
        if self._wanted:
            self._taken, self._wanted = (self._copy(), partition, offset), False

    def take(self, committed: Mapping[int, int]) -> Arrays | None:
        """The copy, once everything in it is committed; None before.

        It holds nothing from its offset on of its partition, so that a restart from it learns again exactly what is
        delivered again. It must not be stored earlier: until then it may hold interactions that nobody else has seen.
        """
        if self._taken is None:
            return None
        state, partition, offset = self._taken
        if committed.get(partition, -1) < offset:
            return None
        self._taken = None
        return state
