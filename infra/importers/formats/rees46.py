"""REES46: the CSV files of its open shop logs, one a month. ``value`` is the price."""

from __future__ import annotations

from ..layout import Format
from ..rows import Fields, number, word
from ..tables import Table
from ..times import iso_ms

_WORDS = {kind: kind for kind in ("view", "cart", "remove_from_cart", "purchase")}


def event(time: str, kind: str, product: str, price: str, user: str, session: str) -> Fields:
    """One row.

    >>> event("2019-10-01 00:00:00 UTC", "view", "44600062", "35.79", "541312140", "72d76fde")["value"]
    35.79
    """
    return {
        "timestamp": iso_ms(time),
        "user_id": user,
        "item_id": product,
        "event_type": word(_WORDS, kind),
        "session_id": session or None,
        "value": number(price),
    }


FORMAT = Format(
    name="rees46",
    short="re",
    summary="views, carts, purchases: 2019-Oct.csv and the like",
    example="headrace import rees46 2019-Oct.csv 2019-Nov.csv -o log.jsonl.gz",
    files=("20[0-9][0-9]-*.csv", "events.csv"),
    layouts=lambda options: (
        Table(("event_time", "event_type", "product_id", "price", "user_id", "user_session"), event),
    ),
)
