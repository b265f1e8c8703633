"""OTTO: JSON Lines, one session a line. A user is known for one session only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..json_lines import JsonLines
from ..layout import Format
from ..rows import BadRow, Fields, identifier, word
from ..times import parser

_WORDS = {"clicks": "click", "carts": "cart", "orders": "purchase"}
_time = parser()


def expand(session: dict[str, Any]) -> Iterator[Sequence[Any] | BadRow]:
    """The events of one session.

    >>> list(expand({"session": 5, "events": [{"aid": 7, "ts": 1661724000278, "type": "clicks"}]}))
    [(5, 7, 1661724000278, 'clicks')]
    """
    events = session.get("events")
    if not isinstance(events, list) or not events:
        yield BadRow("no_events", repr(events)[:40])
        return
    for event in events:
        if isinstance(event, dict):
            yield session.get("session"), event.get("aid"), event.get("ts"), event.get("type")
        else:
            yield BadRow("not_an_object", repr(event)[:40])


def event(session: object, item: object, time: object, kind: object) -> Fields:
    """One event of a session."""
    user = identifier(session)
    return {
        "timestamp": _time(time),
        "user_id": user,
        "item_id": identifier(item),
        "event_type": word(_WORDS, kind),
        "session_id": user,
    }


FORMAT = Format(
    name="otto",
    short="ot",
    summary="clicks, carts, orders: otto-recsys-train.jsonl, -test.jsonl",
    example="headrace import otto otto-recsys-train.jsonl -o log.jsonl.gz",
    files=("*train*.jsonl", "*test*.jsonl"),
    layouts=lambda options: (JsonLines(("session", "events"), expand, event),),
)
