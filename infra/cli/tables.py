"""Tables and sentences on stdout: as wide as the terminal, and into a pipe one line a row, however long."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

WIDE = 110
"""Columns of a terminal from which a table is shown whole."""
_ENDLESS = 100_000


@dataclass(frozen=True)
class Column:
    """``head``: with line breaks for a terminal. ``number``: set to the right. ``fold``: broken where the terminal is too narrow; others
    are not. ``wide``: left out of a narrow terminal."""

    head: str
    number: bool = False
    fold: bool = False
    wide: bool = False


class _Console(Console):
    """Into a pipe without the spaces that rich fills lines up with."""

    def print(self, *objects: Any, **how: Any) -> None:
        if self.is_terminal:
            super().print(*objects, **how)
            return
        with self.capture() as shown:
            super().print(*objects, **how)
        text = re.sub(r" +$", "", shown.get(), flags=re.MULTILINE)
        super().print(text, end="", markup=False, emoji=False, highlight=False, soft_wrap=True)


def console(highlight: bool = False) -> Console:
    """For stdout. ``highlight``: numbers and the like are coloured."""
    return _Console(width=None if sys.stdout.isatty() else _ENDLESS, highlight=highlight)


def print_table(out: Console, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Without upright rules, for they cost the width of a column, and without columns in which no row has anything. What a narrow terminal
    has no room for is named below."""
    terminal = out.is_terminal
    empty = [bool(rows) and not any(row[n] for row in rows) for n in range(len(columns))]
    narrow = [c.wide and not none and terminal and out.width < WIDE for c, none in zip(columns, empty, strict=True)]
    left_out = [none or no_room for none, no_room in zip(empty, narrow, strict=True)]
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for column, left in zip(columns, left_out, strict=True):
        if not left:
            head = column.head if terminal else column.head.replace("\n", " ")
            table.add_column(
                head, justify="right" if column.number else "left", no_wrap=not column.fold, overflow="fold"
            )
    for row in rows:
        table.add_row(*(cell for cell, left in zip(row, left_out, strict=True) if not left))
    out.print(title, style="table.title")  # one of the table is as narrow as that
    out.print(table)
    if any(narrow):
        names = ", ".join(c.head.replace("\n", " ") for c, left in zip(columns, narrow, strict=True) if left)
        out.print(f"[dim](from {WIDE} columns on, and in a pipe: {names})[/]")
