"""The event record: value of topic ``events`` and line of a recorded log."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

MAX_ID = 256
"""Longest user, item or event id, in characters."""

MAX_RECORD_BYTES = 64 * 1024
"""Largest record accepted on the topic or in a log, in bytes."""

MAX_CONTEXT_BYTES = 4 * 1024
"""Largest ``context`` object, in bytes of its JSON form."""

EARLIEST_MS = 100_000_000_000
"""1973-03-03. A timestamp below it is not in milliseconds."""

LATEST_MS = 10**13
"""2286-11-20. A timestamp from there on is not in milliseconds, whatever the clock says."""

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that a user did with an item.

    ``timestamp`` is event time in milliseconds since the epoch, UTC. ``value`` is a rating, an amount of money or a
    dwell time, whatever ``event_type`` implies. ``event_id`` may be empty only while a recorded log is being read:
    the reader then fills in the line number.
    """

    timestamp: int
    user_id: Id
    item_id: Id
    event_type: Word
    event_id: Annotated[str, msgspec.Meta(max_length=MAX_ID)] = ""
    session_id: Annotated[str, msgspec.Meta(max_length=MAX_ID)] | None = None
    value: float | None = None
    request_id: Annotated[str, msgspec.Meta(max_length=MAX_ID)] | None = None
    context: dict[str, Any] | None = None
    v: int = 1


class Source(msgspec.Struct, frozen=True, array_like=True):
    """Where an event was read: ``partition`` and ``offset`` of topic ``events`` (of a log: 0 and the line, from 0)."""

    partition: int
    offset: int
