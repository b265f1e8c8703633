"""YooChoose (RecSys Challenge 2015): clicks and buys, without header. A user is known for one session only."""

from __future__ import annotations

from ..layout import Format
from ..rows import Fields
from ..tables import Table
from ..times import iso_ms


def click(session: str, time: str, item: str) -> Fields:
    """A row of the clicks.

    >>> click("1", "2014-04-07T10:51:09.277Z", "214536502")["timestamp"]
    1396867869277
    """
    return {
        "timestamp": iso_ms(time),
        "user_id": session,
        "item_id": item,
        "event_type": "click",
        "session_id": session,
    }


def buy(session: str, time: str, item: str, price: str, quantity: str) -> Fields:
    """A row of the buys; ``value`` is price × quantity (the price is 0 where the source did not know it).

    >>> buy("420374", "2014-04-06T18:44:58.314Z", "214537888", "12462", "2")["value"]
    24924.0
    """
    return click(session, time, item) | {"event_type": "purchase", "value": float(price) * float(quantity)}


_CLICKS = ("session", "timestamp", "item", "category")
_BUYS = ("session", "timestamp", "item", "price", "quantity")

FORMAT = Format(
    name="yoochoose",
    short="yc",
    summary="yoochoose-clicks.dat and yoochoose-buys.dat (give both)",
    example="headrace import yoochoose yoochoose-clicks.dat yoochoose-buys.dat -o log.gz",
    files=("*clicks*.dat", "*buys*.dat"),
    layouts=lambda options: (Table(_CLICKS[:3], click, names=_CLICKS), Table(_BUYS, buy, names=_BUYS)),
)
