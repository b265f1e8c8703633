"""The one loop behind every format: read, convert, validate, count, write in order of time."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import time

import msgspec

from online_models.errors import InputError
from streams.contracts.events import MAX_CONTEXT_BYTES, Event

from .layout import Format, Layout, Options
from .parquet_files import Parquet
from .rows import BLANK, BadRow
from .sorted_log import MEMORY, SortedLog
from .sources import Source, find_sources
from .tally import Tally

EARLIEST = 631_152_000_000
"""1990-01-01: nobody recorded clicks before; smaller numbers are damaged or of another unit."""

DAY = 86_400_000

Progress = Callable[[str, int, int], None]
"""Told now and then: what is being done, how far it is, how far it goes."""

_EVERY = 2047

_REMEDIES = {
    "bad_time": "say how its times are written, e.g. --time-format '%d.%m.%Y %H:%M'",
    "timestamp_out_of_range": "check --since and --until, or what the numbers count",
    "empty_event_type": "give the type of rows that have none with --event-type WORD",
}
_OPTION = re.compile(r"--([a-z-]+)")


@dataclass(frozen=True)
class Window:
    """Times that are kept, in ms: from ``since``, before ``until``."""

    since: int = EARLIEST
    until: int = sys.maxsize

    @classmethod
    def up_to_now(cls, since: int | None = None, until: int | None = None) -> Window:
        """The window asked for; on a side that is not asked for, from 1990 and up to tomorrow: a log holds the past."""
        return cls(EARLIEST if since is None else since, int(time() * 1000) + DAY if until is None else until)


def import_log(
    format: Format,
    paths: Sequence[Path],
    log: Path,
    options: Options | None = None,
    *,
    window: Window | None = None,
    memory: int = MEMORY,
    progress: Progress = lambda what, done, total: None,
) -> Tally:
    """Turn the files into one recorded log at ``log``, sorted by time, and say what became of their rows.

    Rows that are no events are counted and passed over. Raises InputError for what is wrong as a whole: a missing or
    unreadable file, one that is not of this format or holds no event, a log that cannot stand there. Then nothing is
    written.
    """
    options, window = options or Options(), window or Window.up_to_now()
    sources = find_sources([format.locate()] if format.locate else paths, format.files)
    if log.exists() and any(source.path.samefile(log) for source in sources):
        raise InputError("a log beside its sources", f"{log}, which is one of them", "choose another name for the log")
    plan = [(source, _layout(format, options, source)) for source in sources]
    total, done = sum(source.size for source in sources), 0
    tally = Tally()
    with SortedLog(log, memory) as out:
        for source, layout in plan:
            _copy(format.short, source, layout, window, out, tally, partial(_advance, progress, done, total))
            done += source.size
        if not tally.kept:
            raise _nothing_kept(format, tally, sources)
        out.commit(lambda lines: progress("sort", lines, tally.kept))
    tally.runs = out.runs
    return tally


def _nothing_kept(format: Format, tally: Tally, sources: Sequence[Source]) -> InputError:
    """What to say of an import without a single event: why the rows were dropped, and what helps against the main reason."""
    place = sources[0].label if len(sources) == 1 else f"{len(sources)} files"
    if not tally.drops:
        return InputError("at least one row that is an event", f"no rows in {place}", "check that it is the whole file")
    reasons = sorted(tally.drops.items(), key=lambda item: -item[1].count)
    remedy = _REMEDIES.get(reasons[0][0], format.remedy)
    if option := _OPTION.search(remedy):
        remedy = remedy if option[1].replace("-", "_") in (*format.takes, "since", "until") else format.remedy
    found = "; ".join(f"{drop.count:,} {reason}, first at {drop.said}" for reason, drop in reasons[:3])
    return InputError("at least one row that is an event", f"none of {tally.read:,} in {place} ({found})", remedy)


def _advance(progress: Progress, base: int, total: int, at: int) -> None:
    progress("read", base + at, total)


def _layout(format: Format, options: Options, source: Source) -> Layout:
    """The layout of the format that fits the file best, the first of equals."""
    layouts = format.layouts(options)
    best = max(layouts, key=lambda layout: layout.score(source))
    fits = best.score(source)
    if not isinstance(best, Parquet) and not source.is_text():
        raise InputError(
            "UTF-8 text", f"something else in {source.label}", "check FORMAT and PATH, or save it as UTF-8 text"
        )
    if fits:
        return best
    if source.head and (refusal := format.refusal(options, source)):
        raise refusal
    actual = (
        f"{source.head[0][:100]!r} at the start of {source.label}" if source.head else f"an empty file {source.label}"
    )
    raise InputError(" or ".join(dict.fromkeys(layout.expected for layout in layouts)), actual, format.remedy)


def _copy(
    short: str,
    source: Source,
    layout: Layout,
    window: Window,
    out: SortedLog,
    tally: Tally,
    progress: Callable[[int], None],
) -> None:
    convert, validate, encode, add = layout.convert, msgspec.convert, msgspec.json.Encoder().encode, out.add
    since, until, end = window.since, window.until, _line_end()
    for line, row in layout.rows(source):
        if isinstance(row, BadRow):
            tally.read += row.reason != BLANK
            tally.drop(row, f"{source.label}:{line}")
            continue
        tally.read += 1
        try:
            fields = convert(*row)
            fields.setdefault("event_id", f"{short}-{tally.read}")
            event = validate(fields, Event)
            timestamp = event.timestamp
            if not since <= timestamp < until:
                raise BadRow("timestamp_out_of_range", timestamp)
            if event.value is not None and event.value - event.value != 0:
                raise BadRow("value_not_finite", event.value)
            if event.context is not None and len(encode(event.context)) > MAX_CONTEXT_BYTES:
                raise BadRow("context_too_large")
            data = encode(event)
        except (BadRow, ValueError, OverflowError, RecursionError) as error:
            tally.drop(_reason(error), f"{source.label}:{line}")
            continue
        add(timestamp, data[:-1] + end)
        tally.keep(event.event_type, timestamp)
        if not tally.read & _EVERY:
            progress(source.position)
    progress(source.size)


def _line_end() -> bytes:
    """What closes a line: every record carries its version, which `Event` leaves out as a default."""
    sample = msgspec.json.encode(Event(timestamp=0, user_id="u", item_id="i", event_type="view"))
    return b"}\n" if b'"v":' in sample else b',"v":1}\n'


def _reason(error: Exception) -> BadRow:
    """The reason code of whatever was raised on the way from cells to a line."""
    if isinstance(error, BadRow):
        return error
    if isinstance(error, UnicodeEncodeError):
        return BadRow("not_utf8")
    if isinstance(error, msgspec.ValidationError):
        text = str(error)
        field = text.rpartition("$.")[2].rstrip("`") or "row"
        if "length >=" in text:
            return BadRow(f"empty_{field}")
        return BadRow(f"{field}_too_long") if "length <=" in text else BadRow("wrong_type", text)
    return BadRow("nested_too_deep" if isinstance(error, RecursionError) else "bad_number", error)
