"""Tables and sentences on stdout: as wide as the terminal, and into a pipe one line a row, however long."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

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


def console() -> Console:
    """For stdout."""
    return Console(width=None if sys.stdout.isatty() else _ENDLESS, highlight=False)


def print_table(out: Console, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Without upright rules, for they cost the width of a column. What a narrow terminal has no room for is named below."""
    terminal = out.is_terminal
    left_out = [c.wide and terminal and out.width < WIDE for c in columns]
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for column, left in zip(columns, left_out, strict=True):
        if not left:
            head = column.head if terminal else column.head.replace("\n", " ")
            table.add_column(
                head, justify="right" if column.number else "left", no_wrap=not column.fold, overflow="fold"
            )
    for row in rows:
        table.add_row(*(cell for cell, left in zip(row, left_out, strict=True) if not left))
    out.print(table)
    if any(left_out):
        names = ", ".join(c.head.replace("\n", " ") for c, left in zip(columns, left_out, strict=True) if left)
        out.print(f"[dim](from {WIDE} columns on, and in a pipe: {names})[/]")
