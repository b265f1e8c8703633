"""Values that several commands take: points in time, lengths of time, speeds."""

from __future__ import annotations

import re
from datetime import datetime, timezone

import click

AS_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")
TUNING = click.option(
    "--tuning",
    metavar="N",
    type=click.FloatRange(1),
    default=5_000.0,
    show_default=True,
    help="Units at which the intervals of the read-out are narrowest.",
)

_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_EARLIEST_MS = 100_000_000_000


class Instant(click.ParamType):
    """A point in time as milliseconds since the epoch: given so, or as an ISO date with or without a time (UTC).

    >>> Instant().convert("2020-01-01", None, None), Instant().convert("1577836800000", None, None)
    (1577836800000, 1577836800000)
    """

    name = "TIME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value.isdecimal() and int(value) >= _EARLIEST_MS:
            return int(value)
        try:
            moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value))
        except ValueError:
            self.fail(f"expected an ISO date or milliseconds since the epoch, got {value!r}", param, ctx)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp() * 1000)


class Duration(click.ParamType):
    """A length of time in seconds, ``least`` or more: ``10s``, ``500ms``, ``2m``, ``1h``; without a unit, seconds.

    >>> Duration().convert("500ms", None, None)
    0.5
    """

    name = "DURATION"

    def __init__(self, least: float = 0.0) -> None:
        self._least = least

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", str(value))
        if not match:
            self.fail(f"expected a length of time such as 10s or 500ms, got {value!r}", param, ctx)
        seconds = float(match[1]) * _UNITS[match[2]]
        if seconds < self._least:
            self.fail(f"expected at least {self._least:g}s, got {value!r}", param, ctx)
        return seconds


class Speed(click.ParamType):
    """How many times as fast as it happened: ``100x``; ``max`` (-1) is as fast as it goes.

    >>> Speed().convert("100x", None, None), Speed().convert("max", None, None)
    (100.0, -1.0)
    """

    name = "SPEED"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if value in ("max", -1.0):
            return -1.0
        match = re.fullmatch(r"(\d+(?:\.\d+)?)x?", str(value))
        if not match or float(match[1]) == 0:
            self.fail(f"expected a factor such as 100x, or max, got {value!r}", param, ctx)
        return float(match[1])
