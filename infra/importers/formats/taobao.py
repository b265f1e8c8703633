"""Taobao: ``UserBehavior.csv``, without header, times in seconds.

The published file covers 2017-11-25 to 2017-12-03 but holds stray times from 1902 to 2037. What lies before 1990 or in
the future is dropped as everywhere; ``--since 2017-11-24 --until 2017-12-05`` keeps to the published days.
"""

from __future__ import annotations

from ..layout import Format
from ..rows import Fields, word
from ..tables import Table

_WORDS = {"pv": "view", "fav": "like", "cart": "cart", "buy": "purchase"}
_NAMES = ("user", "item", "category", "behavior", "timestamp")


def behaviour(user: str, item: str, kind: str, seconds: str) -> Fields:
    """One row; the category is left out.

    >>> behaviour("1", "2268318", "fav", "1511544070")["event_type"]
    'like'
    """
    return {"timestamp": int(seconds) * 1000, "user_id": user, "item_id": item, "event_type": word(_WORDS, kind)}


FORMAT = Format(
    name="taobao",
    short="tb",
    summary="views, carts, purchases: UserBehavior.csv",
    example="headrace import taobao UserBehavior.csv.zip -o log.jsonl.gz",
    files=("UserBehavior.csv",),
    layouts=lambda options: (Table(("user", "item", "behavior", "timestamp"), behaviour, names=_NAMES),),
)
