"""Recorded logs: every form gives the same records, and a file that is not what it says is refused in words."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tracemalloc
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from online_models.errors import InputError
from streams import recorded_log
from streams.contracts.events import Event
from streams.recorded_log import MAX_LINE_BYTES, read, size
from streams.validate import validate

RECORDS = [
    b'{"timestamp":1400000000000,"user_id":"u%d","item_id":"i","event_type":"view","event_id":"%d"}'
    % (number % 7, number)
    for number in range(1000)
]
NOW = 2**41


def write(path: Path, data: bytes) -> str:
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_lines_come_as_they_are(tmp_path: Path, name: str) -> None:
    assert list(read(write(tmp_path / name, b"\n".join(RECORDS)))) == RECORDS
    assert list(read(write(tmp_path / name, b"\xef\xbb\xbf" + b"\r\n".join(RECORDS) + b"\r\n"))) == RECORDS


def test_gzip_is_known_by_its_first_bytes_and_may_have_several_members(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(gzip.compress(RECORDS[0] + b"\n") + gzip.compress(RECORDS[1]))
    assert list(read(str(path))) == RECORDS[:2]


def test_garbage_comes_through_and_blank_lines_do_not(tmp_path: Path) -> None:
    path = write(tmp_path / "log", b'nonsense\n\n  \n{"a":1}\n\xff\xfe\x00\n[]')
    assert list(read(path)) == [b"nonsense", b'{"a":1}', b"\xff\xfe\x00", b"[]"]


def test_an_endless_line_is_cut_and_the_next_one_is_whole(tmp_path: Path) -> None:
    long = b"x" * (3 * MAX_LINE_BYTES + 5)
    exact = b"y" * (MAX_LINE_BYTES - 1)
    path = write(tmp_path / "log", b"\n".join([b"first", long, exact, b"last"]))
    assert list(read(path)) == [b"first", long[:MAX_LINE_BYTES], exact, b"last"]


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    path = write(tmp_path / "log.gz", (b"\n".join(RECORDS) + b"\n") * 100)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read(path)) == 100_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz", "log.parquet"])
def test_progress_rises_to_the_size_of_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".parquet":
        columns = {column: ["x"] * 9000 for column in recorded_log.REQUIRED}
        pq.write_table(pa.table(columns), path)
    else:
        write(path, b"\n".join(RECORDS * 9))
    seen: list[int] = []
    list(read(str(path), seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == size(str(path)) == path.stat().st_size
    assert len(seen) > 2


def test_parquet_rows_are_events(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    time = datetime(2020, 1, 1, tzinfo=timezone.utc)
    columns = {
        "timestamp": [time, time],
        "user_id": ["u", "ü"],
        "item_id": ["i", "j"],
        "event_type": ["view", "rating"],
        "value": [None, 4.5],
        "context": [None, {"device": "phone"}],
    }
    pq.write_table(pa.table(columns), path)
    events = [validate(raw, NOW, event_id=str(line)) for line, raw in enumerate(read(str(path)))]
    ms = int(time.timestamp() * 1000)
    assert events == [
        Event(event_id="0", timestamp=ms, user_id="u", item_id="i", event_type="view"),
        Event(
            event_id="1",
            timestamp=ms,
            user_id="ü",
            item_id="j",
            event_type="rating",
            value=4.5,
            context={"device": "phone"},
        ),
    ]


def test_parquet_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    columns = {"timestamp": [1], "user_id": ["u"], "item_id": ["i"], "event_type": ["view"], "other": [None]}
    pq.write_table(pa.table(columns), path)
    assert list(read(str(path))) == [b'{"timestamp":1,"user_id":"u","item_id":"i","event_type":"view"}']


def test_parquet_without_a_required_column_names_it(tmp_path: Path) -> None:
    pq.write_table(pa.table({"timestamp": [1], "user_id": ["u"], "item": ["i"]}), tmp_path / "log.parquet")
    with pytest.raises(InputError, match="none named item_id, event_type"):
        list(read(str(tmp_path / "log.parquet")))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("log.jsonl.gz", gzip.compress(b"\n".join(RECORDS))[:-20], "whole gzip file"),
        ("log.jsonl.gz", b"\x1f\x8b" + b"nonsense", "whole gzip file"),
        ("log.jsonl.gz", b"plain text", "take .gz off its name"),
        ("log.jsonl.gz", b"", "gzip file"),
        ("log.parquet", b"plain text", "Parquet file"),
        ("log.parquet", b"PAR1 and no more", "Parquet file"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        list(read(str(tmp_path / name)))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file at"):
        read(str(tmp_path / "absent"))
    with pytest.raises(InputError, match="a folder at"):
        read(str(tmp_path))


def test_an_empty_log_has_no_records(tmp_path: Path) -> None:
    assert list(read(write(tmp_path / "log.jsonl", b""))) == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input(pack: type[bytes]) -> None:
    program = "from streams.recorded_log import read, size; print(size('-'), len(list(read('-'))))"
    result = subprocess.run(
        [sys.executable, "-c", program], input=pack(b"\n".join(RECORDS)), capture_output=True, check=True
    )
    assert result.stdout == b"None 1000\n"


def test_stopping_early_closes_the_file(tmp_path: Path) -> None:
    records = read(write(tmp_path / "log.jsonl.gz", b"\n".join(RECORDS)))
    assert next(records) == RECORDS[0]
    del records
