"""Lists that explored, beside those of another configuration for the same events, and what users did next.

A list that explores says with which propensity the item in its first place came there. The candidate's lists for the same events come from
a replay of the same log under its configuration. Lists and events are joined by the id of the event that a list answers, so it does not
matter from how many partitions they come, nor in which order; a user's events must stand in theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from online_models.errors import InputError
from streams.contracts.events import Event
from streams.contracts.reading import UNREADABLE
from streams.validate import validate

PLACES = 200
"""Most of a list."""
JUDGED = 20
"""Most of a candidate's list that is kept."""


class _Item(msgspec.Struct, frozen=True):
    item_id: str
    score: float
    variant: str | None = None


class _Cause(msgspec.Struct, frozen=True):
    event_id: str


class _List(msgspec.Struct, frozen=True):
    request_id: str
    user_id: str
    timestamp: int
    items: list[_Item]
    caused_by: _Cause | None = None
    propensity: float | None = None


_decode = msgspec.json.Decoder(_List).decode


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


@dataclass(slots=True)
class Joined:
    """How many lists were joined, and why the others were not.

    ``rows``: lists that explored, with their event and the candidate's list. ``no_event``: their event is not among the events.
    ``no_candidate``: the candidate has no list for their event. ``over_http``: asked for over HTTP, which answer no event.
    ``not_explored``: without a propensity of the first place alone. ``unreadable``: records that are no lists.
    ``candidate_alone``: lists of the candidate for events that no list that explored answers. ``named_another``: rows whose user's next
    event names another list, so that it is not for this one. A list that was published again counts once.
    """

    rows: int = 0
    no_event: int = 0
    no_candidate: int = 0
    over_http: int = 0
    not_explored: int = 0
    unreadable: int = 0
    candidate_alone: int = 0
    named_another: int = 0


@dataclass(slots=True)
class _Waiting:
    """A list that explored, until its event is met."""

    made: _List
    other: tuple[str, ...]


def rows_of(
    events: Iterable[bytes | None],
    published: Iterable[bytes | None],
    candidate: Iterable[bytes | None],
    judged: frozenset[str],
    attribution_ms: int,
) -> tuple[list[Row], Joined]:
    """The lists of ``published`` that explored and that the candidate has a list beside, and what could not be joined.

    ``events`` are records of topic `events` or lines of a log, each user's in order; ``published`` the lists that answered them, in any
    order, and ``candidate`` those of the other configuration. Only lists that explored are kept in memory.
    Raises InputError where there are none, or the candidate explores too.
    """
    found = Joined()
    waiting = _beside(published, _others(candidate, found), found)
    rows = _rows(events, waiting, judged, attribution_ms, found)
    found.rows, found.no_event = len(rows), len(waiting)
    if not rows:
        raise InputError(
            "lists with a propensity of their first place that answer events of the log, and the candidate's for the same events",
            f"none ({told(found)})",
            "log with a variant that explores (`explore: 0.1`), and replay the same log under the candidate's configuration",
        )
    return rows, found


def told(found: Joined) -> str:
    """What could not be joined, in words; empty if all was."""
    words = (
        (found.no_event, "explored, but their event is not among the events"),
        (found.no_candidate, "explored, but the candidate has no list for their event"),
        (found.over_http, "asked for over HTTP"),
        (found.not_explored, "without exploration"),
        (found.unreadable, "unreadable"),
        (found.candidate_alone, "only of the candidate"),
        (found.named_another, "followed by an event that names another list"),
    )
    return "; ".join(f"{n:,} lists {what}" for n, what in words if n)


def _others(candidate: Iterable[bytes | None], found: Joined) -> dict[str, tuple[str, ...]]:
    """The candidate's lists by event."""
    others: dict[str, tuple[str, ...]] = {}
    for raw in candidate:
        made = _read(raw)
        if made is None:
            found.unreadable += 1
            continue
        if made.caused_by is None or not made.items:
            continue
        if made.propensity is not None:
            raise InputError(
                "a candidate that does not draw its lists, since what it would show is then a matter of chance",
                f"list {made.request_id} with a propensity", "replay it without `explore`, and not interleaved",
            )  # fmt: skip
        others[made.caused_by.event_id] = tuple(item.item_id for item in made.items[:JUDGED])
    return others


def _beside(
    published: Iterable[bytes | None], others: dict[str, tuple[str, ...]], found: Joined
) -> dict[str, _Waiting]:
    """The lists that explored, each with the candidate's, by event."""
    waiting: dict[str, _Waiting] = {}
    alone: set[str] = set()
    for raw in published:
        made = _read(raw)
        if made is None:
            found.unreadable += 1
        elif made.caused_by is None:
            found.over_http += 1
        elif made.caused_by.event_id in waiting or made.caused_by.event_id in alone:
            continue  # published again
        elif not _explored(made):
            found.not_explored += 1
        elif (other := others.pop(made.caused_by.event_id, None)) is not None:
            waiting[made.caused_by.event_id] = _Waiting(made, other)
        else:
            alone.add(made.caused_by.event_id)
    found.no_candidate, found.candidate_alone = len(alone), len(others)
    return waiting


def _explored(made: _List) -> bool:
    """Whether the propensity is of the first place: that of a list drafted from two variants is of all of it."""
    drafted = any(item.variant is not None for item in made.items)
    return made.propensity is not None and not drafted and 0 < len(made.items) <= PLACES


def _rows(
    events: Iterable[bytes | None],
    waiting: dict[str, _Waiting],
    judged: frozenset[str],
    attribution_ms: int,
    found: Joined,
) -> list[Row]:
    """Takes the lists out of ``waiting`` whose event is met."""
    rows: list[Row] = []
    latest: dict[str, tuple[str, Row]] = {}
    users: dict[str, int] = {}
    for number, raw in enumerate(events):
        event = validate(raw, None, str(number + 1))
        if not isinstance(event, Event):
            continue
        row = _decided(latest, event)
        if row is not None and event.event_type in judged and event.timestamp - row[1].timestamp <= attribution_ms:
            if event.request_id in (None, row[0]):
                row[1].then = event.item_id
            else:
                found.named_another += 1
        listed = waiting.get(event.event_id)
        if listed is not None and listed.made.user_id == event.user_id:
            del waiting[event.event_id]
            rows.append(_row(listed, users.setdefault(event.user_id, len(users))))
            latest[event.user_id] = listed.made.request_id, rows[-1]
    return rows


def _decided(latest: dict[str, tuple[str, Row]], event: Event) -> tuple[str, Row] | None:
    """The user's latest list, which their next event decides; an impression decides nothing, and a copy is no next event."""
    row = latest.get(event.user_id)
    if row is None or event.event_type == "impression" or event.timestamp <= row[1].timestamp:
        return None
    del latest[event.user_id]
    return row


def _row(listed: _Waiting, user: int) -> Row:
    made = listed.made
    first, rest = made.items[0], made.items[1:]
    place = sum(item.score > first.score for item in rest)
    order = [item.item_id for item in rest]
    order.insert(place, first.item_id)
    assert made.propensity is not None  # noqa: S101
    return Row(made.timestamp, user, tuple(order), place, made.propensity, listed.other)


def _read(raw: bytes | None) -> _List | None:
    try:
        return _decode(raw or b"")
    except UNREADABLE:
        return None
