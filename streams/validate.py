"""Validate: raw bytes in, an event or the reason why not. Bad input is data, so nothing here raises."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import msgspec

from .contracts.dead_letters import Reason
from .contracts.events import EARLIEST_MS, LATEST_MS, MAX_CONTEXT_BYTES, MAX_ID, MAX_RECORD_BYTES, Event
from .contracts.reading import UNREADABLE

FUTURE_MS = 10 * 60 * 1000
"""How far ahead of the clock an event may be: what clocks that nobody sets are wrong by. A time of tomorrow would be the time
of all that is learned until then."""

_decode = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a record is not an event: code, and a message that says what was expected, found, and what to do."""

    reason: Reason
    message: str


def validate(raw: bytes | None, now_ms: int | None, event_id: str = "") -> Event | Rejection:
    """Decode and check one record.

    ``now_ms`` is the clock (ms since the epoch) that tells the future; None for a recorded log, of which everything is past.
    ``event_id`` stands in where a recorded log has none; without it the field is required.

    >>> raw = b'{"timestamp": 1400000000, "user_id": "u", "item_id": "i", "event_type": "view", "event_id": "e"}'
    >>> validate(raw, 2**41).reason.value
    'timestamp_in_seconds'
    """
    if not raw:
        return Rejection(Reason.EMPTY, "expected a JSON object, got an empty record; send an event")
    if len(raw) > MAX_RECORD_BYTES:
        return Rejection(
            Reason.TOO_LARGE, f"expected at most {MAX_RECORD_BYTES} bytes, got {len(raw)}; send less context"
        )
    try:
        event = _decode(raw)
    except UNREADABLE as error:
        return _explain(raw, str(error))
    return _check(event, now_ms, event_id)


def wrong_key(event: Event, key: bytes | None, partitions: int) -> Rejection | None:
    """What is wrong with the key of an event's record, on a topic of so many partitions: it decides who owns the user.

    >>> event = Event(timestamp=2**41, user_id="u", item_id="i", event_type="view", event_id="e")
    >>> wrong_key(event, b"u", 4), wrong_key(event, None, 1), wrong_key(event, None, 2).reason.value
    (None, None, 'wrong_key')
    """
    if key == event.user_id.encode() or (key is None and partitions == 1):
        return None
    found = "no key" if key is None else "another"  # which one, the dead letter says: it may be a user's id
    return Rejection(Reason.WRONG_KEY, f"expected the user id as key, got {found}; send it as the record's key")


def _check(event: Event, now_ms: int | None, event_id: str) -> Event | Rejection:
    if event.v != 1:
        return Rejection(Reason.WRONG_VERSION, f'expected "v": 1, got {event.v}; send version 1 records')
    if event.timestamp < EARLIEST_MS:
        if event.timestamp > 0:
            return Rejection(
                Reason.TIMESTAMP_IN_SECONDS,
                f"expected ms since the epoch, got {event.timestamp}; multiply seconds by 1000",
            )
        return Rejection(
            Reason.TIMESTAMP_OUT_OF_RANGE,
            f"expected ms since the epoch, got {event.timestamp}; send the time of the event",
        )
    if event.timestamp >= LATEST_MS:
        return Rejection(
            Reason.TIMESTAMP_IN_FUTURE,
            f"expected ms since the epoch, below {LATEST_MS}, got {event.timestamp}; check the sender's unit",
        )
    if now_ms is not None and event.timestamp > now_ms + FUTURE_MS:
        return Rejection(
            Reason.TIMESTAMP_IN_FUTURE,
            f"expected a time no more than 10 min ahead of {now_ms}, got {event.timestamp}; check the sender's clock and unit",
        )
    if event.value is not None and not math.isfinite(event.value):
        return Rejection(Reason.VALUE_NOT_FINITE, f"expected a finite value, got {event.value}; leave it out")
    if event.context is not None and len(_encode(event.context)) > MAX_CONTEXT_BYTES:
        return Rejection(
            Reason.CONTEXT_TOO_LARGE,
            f"expected at most {MAX_CONTEXT_BYTES} bytes of context, got more; send less context",
        )
    if not event.event_id:
        if not event_id:
            return Rejection(Reason.MISSING_FIELD, "expected event_id, got none; give every event a unique id")
        return msgspec.structs.replace(event, event_id=event_id)
    return event


def _explain(raw: bytes, error: str) -> Rejection:
    """The slow path: which rule the record breaks."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as bad:
        return Rejection(
            Reason.NOT_UTF8, f"expected UTF-8, got {bad.reason} at byte {bad.start}; encode the record as UTF-8"
        )
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError) as bad:
        return Rejection(Reason.NOT_JSON, f"expected JSON, got {bad}; send one JSON object a record")
    if not isinstance(record, dict):
        return Rejection(Reason.NOT_AN_OBJECT, f"expected a JSON object, got {type(record).__name__}; send an object")
    if record.get("v", 1) != 1:
        return Rejection(Reason.WRONG_VERSION, f'expected "v": 1, got {record["v"]!r:.40}; send version 1 records')
    for field in ("timestamp", "user_id", "item_id", "event_type"):
        if field not in record:
            return Rejection(Reason.MISSING_FIELD, f"expected {field}, got none; send all required fields")
    for field in ("user_id", "item_id", "event_type"):
        if record[field] == "":
            return Rejection(Reason.EMPTY_ID, f"expected a non-empty {field}, got an empty string; leave the event out")
    for field in ("user_id", "item_id", "event_id", "session_id", "request_id", "event_type"):
        value = record.get(field)
        if isinstance(value, str) and len(value) > (64 if field == "event_type" else MAX_ID):
            return Rejection(
                Reason.ID_TOO_LONG, f"expected {field} of at most {MAX_ID} characters, got {len(value)}; shorten it"
            )
    value = record.get("value")
    if isinstance(value, float) and not math.isfinite(value):
        return Rejection(Reason.VALUE_NOT_FINITE, f"expected a finite value, got {value}; leave it out")
    if "malformed" in error or _has_non_finite(record):
        return Rejection(
            Reason.NOT_JSON, f"expected strict JSON, got {error}; JSON has no NaN, no Infinity and no half characters"
        )
    return Rejection(Reason.WRONG_TYPE, f"expected the types of the event record, got {error}; correct the field")


def _has_non_finite(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_has_non_finite, value.values()))
    return isinstance(value, list) and any(map(_has_non_finite, value))
