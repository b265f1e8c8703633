"""How far a long command is: a bar on a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn

EVERY_S = 30.0
"""Between two lines, and before the first: a command that is done by then writes none."""


class Bars(Progress):
    """`rich.progress.Progress` on stderr. Where that is no terminal, columns with text become a line every `EVERY_S`.

    ``columns`` are rich's, a string being a `TextColumn`; ``every_s`` and ``clock`` (s) are for tests.
    """

    def __init__(
        self,
        *columns: str | ProgressColumn,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lines = not sys.stderr.isatty()
        super().__init__(*columns, console=Console(stderr=True), disable=self._lines, transient=True)
        self._every, self._tick = every_s, clock
        self._told = clock()

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """As rich's, which see for ``fields``."""
        super().update(task_id, **fields)
        if self._lines and self._tick() - self._told >= self._every:
            self._told = self._tick()
            click.echo(f"headrace: {self._line(task_id)}", err=True)

    def _line(self, task_id: TaskID) -> str:
        task = self.tasks[self.task_ids.index(task_id)]
        columns = [
            TextColumn(column) if isinstance(column, str) else column
            for column in self.columns
            if not isinstance(column, BarColumn)
        ]
        words = (str(getattr(column.render(task), "plain", "")).strip() for column in columns)
        return ", ".join(word for word in words if word)
