"""RetailRocket: ``events.csv``, times in milliseconds."""

from __future__ import annotations

from ..layout import Format
from ..rows import Fields, word
from ..tables import Table

_WORDS = {"view": "view", "addtocart": "cart", "transaction": "purchase"}


def event(ms: str, visitor: str, kind: str, item: str) -> Fields:
    """One row; the number of the transaction is left out.

    >>> event("1433221332117", "257597", "addtocart", "355908")["event_type"]
    'cart'
    """
    return {"timestamp": int(ms), "user_id": visitor, "item_id": item, "event_type": word(_WORDS, kind)}


FORMAT = Format(
    name="retailrocket",
    short="rr",
    summary="views, carts, purchases: events.csv",
    example="headrace import retailrocket events.csv -o log.jsonl.gz",
    files=("events.csv",),
    layouts=lambda options: (Table(("timestamp", "visitorid", "event", "itemid"), event),),
)
