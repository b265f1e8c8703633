"""How far a long command is: bars on stderr, and only on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn


class Bars(Progress):
    """`rich.progress.Progress` on stderr; a string among the ``columns`` is a `TextColumn`. Nothing where nobody would see it."""

    def __init__(self, *columns: str | ProgressColumn) -> None:
        super().__init__(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)


@contextmanager
def quiet() -> Iterator[None]:
    """No lines of drift meanwhile: what a worker's operator must know would stand between the bars of a replay, whose report has it."""
    log = logging.getLogger("headrace")
    log.addFilter(_no_drift)
    try:
        yield
    finally:
        log.removeFilter(_no_drift)


def _no_drift(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("drift: ")
