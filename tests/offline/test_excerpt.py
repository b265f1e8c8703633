"""A part of the archive: all that happened from a time on, little of what was before, and the same part each time."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.archive_rows import Rows
from infra.archive_store import open_store
from offline.excerpt import DATES, DAY_MS, Excerpt, Part
from offline.log import read
from streams.contracts.events import Event

FIRST = 20_000
DAYS, A_DAY, FILES = 100, 60, 3
EPOCH = date(1970, 1, 1).toordinal()


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


def rows(found: list[Part]) -> float:
    return sum(part.share * pq.read_metadata(part.file).num_rows for part in found)


def written(folder: Path, name: str, times: list[int], users: list[str], **options: Any) -> Path:
    """A file as another program may write it."""
    (path := folder / name).parent.mkdir(exist_ok=True)
    texts = {"user_id": users, "item_id": ["i"] * len(users), "event_type": ["view"] * len(users)}
    pq.write_table(pa.table({"timestamp": pa.array(times, pa.int64()), **texts}), path, **options)
    return path


def test_all_that_happened_since_is_read_and_little_of_what_was_before(archive: Path) -> None:
    since = (FIRST + 90) * DAY_MS + DAY_MS // 2
    whole, part = read(archive), read(archive, excerpt=Excerpt(since, 600))
    assert len(whole) == DAYS * A_DAY
    assert (part.times >= since).sum() == (whole.times >= since).sum() == 9 * A_DAY + A_DAY // 2
    assert 500 <= (part.times < since).sum() <= 700


def test_the_past_that_is_read_is_half_the_newest_and_half_from_many_dates(archive: Path) -> None:
    since = (FIRST + 90) * DAY_MS
    chosen = Excerpt(since, 600).of(files(archive))
    assert [part.file for part in chosen] == sorted(part.file for part in chosen)
    days = {int(part.file.name.split("-")[2]) // A_DAY for part in chosen}
    assert set(range(86, 100)) <= days
    farther = days - set(range(85, 100))
    assert len(farther) == DATES
    assert min(farther) < 30
    assert rows(chosen) <= 10 * A_DAY + 600 + A_DAY
    assert Excerpt(since, 600).of(files(archive)) == chosen
    assert Excerpt(since + 1, 600).of(files(archive)) != chosen, "of another time another sample"
    before = Excerpt(since, 600).of(files(archive)[:-1])
    assert {part.file for part in before} - {part.file for part in chosen}, (
        "other dates as soon as there is a file more"
    )


def test_a_past_that_is_short_is_read_whole(archive: Path) -> None:
    assert Excerpt((FIRST + 5) * DAY_MS, 100_000).of(files(archive)) == [Part(file) for file in files(archive)]
    assert rows(Excerpt((FIRST + DAYS) * DAY_MS, 0).of(files(archive))) <= A_DAY // FILES


def test_dates_of_few_events_are_drawn_until_there_are_enough(archive: Path) -> None:
    chosen = Excerpt((FIRST + 90) * DAY_MS, 4_800).of(files(archive))
    assert rows(chosen) == pytest.approx(10 * A_DAY + 4_800, abs=2 * A_DAY)


@pytest.mark.parametrize("group", [100, 1_000], ids=["of ten row groups", "of one row group"])
def test_of_large_files_some_users_are_drawn_with_all_that_they_did(group: int, tmp_path: Path) -> None:
    """As many events of a date as of small files, and as many dates."""
    for day in range(FIRST, FIRST + 40):
        times = [day * DAY_MS + n for n in range(1_000)]
        users = [f"u{day}-{n // 4}" for n in range(1_000)]
        written(tmp_path, f"date={date.fromordinal(EPOCH + day)}/events.parquet", times, users, row_group_size=group)
    excerpt = Excerpt((FIRST + 60) * DAY_MS, 1_200)
    part = read(tmp_path, excerpt=excerpt)
    assert part.refused == 0
    older = part.times // DAY_MS < FIRST + 39
    assert len({*(part.times[older] // DAY_MS).tolist()}) == DATES
    assert 400 < older.sum() < 800
    assert (np.bincount(part.users[older])[np.unique(part.users[older])] == 4).all(), "sessions are whole"
    assert len(excerpt.of(files(tmp_path))) == DATES + 1


def test_a_date_of_a_time_zone_behind_is_not_missed(tmp_path: Path) -> None:
    """The evening of a date is the next day in UTC."""
    evening = 11 * DAY_MS + DAY_MS // 3
    file = written(tmp_path, f"date={date.fromordinal(EPOCH + 10)}/a.parquet", [evening], ["u"])
    assert Excerpt(evening, 0).of([file]) == [Part(file)]
    assert Excerpt(11 * DAY_MS + 1, 0).of([file]) == [Part(file)]
    assert Excerpt(evening + 1, 0).of([file]) == []


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
    assert found == [Part(file) for file in (new, new_time, silent, broken)]


def test_who_looks_may_end_the_reading(archive: Path) -> None:
    looks = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        read(archive, look=look)
