"""Lists that explored, beside those of another configuration for the same events, and what users did next.

A list that explores says with which propensity the item in its first place came there. The candidate's lists for the same events come from
a replay of the same log under its configuration. Lists and events are joined by the id of the event that a list answers, so it does not
matter from how many partitions they come, nor in which order; a user's events must stand in theirs.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from heapq import nlargest

import msgspec

from online_models.errors import InputError
from streams.contracts.events import Event
from streams.contracts.reading import UNREADABLE
from streams.contracts.recommendations import After, Cause
from streams.validate import validate

from .explored_asked import Asked
from .explored_rows import Joined, Row, told
from .explored_turns import Kept, Turns
from .users import Exposed

PLACES = 200
"""Most of a list."""
JUDGED = 20
"""Most of a candidate's list that is kept."""
TYPES = 20
"""Of events that are told where they are not the ones that are meant."""
ASTRAY = 0.01
"""Most of the candidate's lists that may be of other users than the lists of the same events. A few ids are used twice in many a log. Where
two logs have nothing but their numbering in common, or one lacks a line, far more are."""
A_FEW = 3
"""That may be so in any log of which some are of the same users."""


class _Item(msgspec.Struct, frozen=True):
    item_id: str
    score: float
    variant: str | None = None
    place: int | None = None


class _List(msgspec.Struct, frozen=True):
    """What is needed of a `Recommendation`; of its items neither source nor reason, which are most of what they take."""

    request_id: str
    user_id: str
    timestamp: int
    items: list[_Item]
    caused_by: Cause | None = None
    after: After | None = None
    experiments: list[Exposed] = []
    propensity: float | None = None


_UNDER = re.compile(r"([^+/@]+)/([^+/@]+)@(\d+)")
"""An experiment, its variant, and when it was begun: see `Row.variant`."""
_decode = msgspec.json.Decoder(_List).decode


def rows_of(
    events: Iterable[bytes | None],
    published: Iterable[bytes | None],
    candidate: Iterable[bytes | None],
    judged: frozenset[str],
    attribution_ms: int,
    experiment: str | None = None,
    variant: str | None = None,
) -> tuple[list[Row], Joined]:
    """The lists of ``published`` that explored and that the candidate has a list beside, and what could not be joined.

    ``events`` are records of topic `events` or lines of a log, each user's in order; ``published`` the lists that answered them, in any
    order, and ``candidate`` those of the other configuration. ``experiment``, ``variant``: only lists that were made under these; None:
    whatever they were made under; of experiments of that name, the one that was begun last. Testers' lists are left out.

    `published` is read first, `candidate` then, `events` last. Of all of it, only lists that explored are kept in memory, each with the
    candidate's, and of each record a few bytes (`Asked`).
    Raises InputError where there are none, no event is of a type in ``judged``, the candidate explores too, or its lists are of another
    log.
    """
    found = Joined()
    asked = Asked()
    kept = _explored(published, experiment, variant, asked, found)
    asked.settle()
    _put_beside(kept, candidate, found)
    turns = Turns(judged, attribution_ms, asked, found)
    types = Counter[str]()
    for number, raw in enumerate(events):
        event = validate(raw, None, str(number + 1))
        if isinstance(event, Event):
            if event.event_type in judged or event.event_type in types or len(types) < TYPES:
                types[event.event_type] += 1
            turns.take(event, kept.get((event.event_id or "", event.user_id)))
    for each in kept.values():
        if not each.met:
            found.no_event += bool(each.row.other)
            found.no_candidate += not each.row.other
    rows = turns.rows
    found.rows = len(rows)
    found.variants = _variants(rows)
    found.judged = {kind: n for kind, n in sorted(types.items()) if kind in judged}
    if not rows:
        raise InputError(
            "lists with a propensity of their first place that answer events of the log, and the candidate's for the same events",
            f"none ({told(found)})",
            _remedy(found),
        )
    if not found.judged:
        raise InputError(
            f"events of type {' or '.join(sorted(judged))}, which lists are there for",
            f"none, but {types.total():,} of others: {', '.join(sorted(types))}",
            "name the types that are meant (--clicks)",
        )
    return rows, found


def _remedy(found: Joined) -> str:
    """What to do where there are no rows."""
    if found.no_event:
        return "name the log that `headrace replay LOG --published FILE` made the lists of"
    if found.no_candidate:
        return "replay the log that the lists are of under the candidate's configuration"
    if found.of_others + found.of_namesakes:
        return "name an experiment and a variant that explored"
    return (
        "log with a variant that explores (`explore: 0.1`), and replay the same log under the candidate's configuration"
    )


def _explored(
    published: Iterable[bytes | None], experiment: str | None, variant: str | None, asked: Asked, found: Joined
) -> dict[tuple[str, str], Kept]:
    """The lists that explored, by event and user: ids of two logs may be the same."""
    kept: dict[tuple[str, str], Kept] = {}
    newest = 0
    for raw in published:
        made = _read(raw)
        if made is None:
            found.unreadable += 1
            continue
        begun = next((e.begun for e in made.experiments if e.name == experiment), 0)
        newest = max(newest, begun)
        if made.caused_by is None:
            found.over_http += 1
            if made.after is not None:
                asked.take_asked(made.user_id, made.after)
            continue
        asked.take_answer(made.user_id, made.caused_by)
        if not _drew_first(made):
            found.not_explored += 1
        elif any(e.forced for e in made.experiments):
            found.forced += 1
        elif not _asked_for(made, experiment, variant):
            found.of_others += 1
        elif (place := _place(made)) is None:
            found.ties += 1
        else:
            key = made.caused_by.event_id, made.user_id
            there = kept.get(key)
            if there is None or begun > there.begun:
                kept[key] = Kept(made.request_id, made.user_id, _row(made, place), begun)
            found.of_namesakes += there is not None and begun != there.begun
    for key in [key for key, each in kept.items() if each.begun not in (0, newest)]:
        del kept[key]
        found.of_namesakes += 1
    return kept


def _drew_first(made: _List) -> bool:
    """Whether the propensity is of the first place: that of a list drafted from two variants is of all of it."""
    drafted = any(item.variant is not None for item in made.items)
    return made.propensity is not None and not drafted and 0 < len(made.items) <= PLACES


def _asked_for(made: _List, experiment: str | None, variant: str | None) -> bool:
    return experiment is None or any(
        e.name == experiment and (variant is None or e.variant == variant) for e in made.experiments
    )


def _place(made: _List) -> int | None:
    """Where the first item stood before the draw. Where the list does not say so, scores do, unless the best two are the same: None. That
    is so whatever was drawn, so that to leave such lists out does not make the others a choice of draws."""
    first, n = made.items[0], len(made.items)
    if first.place is not None and 0 <= first.place < n:
        return first.place
    best = nlargest(2, (item.score for item in made.items))
    return None if n > 1 and best[0] == best[1] else sum(item.score > first.score for item in made.items)


def _row(made: _List, place: int) -> Row:
    """Without the candidate's list. Lists name the same items again and again: one text does for all that are alike."""
    first, rest = made.items[0], made.items[1:]
    order = [sys.intern(item.item_id) for item in rest]
    order.insert(place, sys.intern(first.item_id))
    variant = "+".join(f"{e.name}/{e.variant}@{e.begun}" for e in made.experiments)
    assert made.propensity is not None  # noqa: S101
    return Row(made.timestamp, -1, tuple(order), place, made.propensity, (), variant=sys.intern(variant))


def _variants(rows: list[Row]) -> dict[str, int]:
    """Rows by what they were made under; when an experiment was begun is said where there is another one of its name."""
    found = Counter(row.variant for row in rows if row.variant)
    begun: dict[str, set[str]] = {}
    for name, _, at in _UNDER.findall("+".join(found)):
        begun.setdefault(name, set()).add(at)
    out = Counter[str]()
    for variant, n in found.items():
        out[_UNDER.sub(lambda e: e[0] if len(begun[e[1]] - {"0"}) > 1 else f"{e[1]}/{e[2]}", variant)] += n
    return dict(sorted(out.items()))


def _put_beside(kept: dict[tuple[str, str], Kept], candidate: Iterable[bytes | None], found: Joined) -> None:
    """The candidate's list to each. Raises InputError where they are of another log."""
    beside, ids = 0, {event_id for event_id, _ in kept}
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
        each = kept.get((made.caused_by.event_id, made.user_id))
        if each is not None:
            beside += 1
            each.row.other = tuple(sys.intern(item.item_id) for item in made.items[:JUDGED])
        elif made.caused_by.event_id in ids:
            found.other_users += 1
        else:
            found.candidate_alone += 1
    if found.other_users > max(A_FEW if beside else 0, ASTRAY * (beside + found.other_users)):
        raise InputError(
            "lists of the candidate for the events of the same users",
            f"{found.other_users:,} of {beside + found.other_users:,} for an event of the same id, but of another user",
            "replay the log that the lists are of; where that has no ids, which are then the numbers of its lines, from the same line on",
        )  # fmt: skip


def _read(raw: bytes | None) -> _List | None:
    try:
        return _decode(raw or b"")
    except UNREADABLE:
        return None
