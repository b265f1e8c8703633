"""Times as people write them, turned into milliseconds since the epoch, UTC. A time without a zone is taken as UTC."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import lru_cache

from .rows import BadRow

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
_CACHE = 1 << 14
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?)?\s*(Z|UTC|[+-]\d\d:?(?:\d\d)?)?", re.I)


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, exact (no float on the way).

    >>> to_ms(datetime(2014, 4, 7, 10, 51, 9, 277000))
    1396867869277
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return (moment - _EPOCH) // _MILLISECOND


@lru_cache(_CACHE)
def iso_ms(text: str) -> int:
    """ISO 8601 date or date and time; ``Z``, ``UTC``, an offset or nothing behind it.

    >>> iso_ms("2014-04-07T10:51:09.277Z"), iso_ms("2019-10-01 00:00:00 UTC"), iso_ms("2019-10-01T02:00+0200")
    (1396867869277, 1569888000000, 1569888000000)
    """
    match = _ISO.fullmatch(text.strip())
    if match is None:
        raise BadRow("bad_time", text)
    date, clock, fraction, zone = match.groups()
    plain = f"{date}T{clock or '00:00'}" + (f".{fraction[:6]:0<6}" if fraction else "")
    try:
        moment = to_ms(datetime.fromisoformat(plain))
    except ValueError:
        raise BadRow("bad_time", text) from None
    if zone is None or zone.upper() in ("Z", "UTC"):
        return moment
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    return moment - (-1 if zone[0] == "-" else 1) * (hours * 60 + minutes) * 60_000


def epoch_ms(value: float) -> int:
    """A count since the epoch whose unit is told by its size: seconds, ms, µs or ns.

    Seconds reach 10¹¹ in the year 5138, milliseconds passed it in 1973, so the two cannot be taken for one another.

    >>> epoch_ms(1511544070), epoch_ms(1511544070000), epoch_ms(1511544070.5), epoch_ms(1511544070000000)
    (1511544070000, 1511544070000, 1511544070500, 1511544070000)
    """
    size = abs(value)
    if size < 1e11:
        return round(value * 1000)
    if size < 1e14:
        return round(value)
    if size < 1e17:
        return int(value // 1000)
    if size < 1e20:
        return int(value // 1_000_000)
    raise BadRow("bad_time", value)


def parser(time_format: str = "auto") -> Callable[[object], int]:
    """Function from a cell to milliseconds. ``time_format``: auto, seconds, ms, iso or a strptime pattern (with ``%``).

    >>> parser()("2016-05-09") == parser("%d.%m.%Y")("09.05.2016") == parser("seconds")("1462752000")
    True
    """
    if "%" in time_format:

        @lru_cache(_CACHE)
        def pattern(text: str) -> int:
            try:
                return to_ms(datetime.strptime(text.strip(), time_format))
            except ValueError:
                raise BadRow("bad_time", text) from None

        return lambda cell: pattern(str(cell))
    return {"auto": _auto, "seconds": _seconds, "ms": _ms, "iso": lambda cell: iso_ms(str(cell))}[time_format]


def is_time_format(text: str) -> bool:
    """Whether `parser` knows what to do with it."""
    return "%" in text or text in ("auto", "seconds", "ms", "iso")


def _count(cell: object) -> int | float:
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        raise BadRow("bad_time", cell)
    try:
        return int(cell) if isinstance(cell, str) else cell
    except ValueError:
        return float(cell)


def _seconds(cell: object) -> int:
    return _scaled(cell, 1000)


def _ms(cell: object) -> int:
    return _scaled(cell, 1)


def _scaled(cell: object, factor: int) -> int:
    try:
        return round(_count(cell) * factor)
    except (ValueError, OverflowError):
        raise BadRow("bad_time", cell) from None


def _auto(cell: object) -> int:
    if isinstance(cell, str) and cell[4:5] == "-":
        return iso_ms(cell)
    try:
        return epoch_ms(_count(cell))
    except (ValueError, OverflowError):
        return iso_ms(str(cell))
