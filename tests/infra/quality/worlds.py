"""Small sets for the bench: periods in files as ADER's, logs in files, plans of them."""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec

from infra.quality import ader, logs
from infra.quality.plan import Plan
from streams.config import FilterConfig, PipelineConfig
from streams.contracts.events import Event

REPEATS = PipelineConfig(filters=FilterConfig(repeats=True))

Pairs = list[tuple[int, int]]


def write_periods(folder: Path, periods: Sequence[Pairs]) -> Path:
    """Files of `session item` lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, pairs in enumerate(periods):
        text = "".join(f"{session} {item}\n" for session, item in pairs)
        (folder / f"period_{n}.txt.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def ader_plan(folder: Path, periods: Sequence[Pairs]) -> Plan:
    return ader.plan("made-up", ader.read(write_periods(folder, periods)), REPEATS)


def walk(n: int, seed: int, first_session: int = 0, items: int = 30) -> Pairs:
    """Sessions that walk from an item to the next, four at a time, each 2 to 6 events long."""
    rng = random.Random(seed)
    out: Pairs = []
    live = {first_session + s: (rng.randrange(items), rng.randrange(2, 7)) for s in range(4)}
    latest = max(live)
    while len(out) < n:
        session = rng.choice(sorted(live))
        item, left = live[session]
        out.append((session, item))
        live[session] = (item + rng.choice((0, 1, 1, 2))) % items, left - 1
        if left == 1:
            del live[session]
            latest += 1
            live[latest] = rng.randrange(items), rng.randrange(2, 7)
    return out


def write_log(path: Path, events: Sequence[Event]) -> str:
    path.write_bytes(b"\n".join(msgspec.json.encode(event) for event in events) + b"\n")
    return str(path)


def log_plan(path: Path, events: Sequence[Event], config: PipelineConfig | None = None) -> Plan:
    return logs.plan(write_log(path, events), config or PipelineConfig())


def nothing(done: int, total: int) -> None:
    """Nobody watches."""
