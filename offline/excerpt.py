"""Which part of an archive a training that goes on from a live version needs: what happened since, and a bounded part of what was before.

The archive is partitioned by the events' date, so most files of the past are told by their folder and never opened; what a file
of a date in doubt holds, its footer says. Of the past, users are drawn and not events, so that sessions stay whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from hashlib import blake2b
from pathlib import Path
from typing import Any

from .arrow import arrow

DAY_MS = 86_400_000

DATES = 20
"""So many dates, if there are as many, give what is drawn from all the past; more, where they have few events."""


@dataclass(frozen=True)
class Part:
    """Of a Parquet file all events; or of a row group (None: of all) those of a ``share`` of the users, drawn by ``draw``."""

    file: Path
    group: int | None = None
    share: float = 1.0
    draw: str = ""

    def keeps(self, user: str) -> bool:
        """Whether the user's events belong to it."""
        return self.share >= 1 or _chance(self.draw, user) < self.share


@dataclass(frozen=True)
class Excerpt:
    """All events from ``since_ms`` (ms since the epoch) on, and about ``before`` older ones.

    Half of the older ones are the newest there are, in whole files. Half are of `DATES` dates or more drawn from all the past,
    however large files are: of a large one some of the users. The draw is a function of ``since_ms`` and of how many files there are.
    """

    since_ms: int
    before: int

    def of(self, files: Sequence[Path]) -> list[Part]:
        """What it needs of the Parquet ``files``, in their order."""
        needed: dict[Path, Part] = {}
        past: dict[str, list[Path]] = {}
        for file in files:
            if self._may_hold(file):
                needed[file] = Part(file)
            else:
                past.setdefault(file.parent.name, []).append(file)
        most = self.before // 2
        for file in (f for name in sorted(past, reverse=True) for f in sorted(past[name], key=_offset, reverse=True)):
            if most <= 0:
                break
            needed[file], most = Part(file), most - _rows(file)
        left = {name: rest for name, found in past.items() if (rest := [file for file in found if file not in needed])}
        draw = f"{self.since_ms} {len(files)}"
        most = self.before - self.before // 2
        each = math.ceil(most / max(1, min(DATES, len(left))))
        for name in sorted(left, key=lambda name: _chance(draw, name)):
            if most <= 0:
                break
            drawn, events = _drawn(sorted(left[name], key=_offset), min(each, most), f"{draw} {name}")
            needed, most = needed | drawn, most - events
        return [needed[file] for file in files if file in needed]

    def _may_hold(self, file: Path) -> bool:
        """Whether it may hold an event from ``since_ms`` on; a date that may be another time zone's is not relied on."""
        day = _day_of(file.parent.name)
        if day is not None and (day + 2) * DAY_MS <= self.since_ms:
            return False
        newest = _newest_ms(file)
        return newest is None or newest >= self.since_ms


def _drawn(files: Sequence[Path], most: int, draw: str) -> tuple[dict[Path, Part], int]:
    """About ``most`` events of the files of one date, and how many: from one drawn by chance on, of a large one a row group drawn by
    chance."""
    needed: dict[Path, Part] = {}
    first, left = int(_chance(draw, files[0].name) * len(files)), most
    for file in (*files[first:], *files[:first]):
        if left <= 0:
            break
        groups = _groups(file)
        group = int(_chance(draw, file.name) * len(groups)) if sum(groups) > left else None
        rows = sum(groups) if group is None else groups[group]
        needed[file] = Part(file, group, min(1.0, left / max(1, rows)), draw)
        left -= min(left, rows)
    return needed, most - left


def _chance(draw: str, name: str) -> float:
    """A number from 0 to 1, the same each time, as good as by chance.

    >>> _chance("a", "b") == _chance("a", "b") != _chance("a", "c")
    True
    """
    return int.from_bytes(blake2b(f"{draw} {name}".encode(), digest_size=8).digest(), "little") / 2**64


def _day_of(folder: str) -> int | None:
    """The day since the epoch that a folder of the archive is for.

    >>> _day_of("date=1970-01-03"), _day_of("date=lately"), _day_of("logs")
    (2, None, None)
    """
    key, _, value = folder.partition("=")
    try:
        return (date.fromisoformat(value) - date(1970, 1, 1)).days if key == "date" else None
    except ValueError:
        return None


def _offset(file: Path) -> tuple[str, str]:
    """What sorts the files of a date by when they were written, over all partitions: the archive's names end in an offset."""
    return file.stem.rpartition("-")[2], file.name


def _rows(file: Path) -> int:
    return sum(_groups(file))


def _groups(file: Path) -> list[int]:
    """Events in each row group."""
    found = _footer(file)
    return [] if found is None else [int(found.row_group(number).num_rows) for number in range(found.num_row_groups)]


def _newest_ms(file: Path) -> int | None:
    """Time of the newest event, as the footer says it; None where it does not."""
    found = _footer(file)
    if found is None or "timestamp" not in found.schema.names:
        return None
    column = found.schema.names.index("timestamp")
    groups = [found.row_group(number).column(column).statistics for number in range(found.num_row_groups)]
    if not all(group is not None and group.has_min_max for group in groups):
        return None
    return max((_ms(group.max) for group in groups), default=None)


def _ms(value: int | datetime) -> int:
    if isinstance(value, int):
        return value
    aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return int(aware.timestamp() * 1000)


def _footer(file: Path) -> Any | None:
    """None where there is none that can be read: to say so is the reader's affair."""
    pa = arrow()
    try:
        return pa.parquet.read_metadata(file)
    except (pa.ArrowException, OSError):
        return None
