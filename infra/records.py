"""Wire records for people and for pipes: one line of text, or one line of JSON, whatever the bytes are."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import msgspec

from infra.text import printable
from streams.contracts.catalogue import Item
from streams.contracts.dead_letters import DeadLetter
from streams.contracts.drifts import QualityDrift
from streams.contracts.events import Event
from streams.contracts.interactions import Interaction
from streams.contracts.reading import UNREADABLE
from streams.contracts.recommendations import Recommendation

_syntax = msgspec.json.Decoder(msgspec.Raw).decode
_interaction = msgspec.msgpack.Decoder(Interaction).decode
_encode = msgspec.json.Encoder().encode


def json_line(kind: str, record: Any) -> bytes:
    """The record's JSON as it is on the wire, on one line (``kind``: the topic's name without a prefix).

    An interaction comes as an object. What has no JSON (a removal, garbage) comes as an object with the fields
    ``partition``, ``offset``, ``key`` and ``value`` (null) or ``not_json`` (base64).
    """
    value: bytes | None = record.value
    if value is None:
        return _encode(_place(record) | {"value": None})
    try:
        if kind == "interactions":
            return _encode(_as_object(_interaction(value)))
        _syntax(value)
        value.decode()
        return msgspec.json.format(value, indent=-1) if b"\n" in value or b"\r" in value else value
    except UNREADABLE:
        return _encode(_place(record) | {"not_json": base64.b64encode(value).decode()})


def text_line(kind: str, record: Any) -> str:
    """The record in words, on one line."""
    if record.value is None:
        return f"{_text(record.key or b'')} removed"
    try:
        return _LINES[kind](record.value)
    except UNREADABLE:
        return f"{record.partition}/{record.offset} unreadable: {_text(record.value)}"


def _place(record: Any) -> dict[str, Any]:
    key = None if record.key is None else record.key.decode("utf-8", "replace")
    return {"partition": record.partition, "offset": record.offset, "key": key}


def _as_object(interaction: Interaction) -> dict[str, Any]:
    return msgspec.structs.asdict(interaction) | {
        "deltas": {name: msgspec.structs.asdict(delta) for name, delta in interaction.deltas.items()}
    }


def _text(raw: bytes) -> str:
    """Bytes that may be shown on a terminal: no control characters, not too long."""
    shown = printable(raw[:400].decode("utf-8", "replace"))
    return shown if len(shown) <= 100 else shown[:99] + "…"


def _clean(text: str) -> str:
    return _text(text.encode("utf-8", "replace"))


def when(milliseconds: int) -> str:
    """A time of the wire for people.

    >>> when(1_400_000_000_000)
    '2014-05-13 16:53:20Z'
    """
    try:
        return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms"


def _recommendation(raw: bytes) -> str:
    made = msgspec.json.decode(raw, type=Recommendation)
    best = ", ".join(f"{_clean(item.item_id)} ({item.score:.3f} {_clean(item.source)})" for item in made.items[:3])
    more = f" and {len(made.items) - 3} more" if len(made.items) > 3 else ""
    notes = [f"{made.model.name} {made.model.version}".strip()]
    exposures = made.experiments or ([made.experiment] if made.experiment else [])
    notes += [f"{exposure.name}={exposure.variant}" for exposure in exposures]
    notes += [made.generic] if made.generic else []
    notes += [f"{made.latency_ms:.1f} ms"] if made.latency_ms is not None else []
    return (
        f"{when(made.timestamp)} {_clean(made.user_id)} → {best or 'nothing'}{more} [{', '.join(map(_clean, notes))}]"
    )


def _event(raw: bytes) -> str:
    event = msgspec.json.decode(raw, type=Event)
    value = "" if event.value is None else f" = {event.value:g}"
    return f"{when(event.timestamp)} {_clean(event.user_id)} {_clean(event.event_type)} {_clean(event.item_id)}{value}"


def _learned(raw: bytes) -> str:
    learned = _interaction(raw)
    steps = ", ".join(f"{_clean(name)} {len(delta.data)} B" for name, delta in learned.deltas.items())
    return (
        f"{when(learned.timestamp)} {learned.partition}/{learned.offset} {_clean(learned.event_type)} "
        f"{_clean(learned.item_id)} after {len(learned.history)} items" + (f" [{steps}]" if steps else "")
    )


def _dead_letter(raw: bytes) -> str:
    letter = msgspec.json.decode(raw, type=DeadLetter)
    return (
        f"{when(letter.time)} {_clean(letter.topic)} {letter.partition}/{letter.offset} {letter.reason.value}: "
        f"{_clean(letter.message)} | {_text(letter.raw)}"
    )


def _item(raw: bytes) -> str:
    item = msgspec.json.decode(raw, type=Item)
    notes = [", ".join(item.categories)] if item.categories else []
    notes += [f"{item.price:g}"] if item.price is not None else []
    notes += [] if item.available else ["not available"]
    return f"{_clean(item.item_id)} {_clean(item.title)}".rstrip() + (f" [{_clean('; '.join(notes))}]" if notes else "")


def _drift(raw: bytes) -> str:
    found = msgspec.json.decode(raw, type=QualityDrift)
    change = f"{found.before:.4f} → {found.after:.4f} ({'worse' if found.worse else 'not worse'})"
    place = f"{found.partition}/{found.offset}"
    return f"{when(found.timestamp)} {place} {_clean(found.figure)} {change} after {found.moments} moments"


def _anything(raw: bytes) -> str:
    _syntax(raw)
    return _text(raw)


_LINES: dict[str, Callable[[bytes], str]] = {
    "recommendations": _recommendation,
    "events": _event,
    "events.dlq": _dead_letter,
    "interactions": _learned,
    "items": _item,
    "experiments": _anything,
    "models": _anything,
    "models.decisions": _anything,
    "models.status": _anything,
    "drift": _drift,
}

KINDS = tuple(_LINES)
"""The topics whose records are known, by their names without a prefix."""
