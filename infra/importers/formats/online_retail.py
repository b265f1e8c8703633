"""UCI Online Retail (and Online Retail II), saved as CSV. A basket is a session; a cancellation is a ``return``."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

from ..layout import Format, Layout, Options
from ..rows import BadRow, Convert, Fields
from ..tables import Table
from ..times import iso_ms, parser, to_ms

_AMERICAN = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}|\d\d) (\d{1,2}):(\d\d)(?::(\d\d))?")


@lru_cache(1 << 14)
def invoice_ms(text: str) -> int:
    """Month/day/year as the published sheet is saved, or ISO 8601.

    >>> invoice_ms("12/1/2010 8:26") == invoice_ms("12/1/10 8:26") == invoice_ms("2010-12-01 08:26:00")
    True
    """
    match = _AMERICAN.fullmatch(text.strip())
    if match is None:
        return iso_ms(text)
    month, day, year, hour, minute, second = (int(part or 0) for part in match.groups())
    try:
        return to_ms(datetime(year if year > 99 else 2000 + year, month, day, hour, minute, second))
    except ValueError:
        raise BadRow("bad_time", text) from None


def line_of(time: Callable[[str], int]) -> Convert:
    """Function from one line of an invoice to event fields.

    >>> cells = ("C536379", "D", "-1", "12/1/2010 9:41", "27.50", "14527.0")
    >>> line_of(invoice_ms)(*cells)["event_type"], line_of(invoice_ms)(*cells)["value"]
    ('return', -27.5)
    """

    def line(invoice: str, stock: str, quantity: str, date: str, price: str, customer: str) -> Fields:
        return {
            "timestamp": time(date),
            "user_id": customer.strip().removesuffix(".0"),
            "item_id": stock.strip(),
            "event_type": "return" if invoice[:1] in ("C", "c") else "purchase",
            "session_id": invoice,
            "value": round(float(quantity) * float(price), 6),
        }

    return line


def _layouts(options: Options) -> tuple[Layout, ...]:
    line = line_of(parser(options.time_format) if options.time_format else invoice_ms)
    return (
        Table(("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"), line),
        Table(("Invoice", "StockCode", "Quantity", "InvoiceDate", "Price", "Customer ID"), line),
    )


FORMAT = Format(
    name="online-retail",
    short="or",
    summary="invoices of a shop: the UCI sheet saved as CSV",
    example="headrace import online-retail data.csv -o log.jsonl.gz",
    files=("*nline*etail*.csv", "data.csv"),
    layouts=_layouts,
    takes=("time_format",),
    remedy="save the sheet as CSV",
)
