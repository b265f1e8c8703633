"""The archive on disk: wherever its writer dies, each event is there once in the end, and nothing uncommitted is ever seen."""

from __future__ import annotations

import errno
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from infra import archive_store
from infra.archive_rows import COLUMNS, Rows
from infra.archive_store import DAY_MS, SERVICE, ArchiveBusy, Store, open_store
from online_models.errors import InputError, ServiceError
from streams import recorded_log
from streams.contracts.events import Event
from streams.validate import validate

T = 1_700_000_000_000
EVENTS = [
    Event(
        timestamp=T + number // 4 * 3_600_000 + (number % 3) * DAY_MS,
        user_id=f"u{number % 5}",
        item_id=f"i{number}",
        event_type="view",
        event_id=f"e{number}",
        context={"n": number, "größe": [1.5, None]} if number % 2 else None,
        value=number / 4 if number % 3 else None,
    )
    for number in range(40)
]
"""Offset → event; each range of some spreads over three dates or more. Every seventh record is no event."""


def valid(offset: int) -> bool:
    return offset % 7 != 3


class Killed(BaseException):
    """The process is gone: nothing of ours runs after it, as no handler of the store's catches it."""


class Faults:
    """Counts what is done to the disk and lets the n-th deed fail: before it is done, after it, or half way."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.at, self.how, self.count, self.kind = -1, "before", 0, Killed
        self.trace: list[tuple[str, str]] = []
        self.names: list[str] = []
        for owner, name in ((os, "fsync"), (os, "replace"), (pq, "write_table"), (Path, "mkdir"), (Path, "unlink")):
            patch.setattr(owner, name, self._watched(name, getattr(owner, name)))

    def arm(self, at: int, how: str = "before", kind: Any = Killed) -> None:
        self.at, self.how, self.kind, self.count = at, how, kind, 0
        self.trace, self.names = [], []

    def _watched(self, name: str, deed: Callable[..., Any]) -> Callable[..., Any]:
        def do(*args: Any, **more: Any) -> Any:
            due = self.count == self.at
            self.count += 1
            self.names.append(name)
            if due and self.how == "half" and name == "write_table":
                args[1].write(b"PAR1 and no more")
                raise self._fault()
            if due and self.how != "after":
                raise self._fault()
            result = deed(*args, **more)
            self.trace.append((name, _subject(args)))
            if due:
                raise self._fault()
            return result

        return do

    def _fault(self) -> BaseException:
        return OSError(errno.ENOSPC, "No space left on device") if self.kind is OSError else Killed()


def _subject(args: tuple[Any, ...]) -> str:
    if isinstance(args[0], int):
        return str(Path(f"/proc/self/fd/{args[0]}").readlink())
    return str(args[-1]) if isinstance(args[-1], Path) else str(getattr(args[1], "name", "")) if args[1:] else ""


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(monkeypatch)


def rows(first: int, last: int) -> tuple[Rows, int]:
    made = Rows()
    for offset in range(first, last + 1):
        if valid(offset):
            made.add(offset, EVENTS[offset])
    return made, last + 1 - first - len(made)


def work(folder: Path, cut: Callable[[], int], partition: int = 0) -> None:
    """What the process does: open, go on, range by range to the end."""
    with open_store(folder, "events", "id") as store:
        at = store.next(partition) or 0
        while at < len(EVENTS):
            last = min(at + cut(), len(EVENTS)) - 1
            made, refused = rows(at, last)
            store.write(partition, at, last, made, refused)
            at = last + 1


def seen(folder: Path) -> list[int]:
    """The offsets of all that a reader of ``*.parquet`` sees, each file checked against its name and its facts."""
    found = []
    for path in sorted(folder.rglob("*.parquet")):
        table = pq.read_table(path, partitioning=None)
        facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        offsets = table["offset"].to_pylist()
        assert offsets == sorted(offsets)
        assert int(facts["headrace.first_offset"]) <= offsets[0] <= offsets[-1] <= int(facts["headrace.last_offset"])
        assert path.name == (
            f"events-{int(facts['headrace.partition']):05d}-{int(facts['headrace.first_offset']):020d}"
            f"-{int(facts['headrace.last_offset']):020d}.parquet"
        )
        for row in table.to_pylist():
            assert f"date={archive_store.date_of(row['timestamp'] // DAY_MS)}" == path.parent.name
            event = EVENTS[row["offset"]]
            context = json.loads(row["context"]) if row["context"] else None
            assert (row["event_id"], row["value"], context) == (event.event_id, event.value, event.context)
        found += offsets
    return found


WHOLE = [offset for offset in range(len(EVENTS)) if valid(offset)]


def committed(folder: Path) -> int:
    path = folder / SERVICE / "partition-00000.json"
    return int(json.loads(path.read_text())["next"]) if path.exists() else 0


def check_after_a_fault(folder: Path) -> None:
    """Whatever is seen is committed and there once; all but the newest range is whole."""
    now = seen(folder)
    assert len(now) == len(set(now))
    assert max(now, default=-1) < committed(folder)


def deeds(folder: Path, faults: Faults) -> list[str]:
    """All that an undisturbed run does to the disk."""
    faults.arm(-1)
    work(folder, lambda: 15)
    assert sorted(seen(folder)) == WHOLE
    return faults.names


@pytest.mark.parametrize("kind", [Killed, OSError])
@pytest.mark.parametrize("how", ["before", "after", "half"])
def test_a_fault_at_any_step_loses_nothing_and_doubles_nothing(
    how: str, kind: Any, faults: Faults, tmp_path: Path
) -> None:
    names = deeds(tmp_path / "whole", faults)
    assert len(names) > 40
    for at in [at for at, name in enumerate(names) if how != "half" or name == "write_table"]:
        folder = tmp_path / f"{at}"
        faults.arm(at, how, kind)
        with pytest.raises(ServiceError if kind is OSError else Killed):
            work(folder, lambda: 15)
        check_after_a_fault(folder)
        faults.arm(-1)
        work(folder, lambda: 11)  # another cut: names of the first run are not overwritten by chance
        assert sorted(seen(folder)) == WHOLE
        assert not list(folder.rglob("*.tmp"))
        state = json.loads((folder / SERVICE / "partition-00000.json").read_text())
        assert (state["next"], state["events"], state["events"] + state["refused"]) == (40, len(WHOLE), 40)


@pytest.mark.parametrize("seed", range(20))
def test_dying_again_and_again_ends_well(seed: int, faults: Faults, tmp_path: Path) -> None:
    """Also while recovering."""
    rng = random.Random(seed)
    for _ in range(200):
        faults.arm(rng.randrange(30), rng.choice(["before", "after", "half"]))
        try:
            work(tmp_path, lambda: rng.randrange(1, 9))
        except Killed:
            check_after_a_fault(tmp_path)
        else:
            break
    faults.arm(-1)
    work(tmp_path, lambda: 5)
    assert sorted(seen(tmp_path)) == WHOLE


def test_a_range_is_on_disk_before_its_commit_and_seen_only_after_it(faults: Faults, tmp_path: Path) -> None:
    """What a loss of power would need is in the order of the syncs."""
    faults.arm(-1)
    work(tmp_path, lambda: 20)
    commit = f"{SERVICE}/partition-00000.json"
    trace = [(name, subject.removeprefix(f"{tmp_path}/")) for name, subject in faults.trace]
    at = trace.index(("replace", commit))
    before, after = trace[:at], trace[at + 1 : trace.index(("replace", commit), at + 1)]
    staged = [subject for name, subject in before if name == "write_table"]
    assert len(staged) > 3
    for subject in (*staged, f"{commit}.tmp", SERVICE, str(tmp_path)):
        written = max((n for n, deed in enumerate(before) if deed == ("write_table", subject)), default=0)
        assert ("fsync", subject) in before[written:], subject
    shown = [subject for name, subject in after if name == "replace"]
    assert after[0] == ("fsync", SERVICE)
    assert shown == [subject.split("/")[1].removesuffix(".tmp").replace("@", "/") for subject in staged]
    assert {("fsync", subject.split("/")[0]) for subject in shown} <= set(after)
    assert not [subject for name, subject in before if name == "replace"]


def test_a_range_without_events_is_covered_without_a_file(tmp_path: Path) -> None:
    with open_store(tmp_path, "events") as store:
        assert store.write(2, 7, 9, Rows(), refused=3) == []
        assert store.write(2, 12, 12, Rows(), refused=1, lost=2) == []
    with open_store(tmp_path, "events") as store:
        assert (store.next(2), store.next(0)) == (13, None)
        commit = store.commits[2]
        assert (commit.start, commit.events, commit.refused, commit.lost) == (7, 0, 4, 2)


def test_the_columns_are_those_of_the_contract(tmp_path: Path) -> None:
    work(tmp_path, lambda: 100)
    assert set(COLUMNS) == {"offset", *Event.__struct_fields__}
    for path in tmp_path.rglob("*.parquet"):
        read = [validate(raw, None) for raw in recorded_log.read(str(path))]
        offsets = pq.read_table(path, partitioning=None)["offset"].to_pylist()
        assert read == [EVENTS[offset] for offset in offsets]
        assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_dates_may_be_removed(tmp_path: Path) -> None:
    """Retention: files that are gone do not come back, and nobody minds."""
    work(tmp_path, lambda: 15)
    left = [path for path in sorted(tmp_path.rglob("*.parquet")) if not path.unlink() and path.exists()]
    assert left == []
    work(tmp_path, lambda: 15)
    assert seen(tmp_path) == []


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    made, refused = rows(0, 9)
    with open_store(tmp_path, "events", "id") as store:
        store.write(0, 0, 9, made, refused)
    return tmp_path


def test_another_topic_or_a_new_one_of_the_name_is_refused(begun: Path) -> None:
    with pytest.raises(InputError, match="one of topic events"), open_store(begun, "shop-events", "id"):
        pass
    with pytest.raises(ServiceError, match="made anew"), open_store(begun, "events", "id2"):
        pass
    with open_store(begun, "events", "00000000-0000-0000-0000-000000000000") as store:
        assert store.next(0) == 10, "a broker that tells no id"


def test_one_process_at_a_time(begun: Path) -> None:
    with open_store(begun, "events", "id"), pytest.raises(ArchiveBusy), open_store(begun, "events", "id"):
        pass
    with open_store(begun, "events", "id") as store:
        assert isinstance(store, Store)


@pytest.mark.parametrize("text", [b"", b"{}", b'{"format":2}', None])
def test_a_commit_that_is_damaged_or_gone_is_an_error(text: bytes | None, begun: Path) -> None:
    path = begun / SERVICE / "partition-00000.json"
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text)
    with pytest.raises(InputError, match=r"partition-00000\.json"), open_store(begun, "events", "id") as store:
        store.next(0)


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match="a folder to write"), open_store(tmp_path / "file", "events"):
        pass


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'headrace\[parquet\]'"):
        Rows()
