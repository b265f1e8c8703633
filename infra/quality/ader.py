"""The protocol of ADER (Mi, Lin, Faltings, RecSys 2020) as a plan: learn the periods before t, rank the next items of period t.

The set is a folder of files ``period_0.txt.gz``, ``period_1.txt.gz`` and so on, one event a line, ``session item``, in order of time; the
sessions of a period lie across each other. What is tested of period t: its sessions without the items that no earlier period holds, if at
least two events are left; of these every event but the first is asked for. All items of earlier periods may be ranked, also the one that
the session is on. A session is a user; one whose id comes again in a later period is another one there, as each file stands alone.

The files have no times. Events get one each `STEP_MS`, so that the order stays and no session has a silence that would end it.
"""

from __future__ import annotations

import gzip
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from online_models.errors import InputError
from streams.config import PipelineConfig
from streams.contracts.events import Event, Source

from .plan import Draft, Ints, Plan

SETS = {"ader-diginetica": "DIGINETICA", "ader-yoochoose": "YOOCHOOSE"}
"""Name of a set → its folder."""
START_MS = 1_400_000_000_000
STEP_MS = 60
"""Between two events. In the two sets the longest way from one event of a session to the next is 27,644 lines: 28 minutes."""


@dataclass(frozen=True)
class Periods:
    """Events of all periods in order: names of ``sessions`` and numbers of ``items`` [events], in order of first appearance; ``names`` of
    items by number; ``bounds`` where periods begin, and the end."""

    sessions: list[str]
    items: Ints
    names: list[str]
    bounds: tuple[int, ...]


def folder_of(name: str, data: Path | None) -> Path:
    """Where a set lies under ``data``. Raises InputError where it does not."""
    found = [data / part / SETS[name] for part in (".", "ader")] if data is not None else []
    for folder in found:
        if (folder / "period_0.txt.gz").is_file():
            return folder
    where = f"none in {data}" if data is not None else "no --data"
    remedy = f"give the folder that holds {SETS[name]}/ with --data (the files are in the ADER repository)"
    raise InputError(f"period_0.txt.gz and so on of {name}", where, remedy)


def read(folder: Path, last: int | None = None, limit: int | None = None) -> Periods:
    """Periods 0 to ``last`` (None: all there are), of each the first ``limit`` events. Raises InputError on a file that is another."""
    sessions: list[str] = []
    items: list[int] = []
    numbers: dict[str, int] = {}
    bounds = [0]
    while last is None or len(bounds) <= last + 1:
        file = folder / f"period_{len(bounds) - 1}.txt.gz"
        if not file.is_file():
            _refuse_gap(folder, len(bounds) - 1)
            break
        for n, line in enumerate(_lines(file)):
            if n == limit:
                break
            parts = line.split()
            if len(parts) != 2:
                raise InputError("`session item` on each line", f"{line!r} in line {n + 1} of {file}", "unpack it anew")
            sessions.append(f"{len(bounds) - 1}/{parts[0]}")
            items.append(numbers.setdefault(parts[1], len(numbers)))
        bounds.append(len(items))
    if len(bounds) < 3:
        raise InputError("at least two periods", f"{len(bounds) - 1} in {folder}", "give the folder of the whole set")
    return Periods(sessions, np.array(items, np.int64), list(numbers), tuple(bounds))


def _lines(file: Path) -> list[str]:
    """The lines of a period. Raises InputError where the file is damaged or has none."""
    try:
        lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise InputError("a whole gzip file of text", f"{file} ({error})", "fetch it again") from error
    if not lines:
        raise InputError("a period with events", f"none in {file}", "fetch it again")
    return lines


def _refuse_gap(folder: Path, missing: int) -> None:
    """Raise InputError if there is a period after one that is missing."""
    numbers = [file.name.removeprefix("period_").removesuffix(".txt.gz") for file in folder.glob("period_*.txt.gz")]
    later = [int(number) for number in numbers if number.isdecimal() and int(number) > missing]
    if later:
        raise InputError(
            f"period_{missing}.txt.gz before period_{min(later)}.txt.gz",
            f"none in {folder}",
            "give the folder of the whole set",
        )


def plan(name: str, periods: Periods, config: PipelineConfig) -> Plan:
    """The queries of all periods from 1 on, and what a reader that does not learn is told of them."""
    draft = Draft()
    kept = np.zeros(len(periods.items), np.bool_)
    longest = 0
    blocks = 0
    for period in range(1, len(periods.bounds) - 1):
        seen = int(periods.items[: periods.bounds[period]].max()) + 1
        blocks, far = _ask(draft, periods, kept, period, seen, blocks)
        longest = max(longest, far)
    if longest * STEP_MS > config.sessions.gap_s * 1000:
        need = -(-longest * STEP_MS // 1000)
        raise InputError(f"sessions.gap_s of at least {need} s", f"{config.sessions.gap_s} s", "leave it as it comes")
    numbers = {item: n for n, item in enumerate(periods.names)}
    return Plan(name, lambda: events(periods), numbers, periods.bounds, kept=kept, **draft.arrays())


def _ask(
    draft: Draft, periods: Periods, kept: npt.NDArray[np.bool_], period: int, seen: int, blocks: int
) -> tuple[int, int]:
    """The queries of one period; returns the number of sessions so far, and the longest way between two events of one, in lines."""
    begin, end = periods.bounds[period : period + 2]
    known = [n for n in range(begin, end) if periods.items[n] < seen]
    left: dict[str, int] = {}
    for n in known:
        left[periods.sessions[n]] = left.get(periods.sessions[n], 0) + 1
    first = {item: n for n, item in reversed(list(enumerate(periods.items[:begin].tolist())))}
    asked: dict[str, tuple[int, int]] = {}
    latest: dict[str, int] = {}
    longest = 0
    for n in range(begin, end):
        name = periods.sessions[n]
        longest = max(longest, n - latest.get(name, n))
        latest[name] = n
    for n in known:
        name = periods.sessions[n]
        if left[name] < 2:
            continue
        kept[n] = True
        block, position = asked.get(name, (blocks, 0))
        blocks += position == 0
        asked[name] = block, position + 1
        if position:
            item = int(periods.items[n])
            draft.ask(
                [item], event=n, seen=seen, session=block, stratum=period, position=position, history=position,
                age=(n - first[item]) * STEP_MS, born=bisect_right(periods.bounds, first[item]) - 1,
            )  # fmt: skip
    return blocks, longest


def events(periods: Periods) -> Iterator[tuple[Event, Source]]:
    """The stream: clicks, each at a time of its own."""
    for n, (session, item) in enumerate(zip(periods.sessions, periods.items.tolist(), strict=True)):
        event = Event(
            timestamp=START_MS + n * STEP_MS, user_id=session, session_id=session, item_id=periods.names[item], event_type="click",
            event_id=str(n),
        )  # fmt: skip
        yield event, Source(0, n)
