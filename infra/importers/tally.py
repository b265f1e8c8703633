"""What became of the rows: how many were kept, how many were dropped, why, and where that was first seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone

from infra.text import printable
from streams.config import DEFAULT_WEIGHTS

from .rows import BLANK, BadRow

_MAX_WORDS = 32


@dataclass
class Drop:
    """One reason: how often, and the first place (file and line) with what stood there."""

    count: int
    first: str
    detail: str

    @property
    def said(self) -> str:
        """Place and what stood there, fit for a terminal."""
        return printable(self.first + ": " * bool(self.detail) + self.detail)


@dataclass
class Tally:
    """Counts of one import. ``read`` = kept + dropped; blank lines are counted apart.

    >>> tally = Tally(read=3, event_types=Counter({"view": 2}))
    >>> tally.drop(BadRow("bad_time", "yesterday"), "log.csv:7")
    >>> print(tally.report("out.jsonl"))
    3 rows read, 2 kept, 1 dropped → out.jsonl
      kept     2  view
      dropped  1  bad_time (first at log.csv:7: yesterday)
    """

    read: int = 0
    blank: int = 0
    event_types: Counter[str] = field(default_factory=Counter)
    drops: dict[str, Drop] = field(default_factory=dict)
    first_ms: int | None = None
    last_ms: int | None = None
    runs: int = 0

    @property
    def kept(self) -> int:
        """Rows that became events."""
        return self.event_types.total()

    @property
    def dropped(self) -> int:
        """Rows that did not become events."""
        return sum(drop.count for drop in self.drops.values())

    def drop(self, bad: BadRow, place: str) -> None:
        """Count one row that is not kept."""
        if bad.reason == BLANK:
            self.blank += 1
        elif found := self.drops.get(bad.reason):
            found.count += 1
        else:
            self.drops[bad.reason] = Drop(1, place, bad.detail[:80])

    def keep(self, event_type: str, timestamp: int) -> None:
        """Count one event. Past a few dozen words the others count as one: a wrong column cannot fill memory."""
        self.first_ms = timestamp if self.first_ms is None else min(self.first_ms, timestamp)
        self.last_ms = timestamp if self.last_ms is None else max(self.last_ms, timestamp)
        words = self.event_types
        words[event_type if event_type in words or len(words) < _MAX_WORDS else "(other words)"] += 1

    def report(self, log: str) -> str:
        """The closing count, for people."""
        lines = [f"{self.read:,} rows read, {self.kept:,} kept, {self.dropped:,} dropped → {log}"]
        rows = [("kept", count, word) for word, count in _ranked(self.event_types)]
        drops = sorted(self.drops.items(), key=lambda item: (-item[1].count, item[0]))
        for reason, drop in drops:
            rows.append(("dropped", drop.count, f"{reason} (first at {drop.said})"))
        if self.blank:
            rows.append(("skipped", self.blank, "blank lines"))
        width = max((len(f"{count:,}") for _, count, _ in rows), default=0)
        lines += [f"  {what:<7}  {count:>{width},}  {text}" for what, count, text in rows]
        if self.first_ms is not None and self.last_ms is not None:
            lines.append(f"  from {_day(self.first_ms)} to {_day(self.last_ms)}" + self._sorting())
        if unknown := [word for word, _ in _ranked(self.event_types) if word not in DEFAULT_WEIGHTS]:
            lines.append(
                f"  nothing will be learned from {', '.join(unknown)} until the settings give a weight: "
                f"[pipeline.weights] (docs/configuration.md)"
            )
        return "\n".join(lines)

    def _sorting(self) -> str:
        return f", sorted on disk in {self.runs} run{'s' * (self.runs > 1)}" if self.runs else ""


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
