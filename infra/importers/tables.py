"""Delimited text: with a header or without, quoted or not. A damaged row costs one row, never the rows behind it."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from operator import itemgetter
from typing import Any

from .rows import BLANK, BadRow, Convert, Rows
from .sources import OVERLONG, Source

MAX_RECORD_LINES = 64
"""Lines that one quoted record may span; beyond that the quote is taken as never closed."""


@dataclass(frozen=True)
class Table:
    """One layout of delimited text.

    ``columns`` (and the ``optional`` ones) are what ``convert`` gets, in this order; an optional column that is not
    there is an empty cell. ``names`` are the columns of a file without header; None when its first line names them.
    ``quotes=False`` for files in which a quotation mark is an ordinary character; ``guessed`` when the delimiter is
    one of several that are tried.
    """

    columns: tuple[str, ...]
    convert: Convert
    names: tuple[str, ...] | None = None
    delimiter: str = ","
    quotes: bool = True
    optional: tuple[str, ...] = ()
    guessed: bool = False

    @property
    def expected(self) -> str:
        """What a file of this layout looks like, for people."""
        gap = {"\t": "tabs", ",": "commas"}.get(self.delimiter, repr(self.delimiter))
        separated = "" if self.guessed else f" (separated by {gap})"
        if self.names is None:
            return f"a header with {', '.join(self.columns)}{separated}"
        return f"{len(self.names)} columns {', '.join(self.names)} without header{separated}"

    def score(self, source: Source) -> int:
        """How well the file fits: 0 not at all; else the number of its first lines that do."""
        head = [cells for _, cells in self._records(source.head) if not isinstance(cells, BadRow)]
        if self.names is None:
            found = _positions(head[0]) if head else {}
            return len(head) * all(_find(found, column) is not None for column in self.columns)
        named = _positions(self.names)
        fitting = sum(len(cells) == len(self.names) for cells in head)
        return fitting * all(_find(named, column) is not None for column in self.columns)

    def header(self, source: Source) -> list[str]:
        """The names of the file's columns as this layout sees them."""
        first = next((cells for _, cells in self._records(source.head) if not isinstance(cells, BadRow)), [])
        return [name.strip() for name in (self.names or first)]

    def rows(self, source: Source) -> Rows:
        """Cells in the order of ``columns`` and ``optional``, with line numbers."""
        records = self._records(source.lines())
        names = self.names or next((cells for _, cells in records if not isinstance(cells, BadRow)), [])
        return self._picked(records, names)

    def _picked(self, records: Iterator[tuple[int, list[str] | BadRow]], names: Sequence[str]) -> Rows:
        pick, absent = self._picker(names)
        width = len(names)
        for line, cells in records:
            if isinstance(cells, BadRow):
                yield line, cells
            elif len(cells) != width:
                yield line, BadRow("wrong_column_count", f"{len(cells)} instead of {width}")
            else:
                if absent:
                    cells.append("")
                yield line, pick(cells)

    def _picker(self, names: Sequence[str]) -> tuple[Callable[[list[str]], tuple[Any, ...]], bool]:
        """Function that picks the wanted cells; whether it wants an empty one after the last, for what is absent."""
        found = _positions(names)
        at = [_find(found, column) for column in self.columns + self.optional]
        places = [len(names) if place is None else place for place in at]
        return itemgetter(*places), None in at

    def _records(self, lines: Iterator[str] | list[str]) -> Iterator[tuple[int, list[str] | BadRow]]:
        """Every record with the number of its first line. Lines that a stray quote has swallowed are read again."""
        delimiter, quotes, rest = self.delimiter, self.quotes, iter(lines)
        back: deque[str] = deque()
        number, names = 0, self.names
        while True:
            feed = chain(_drain(back), rest)
            for line in feed:
                number += 1
                if quotes and '"' in line:
                    taken, cells = self._quoted(line, feed, names)
                    yield number, cells
                    if isinstance(cells, BadRow):
                        back.extendleft(reversed(taken[1:]))
                        break
                    number, names = number + len(taken) - 1, names or tuple(cells)
                elif not line or line.isspace():
                    yield number, BadRow(BLANK)
                elif line is OVERLONG:
                    yield number, BadRow("line_too_long")
                else:
                    plain = line.split(delimiter)
                    names = names or tuple(plain)
                    yield number, plain
            else:
                return

    def _quoted(
        self, line: str, feed: Iterator[str], names: tuple[str, ...] | None
    ) -> tuple[list[str], list[str] | BadRow]:
        """Parse a record that has quotes, with as many following lines as its open quote needs."""
        taken = [line]

        def text() -> Iterator[str]:
            yield line + "\n"
            for following in islice(feed, MAX_RECORD_LINES - 1):
                taken.append(following)
                yield following + "\n"

        try:
            cells = next(csv.reader(text(), delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            return taken, BadRow("bad_quoting", error)
        if len(taken) > 1 and names and (len(cells) != len(names) or any(self._is_row(x, names) for x in taken[1:-1])):
            return taken, BadRow("bad_quoting", "the quote is closed in a later row")
        return taken, cells

    def _is_row(self, line: str, names: tuple[str, ...]) -> bool:
        """Whether a line inside a quoted text would make a good row: then the quote has swallowed it."""
        pick, absent = self._picker(names)
        cells = line.split(self.delimiter)
        try:
            return len(cells) == len(names) and bool(self.convert(*pick(cells + [""] * absent)))
        except (BadRow, ValueError, OverflowError):
            return False


def _drain(back: deque[str]) -> Iterator[str]:
    while back:
        yield back.popleft()


def _positions(names: Sequence[str]) -> dict[str, int]:
    """Column name → position; a name in other case is found too, the exact one first."""
    stripped = [name.strip() for name in names]
    folded = {name.casefold(): place for place, name in reversed(list(enumerate(stripped)))}
    return folded | {name: place for place, name in reversed(list(enumerate(stripped)))}


def _find(found: dict[str, int], column: str) -> int | None:
    return found.get(column, found.get(column.casefold()))
