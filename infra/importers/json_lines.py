"""JSON Lines: one object a line, which may hold one event or many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .rows import BLANK, BadRow, Convert, Rows
from .sources import OVERLONG, Source

Expand = Callable[[dict[str, Any]], Iterator[Sequence[Any] | BadRow]]
"""The object of one line → the cells of each of its events."""


@dataclass(frozen=True)
class JsonLines:
    """A layout of one object a line. A file fits when one of its first lines is an object with all of ``keys``."""

    keys: tuple[str, ...]
    expand: Expand
    convert: Convert

    @property
    def expected(self) -> str:
        """What a file of this layout looks like, for people."""
        return f"one JSON object a line with {', '.join(self.keys)}"

    def score(self, source: Source) -> int:
        """How many of the first lines fit."""
        return sum(self._fits(line) for line in source.head)

    def rows(self, source: Source) -> Rows:
        """Cells of every event, with line numbers; a line that is no object is one bad row."""
        decode = msgspec.json.Decoder().decode
        for number, line in enumerate(source.lines(), 1):
            if line is OVERLONG:
                yield number, BadRow("line_too_long")
                continue
            try:
                record = decode(line)
            except UnicodeEncodeError:
                yield number, BadRow("not_utf8")
                continue
            except msgspec.DecodeError as error:
                yield number, BadRow("not_json", error) if line.strip() else BadRow(BLANK)
                continue
            except RecursionError as error:
                yield number, BadRow("nested_too_deep", error)
                continue
            if not isinstance(record, dict):
                yield number, BadRow("not_an_object", type(record).__name__)
                continue
            for cells in self.expand(record):
                yield number, cells

    def _fits(self, line: str) -> bool:
        try:
            record = msgspec.json.decode(line)
        except (ValueError, RecursionError):
            return False
        return isinstance(record, dict) and all(lookup(record, key) is not None for key in self.keys)


def keys_of(source: Source) -> list[str]:
    """The keys of the first lines that are objects; of objects in objects, as paths."""
    found: dict[str, None] = {}
    for line in source.head:
        try:
            record = msgspec.json.decode(line)
        except (ValueError, RecursionError):
            continue
        for key, value in record.items() if isinstance(record, dict) else ():
            found |= dict.fromkeys([f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [key])
    return list(found)


def lookup(record: dict[str, Any], key: str) -> Any:
    """Value of a key, or of a path into nested objects; None when there is none.

    >>> record = {"user": {"id": 7}, "a.b": 1}
    >>> lookup(record, "user.id"), lookup(record, "a.b"), lookup(record, "x.y")
    (7, 1, None)
    """
    if key in record or "." not in key:
        return record.get(key)
    value: Any = record
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
