"""How far a long command is: bars on stderr, and only on a terminal."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import Progress, ProgressColumn


class Bars(Progress):
    """`rich.progress.Progress` on stderr; a string among the ``columns`` is a `TextColumn`. Nothing where nobody would see it."""

    def __init__(self, *columns: str | ProgressColumn) -> None:
        super().__init__(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
