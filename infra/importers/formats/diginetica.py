"""Diginetica (CIKM Cup 2016): ``train-item-views.csv``, whose time is a day and the milliseconds into the session."""

from __future__ import annotations

from ..layout import Format
from ..rows import Fields
from ..tables import Table
from ..times import iso_ms


def view(session: str, user: str, item: str, timeframe: str, day: str) -> Fields:
    """One row. Who is not logged in is known by the session, marked so that its number is not taken for a user's.

    >>> view("1", "NA", "81766", "526309", "2016-05-09")["user_id"]
    'session-1'
    """
    return {
        "timestamp": iso_ms(day) + int(timeframe),
        "user_id": f"session-{session}" if user in ("NA", "") else user,
        "item_id": item,
        "event_type": "view",
        "session_id": session,
    }


FORMAT = Format(
    name="diginetica",
    short="dn",
    summary="shop sessions: train-item-views.csv",
    example="headrace import diginetica train-item-views.csv -o log.jsonl.gz",
    files=("train-item-views.csv",),
    layouts=lambda options: (Table(("sessionId", "userId", "itemId", "timeframe", "eventdate"), view, delimiter=";"),),
)
