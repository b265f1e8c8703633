"""Which files of an archive a training that goes on from a live version needs: what happened since, and a bounded part of what was before.

The archive is partitioned by the events' date, so most files of the past are told by their folder and never opened; what a file
of a date in doubt holds, its footer says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from hashlib import blake2b
from pathlib import Path
from typing import Any

from .arrow import arrow

DAY_MS = 86_400_000

SHARE = 20
"""Of what is drawn from the past, one date gives this part at most (in whole files), so that it is drawn from many."""


@dataclass(frozen=True)
class Excerpt:
    """All events from ``since_ms`` (ms since the epoch) on, and whole files with about ``before`` older ones at most.

    Half of the older ones are the newest there are, half are of dates drawn from all the past, by chance that is a function
    of ``since_ms``.
    """

    since_ms: int
    before: int

    def of(self, files: Sequence[Path]) -> list[Path]:
        """Those of the Parquet ``files`` that it needs, in their order."""
        needed: set[Path] = set()
        past: dict[str, list[Path]] = {}
        for file in files:
            if self._may_hold(file):
                needed.add(file)
            else:
                past.setdefault(file.parent.name, []).append(file)
        newest = sorted(past, reverse=True)
        drawn = sorted(past, key=lambda name: blake2b(f"{self.since_ms} {name}".encode()).digest())
        half = self.before // 2
        _add(needed, past, newest, half, half)
        _add(needed, past, drawn, self.before - half, max(1, half // SHARE))
        return [file for file in files if file in needed]

    def _may_hold(self, file: Path) -> bool:
        """Whether it may hold an event from ``since_ms`` on; a date that may be another time zone's is not relied on."""
        day = _day_of(file.parent.name)
        if day is not None and (day + 2) * DAY_MS <= self.since_ms:
            return False
        newest = _newest_ms(file)
        return newest is None or newest >= self.since_ms


def _add(needed: set[Path], past: Mapping[str, Sequence[Path]], names: Iterable[str], most: int, each: int) -> None:
    """Add files of the folders ``names`` until they hold ``most`` events, and ``each`` of one folder: its newest files."""
    for name in names:
        room = min(most, each)
        for file in sorted((f for f in past[name] if f not in needed), key=_offset, reverse=True):
            if room <= 0:
                break
            rows = _rows(file)
            needed.add(file)
            room, most = room - rows, most - rows
        if most <= 0:
            return


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
    found = _footer(file)
    return 0 if found is None else int(found.num_rows)


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
