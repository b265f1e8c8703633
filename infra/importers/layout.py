"""What a format is: a name, and the layouts in which its files come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from online_models.errors import InputError

from .rows import Convert, Rows
from .sources import Source


class Layout(Protocol):
    """One way in which a file is laid out: `Table`, `JsonLines` or `Parquet`."""

    @property
    def expected(self) -> str:
        """What such a file looks like, for people."""

    @property
    def convert(self) -> Convert:
        """Cells of one row → event fields."""

    def score(self, source: Source) -> int:
        """0 when the file is not laid out so; the higher, the better it fits."""

    def rows(self, source: Source) -> Rows:
        """The rows, numbered as in the file, one at a time."""


@dataclass(frozen=True)
class Options:
    """What can be said about a file besides its format. Which of them a format takes stands in its description."""

    columns: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] | None = None
    delimiter: str | None = None
    time_format: str | None = None
    event_type: str | None = None
    item: str = "track"


@dataclass(frozen=True)
class Format:
    """A public data set, or a kind of file.

    ``short`` begins the event ids. ``example`` is a whole command line. ``files`` are the names under which the
    data set is published, looked for in folders and archives. ``takes`` names the options that
    say something about it; ``locate`` finds data without a path.
    ``refusal`` says what a file lacks that none of the layouts fits, where more can be said than ``remedy``.
    """

    name: str
    short: str
    summary: str
    example: str
    layouts: Callable[[Options], Sequence[Layout]]
    files: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    refusal: Callable[[Options, Source], InputError | None] = lambda options, source: None
    remedy: str = "check FORMAT and PATH"
    locate: Callable[[], Path] | None = None
