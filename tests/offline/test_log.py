"""Logs and archives become the same arrays."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline import log
from online_models.errors import InputError

MINUTE = 60_000
T = 1_500_000_000_000


def event(time: int, user: str, item: str, kind: str = "click", **more: Any) -> dict[str, Any]:
    return {"timestamp": T + time, "user_id": user, "item_id": item, "event_type": kind, **more}


EVENTS = [
    event(0, "u", "a"),
    event(1_000, "v", "b"),
    event(1_000, "u", "c"),
    event(500, "u", "b"),  # late
    event(2_000, "u", "x", "impression"),
    event(31 * MINUTE + 1_000, "u", "a"),
    event(40 * MINUTE, "v", "a", session_id="s1"),
    event(80 * MINUTE, "v", "b", session_id="s1"),
]


def written(folder: Path, events: list[dict[str, Any]]) -> Path:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(e) + "\n" for e in events))
    return path


def plain(found: log.Log) -> list[tuple[int, str, str, int]]:
    return [
        (int(t) - T, found.user_ids[u], found.item_ids[i], int(s))
        for t, u, i, s in zip(found.times, found.users, found.items, found.sessions, strict=True)
    ]


EXPECTED = [
    (0, "u", "a", 0),
    (500, "u", "b", 0),
    (1_000, "v", "b", 1),
    (1_000, "u", "c", 0),
    (31 * MINUTE + 1_000, "u", "a", 2),
    (40 * MINUTE, "v", "a", 3),
    (80 * MINUTE, "v", "b", 3),
]


def test_events_are_sorted_stably_and_cut_into_sessions(tmp_path: Path) -> None:
    found = log.read(written(tmp_path, EVENTS))
    assert plain(found) == EXPECTED
    assert found.user_ids == ["u", "v"]
    assert found.item_ids == ["a", "b", "c"]


def test_all_forms_are_read_alike(tmp_path: Path) -> None:
    path = written(tmp_path, EVENTS)
    packed = tmp_path / "log.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    rows = [{"session_id": None} | e for e in EVENTS]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "log.parquet")
    archive = tmp_path / "archive"
    for day, part in (("2017-07-14", rows[:5]), ("2017-07-15", rows[5:])):
        (archive / f"date={day}").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(part, table.schema), archive / f"date={day}" / "0.parquet")
    for form in (packed, tmp_path / "log.parquet", archive):
        assert plain(log.read(form)) == EXPECTED


def test_parquet_times_may_be_timestamps(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(EVENTS[:3])
    table = table.set_column(0, "timestamp", table["timestamp"].cast(pa.timestamp("ms")))
    pq.write_table(table, tmp_path / "log.parquet")
    assert [row[0] for row in plain(log.read(tmp_path / "log.parquet"))] == [0, 1_000, 1_000]


def test_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    path = written(tmp_path, EVENTS[:2])
    with path.open("ab") as file:
        file.write(b'{"timestamp": "x"}\n\xff\xfe\n\n' + json.dumps(event(9_000, "", "a")).encode() + b"\n")
    found = log.read(path)
    assert (len(found), found.refused) == (2, 3)


def test_an_event_that_came_again_counts_once_in_every_form(tmp_path: Path) -> None:
    """At least once: a shop sends an event twice, and topic, archive and recorded log hold it twice."""
    events = [event(n, "u", f"i{n}", event_id=f"e{n}") for n in range(4)]
    twice = [*events[:3], events[1], events[3], event(9, "u", "i1", event_id="e1"), events[0]]
    path = written(tmp_path, twice)
    table = pa.Table.from_pylist(twice)
    pq.write_table(table, tmp_path / "log.parquet")
    archive = tmp_path / "archive"
    for day, part in (("2017-07-14", table.slice(0, 3)), ("2017-07-15", table.slice(3))):
        (archive / f"date={day}").mkdir(parents=True)
        pq.write_table(part, archive / f"date={day}" / "0.parquet")
    for form in (path, tmp_path / "log.parquet", archive):
        found = log.read(form)
        assert [(t, i) for t, _, i, _ in plain(found)] == [(0, "i0"), (1, "i1"), (2, "i2"), (3, "i3")]
        assert (found.repeated, found.refused) == (3, 0)


def test_events_without_an_id_are_all_different(tmp_path: Path) -> None:
    found = log.read(written(tmp_path, [event(0, "u", "a"), event(0, "u", "a"), event(0, "u", "a", event_id="")]))
    assert (len(found), found.repeated) == (3, 0)


def test_two_of_many_ids_are_not_taken_for_one(tmp_path: Path) -> None:
    found = log.read(written(tmp_path, [event(n, "u", "a", event_id=str(n)) for n in range(20_000)]))
    assert (len(found), found.repeated) == (20_000, 0)


@pytest.mark.parametrize(
    "wrong", [{"timestamp": T // 1000}, {"timestamp": T * 1000}, {"item_id": ""}, {"item_id": "x" * 257}, {"v": 2}]
)
def test_what_the_stream_refuses_does_not_teach_either(wrong: dict[str, Any], tmp_path: Path) -> None:
    """A time in seconds or microseconds would move the boundaries between training, validation and gate."""
    events = [event(0, "u", "a", v=1), event(1, "u", "b", v=1) | wrong]
    pq.write_table(pa.Table.from_pylist(events), tmp_path / "log.parquet")
    for path in (written(tmp_path, events), tmp_path / "log.parquet"):
        found = log.read(path)
        assert (len(found), found.refused) == (1, 1)


def test_numbers_are_no_ids(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([event(0, "u", "a") | {"item_id": 5}]), tmp_path / "log.parquet")
    with pytest.raises(InputError, match=r"none in .* \(1 records refused\)"):
        log.read(tmp_path / "log.parquet")


def test_only_the_types_that_teach_are_learned(tmp_path: Path) -> None:
    assert plain(log.read(written(tmp_path, EVENTS), {"impression"})) == [(2_000, "u", "x", 0)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "nothing at"),
        ("empty.jsonl", b"", "events of the types"),
        ("half.jsonl.gz", gzip.compress(b"{}\n" * 1000, mtime=0)[:-12], "a whole gzip file"),
        ("broken.parquet", b"PAR1 nonsense", "a Parquet file"),
    ],
)
def test_a_log_that_is_none_is_refused(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        log.read(tmp_path / name)


def test_an_empty_archive_and_missing_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an archive"):
        log.read(tmp_path)
    pq.write_table(pa.table({"timestamp": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no user_id, item_id, event_type"):
        log.read(tmp_path)
