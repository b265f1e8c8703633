"""Lists that explored, beside those of another configuration for the same events, and what users did next.

A list that explores says with which propensity the item in its first place came there. The candidate's lists for the same events come from
a replay of the same log under its configuration.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from online_models.errors import InputError
from streams.contracts.events import Event
from streams.validate import validate

PLACES = 200
"""Most of a list."""
JUDGED = 20
"""Most of a candidate's list that is kept."""


class _Item(msgspec.Struct, frozen=True):
    item_id: str
    score: float
    variant: str | None = None


class _Logged(msgspec.Struct, frozen=True):
    request_id: str
    user_id: str
    timestamp: int
    items: list[_Item]
    propensity: float | None = None


class _Other(msgspec.Struct, frozen=True):
    request_id: str
    items: list[_Item]
    propensity: float | None = None


_logged = msgspec.json.Decoder(_Logged).decode
_other = msgspec.json.Decoder(_Other).decode


@dataclass(slots=True)
class Row:
    """A list that explored: items in their ``order`` before the draw, of which that at ``place`` was shown first, with ``propensity``,
    and the others in order after it. ``other``: the candidate's list; ``then``: what the user's next event was on."""

    timestamp: int
    user: int
    order: tuple[str, ...]
    place: int
    propensity: float
    other: tuple[str, ...]
    then: str | None = None

    @property
    def wanted(self) -> int:
        """Place of the candidate's first item in the order; -1: it could not have come first."""
        return self.order.index(self.other[0]) if self.other[0] in self.order else -1

    @property
    def rate(self) -> float:
        """With which probability the first place was drawn: the propensity is ``rate / n``, and ``1 - rate`` more at place 0."""
        n = len(self.order)
        if self.place:
            return min(1.0, self.propensity * n)
        return min(1.0, (1.0 - self.propensity) * n / (n - 1)) if n > 1 else 0.0

    def drawn(self, place: int) -> tuple[str, ...]:
        """The list that was shown, had the draw given this place."""
        return (self.order[place], *self.order[:place], *self.order[place + 1 :])


def rows_of(
    events: Iterable[bytes],
    published: Iterable[bytes],
    candidate: Iterable[bytes],
    judged: frozenset[str],
    attribution_ms: int,
) -> list[Row]:
    """The lists of ``published`` that explored and that the candidate has a list beside.

    ``events`` are the log's lines, ``published`` the lists that answered them, ``candidate`` those of the other configuration.
    Raises InputError where there are none, the lists do not answer the same events, or the candidate explores too.
    """
    others: dict[str, tuple[str, ...]] = {}
    for made in map(_other, candidate):
        if made.propensity is not None:
            raise InputError(
                "a candidate that does not draw its lists, since what it would show is then a matter of chance",
                f"list {made.request_id} with a propensity", "replay it without `explore`, and not interleaved",
            )  # fmt: skip
        if made.items:
            others[made.request_id] = tuple(item.item_id for item in made.items[:JUDGED])
    found = _rows(events, map(_logged, published), others, judged, attribution_ms)
    if not found:
        raise InputError(
            "lists with a propensity of their first place that answer events of the log, and the candidate's for the same events",
            "none", "log with a variant that explores (`explore: 0.1`), and replay the same log under the candidate's configuration",
        )  # fmt: skip
    return found


def _rows(
    events: Iterable[bytes],
    lists: Iterable[_Logged],
    others: dict[str, tuple[str, ...]],
    judged: frozenset[str],
    attribution_ms: int,
) -> list[Row]:
    waiting = iter(lists)
    upcoming = next(waiting, None)
    rows: list[Row] = []
    latest: dict[str, Row] = {}
    users: dict[str, int] = {}
    for number, raw in enumerate(events):
        event = validate(raw, None, str(number + 1))
        if not isinstance(event, Event):
            continue
        _note(latest, event, judged, attribution_ms)
        # The lists stand in the order of the events that they answer; a copy of an event has none.
        if upcoming is not None and upcoming.user_id == event.user_id and upcoming.timestamp == event.timestamp:
            row = _row(upcoming, others, users.setdefault(event.user_id, len(users)))
            if row is not None:
                rows.append(row)
                latest[event.user_id] = row
            else:
                latest.pop(event.user_id, None)
            upcoming = next(waiting, None)
    if upcoming is not None:
        raise InputError(
            "lists that answer the events of the log, in their order", f"list {upcoming.request_id}, which answers none",
            "name the log that the lists were made of",
        )  # fmt: skip
    return rows


def _row(made: _Logged, others: dict[str, tuple[str, ...]], user: int) -> Row | None:
    other = others.get(made.request_id)
    if made.propensity is None or other is None or not 0 < len(made.items) <= PLACES:
        return None
    if any(item.variant is not None for item in made.items):
        return None  # drafted from two variants: that propensity is of the whole list
    first, rest = made.items[0], made.items[1:]
    place = sum(item.score > first.score for item in rest)
    order = [item.item_id for item in rest]
    order.insert(place, first.item_id)
    return Row(made.timestamp, user, tuple(order), place, made.propensity, other)


def _note(latest: dict[str, Row], event: Event, judged: frozenset[str], attribution_ms: int) -> None:
    """The user's next event decides what the list before it has earned."""
    row = latest.get(event.user_id)
    if row is None or event.event_type not in judged or event.timestamp <= row.timestamp:
        return
    del latest[event.user_id]
    if event.timestamp - row.timestamp <= attribution_ms:
        row.then = event.item_id
