from __future__ import annotations

import gzip
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from infra.importers import sorted_log
from infra.importers.sorted_log import SortedLog
from online_models.errors import InputError


def line(timestamp: int, number: int) -> bytes:
    return b'{"timestamp":%d,"n":%d}\n' % (timestamp, number)


def entries(count: int, seed: int = 1) -> list[tuple[int, bytes]]:
    """Times in disorder with many ties, each line with its place in the input."""
    draw = random.Random(seed)
    return [(time, line(time, n)) for n, time in enumerate(draw.randrange(-5, 50) for _ in range(count))]


def write(path: Path, given: Iterable[tuple[int, bytes]], memory: int) -> SortedLog:
    with SortedLog(path, memory) as log:
        for timestamp, text in given:
            log.add(timestamp, text)
        log.commit()
    return log


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
@pytest.mark.parametrize("memory", [1 << 30, 20_000, 2000, 1])
def test_sorts_stably_however_little_memory_there_is(tmp_path: Path, name: str, memory: int, monkeypatch) -> None:
    monkeypatch.setattr(sorted_log, "_FAN_IN", 3)
    given = entries(700)
    log = write(tmp_path / name, given, memory)
    assert log.runs in {1 << 30: [0], 20_000: range(5, 10), 2000: range(50, 70), 1: range(600, 700)}[memory]
    data = (tmp_path / name).read_bytes()
    data = gzip.decompress(data) if name.endswith("gz") else data
    assert data.splitlines(keepends=True) == [text for _, text in sorted(given, key=lambda entry: entry[0])]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_sorted_input_is_not_sorted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_log, "_merge", None)
    given = sorted(entries(5000), key=lambda entry: entry[0])
    assert write(tmp_path / "log", given, 1).runs == 0
    assert (tmp_path / "log").read_bytes() == b"".join(text for _, text in given)


@pytest.mark.parametrize("name", ["log", "log.gz"])
def test_nothing_stays_when_the_work_is_broken_off(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("before")

    def broken_off() -> Iterator[tuple[int, bytes]]:
        yield from entries(50)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / name, broken_off(), 1)
    assert (tmp_path / name).read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["log", "log.gz"])
def test_an_empty_log(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, [], 1)
    data = (tmp_path / name).read_bytes()
    assert (gzip.decompress(data) if name == "log.gz" else data) == b""


@pytest.mark.parametrize(
    ("name", "message"),
    [("log.parquet", "import writes JSON Lines"), ("no/log", "create it first"), (".", "choose another name")],
)
def test_places_where_no_log_can_stand(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SortedLog(tmp_path / name)


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(InputError, match="expected a file name"):
        SortedLog(Path("/dev/null"))
