"""A part of the archive: all that happened from a time on, little of what was before, and the same part each time."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.archive_rows import Rows
from infra.archive_store import open_store
from offline.excerpt import DAY_MS, Excerpt
from offline.log import read
from streams.contracts.events import Event

FIRST = 20_000
DAYS, A_DAY, FILES = 100, 60, 3


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 dates of 60 events, three files each."""
    folder = tmp_path_factory.mktemp("archive")
    each = A_DAY // FILES
    with open_store(folder, "events") as store:
        for start in range(0, DAYS * A_DAY, each):
            rows = Rows()
            for number in range(start, start + each):
                user, item = f"u{number % 50}", f"i{number % 7}"
                at = FIRST * DAY_MS + number * (DAY_MS // A_DAY)
                rows.add(
                    number, Event(timestamp=at, user_id=user, item_id=item, event_type="view", event_id=f"e{number}")
                )
            store.write(0, start, start + each - 1, rows)
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def rows(found: list[Path]) -> int:
    return sum(pq.read_metadata(file).num_rows for file in found)


def test_all_that_happened_since_is_read_and_little_of_what_was_before(archive: Path) -> None:
    since = (FIRST + 90) * DAY_MS + DAY_MS // 2
    whole, part = read(archive), read(archive, excerpt=Excerpt(since, 600))
    assert len(whole) == DAYS * A_DAY
    assert (part.times >= since).sum() == (whole.times >= since).sum() == 9 * A_DAY + A_DAY // 2
    assert 500 <= (part.times < since).sum() <= 700


def test_the_past_that_is_read_is_half_the_newest_and_half_from_many_dates(archive: Path) -> None:
    since = (FIRST + 90) * DAY_MS
    chosen = Excerpt(since, 600).of(files(archive))
    assert chosen == sorted(chosen)
    days = {int((file.name).split("-")[2]) // A_DAY for file in chosen}
    assert set(range(86, 100)) <= days
    farther = days - set(range(85, 100))
    assert len(farther) >= 12, "one file of each"
    assert min(farther) < 30
    assert rows(chosen) <= 10 * A_DAY + 600 + A_DAY
    assert Excerpt(since, 600).of(files(archive)) == chosen
    assert Excerpt(since + 1, 600).of(files(archive)) != chosen, "of another time another sample"


def test_a_past_that_is_short_is_read_whole(archive: Path) -> None:
    assert Excerpt((FIRST + 5) * DAY_MS, 100_000).of(files(archive)) == files(archive)
    assert rows(Excerpt((FIRST + DAYS) * DAY_MS, 0).of(files(archive))) <= A_DAY // FILES


def test_files_of_other_programs_are_told_apart_by_their_footers(tmp_path: Path) -> None:
    def file(name: str, day: int, **options: object) -> Path:
        path = tmp_path / name
        stamps = pa.array([day * DAY_MS], pa.int64())
        if options.pop("as_time", False):
            stamps = stamps.cast(pa.timestamp("ms"))
        texts = {name: ["a"] for name in ("user_id", "item_id", "event_type")}
        pq.write_table(pa.table({"timestamp": stamps, **texts}), path, **options)
        return path

    old, new = file("a.parquet", 5), file("b.parquet", 15)
    old_time, new_time = file("c.parquet", 5, as_time=True), file("d.parquet", 15, as_time=True)
    silent = file("e.parquet", 5, write_statistics=False)
    (broken := tmp_path / "f.parquet").write_bytes(b"PAR1")
    found = Excerpt(10 * DAY_MS, 0).of([old, new, old_time, new_time, silent, broken])
    assert found == [new, new_time, silent, broken]


def test_who_looks_may_end_the_reading(archive: Path) -> None:
    looks = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        read(archive, look=look)
