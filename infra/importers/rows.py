"""What flows from a reader to the engine: numbered rows, some of them bad."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

BLANK = "blank_line"
"""The reason of a row that is no row at all: counted apart, never as dropped."""

Fields = dict[str, Any]
"""Event field → value, as ``streams.contracts.events.Event`` wants them."""

Convert = Callable[..., Fields]
"""Cells of one row → event fields. Raises BadRow, or ValueError for a number that is none."""


class BadRow(Exception):
    """A row that cannot become an event. ``reason`` is one of a few words, ``detail`` says what was found."""

    def __init__(self, reason: str, detail: object = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, str(detail)


Row = tuple[int, Sequence[Any] | BadRow]
"""Line (or row) number in the file, from 1, and the row's cells or what is wrong with it."""

Rows = Iterator[Row]


def identifier(value: object) -> str:
    """Text of an id that may have been read as a number.

    >>> identifier(" u1 "), identifier(17), identifier(17.0), identifier(None)
    ('u1', '17', '17', '')
    """
    if isinstance(value, str):
        return value.strip()
    if value is None or value != value:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    raise BadRow("wrong_type", f"id {value!r}")


def word(words: Mapping[str, str], found: object) -> str:
    """Our event type for a format's own.

    >>> word({"pv": "view"}, "pv")
    'view'
    """
    try:
        return words[found]  # type: ignore[index]
    except (KeyError, TypeError):
        raise BadRow("unknown_event_type", found) from None


def number(value: object) -> float | None:
    """An optional number: blank is None, words are refused.

    >>> number("2.5"), number(3), number("  "), number(None)
    (2.5, 3.0, None, None)
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRow("bad_number", repr(value))
    return float(value)
