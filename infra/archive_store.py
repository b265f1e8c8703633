"""The archive on disk: which offsets it holds, and how more of them appear, whole or not at all.

    DIR/date=YYYY-MM-DD/events-<partition>-<first offset>-<last offset>.parquet     what everybody reads
    DIR/_archive/partition-<partition>.json                                         how far the archive goes: the commit
    DIR/_archive/*.tmp, DIR/_archive/lock                                           what is being written, and by whom

One range of offsets becomes one file for each date in it. They are written as ``.tmp`` and synced; then the commit is replaced,
which names them; then they are renamed to where they are read. So whatever can be seen is committed. A start after a crash
renames what the commit names and removes the rest: the offsets from the commit on are read again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from infra.archive_rows import Rows
from online_models.errors import InputError, ServiceError

FORMAT = 1
DAY_MS = 86_400_000
SERVICE = "_archive"
_NO_ID = {"", "00000000-0000-0000-0000-000000000000"}


class ArchiveBusy(ServiceError):
    """Another process archives into the folder."""


class Commit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far one partition is archived: all offsets from ``start`` up to, without, ``next``.

    ``events`` are in files, ``refused`` are records that are no events, ``lost`` offsets had gone from the topic before they were
    read. ``files`` are those of the newest range, relative to the archive.
    """

    topic: str
    topic_id: str
    partition: int
    start: int
    next: int
    events: int = 0
    refused: int = 0
    lost: int = 0
    files: tuple[str, ...] = ()
    format: int = FORMAT


class Store:
    """An archive of one topic, opened for writing by one process (`open_store`)."""

    def __init__(self, folder: Path, topic: str, topic_id: str) -> None:
        self.folder, self.topic, self.topic_id = folder, topic, topic_id
        self._service = folder / SERVICE
        self.commits: dict[int, Commit] = {}
        for path in sorted(self._service.glob("partition-*.json")):
            commit = _read(path)
            if commit.topic != topic:
                found = f"one of topic {commit.topic} in {folder}"
                raise InputError(f"an archive of topic {topic}", found, "name another folder (--out)")
            self.commits[commit.partition] = commit
        self.check_id(topic_id)
        self._recover()

    def check_id(self, topic_id: str) -> None:
        """Raise ServiceError if ``topic_id`` is not that of the topic that was archived until now."""
        for commit in self.commits.values():
            if commit.topic_id != topic_id and not _NO_ID & {commit.topic_id, topic_id}:
                raise anew(self.folder, self.topic, f"another one of that name (id {topic_id}, not {commit.topic_id})")

    def next(self, partition: int) -> int | None:
        """The first offset that is not archived yet; None where nothing is. Raises InputError if only the commit is gone."""
        if partition in self.commits:
            return self.commits[partition].next
        stray = next(self.folder.glob(f"date=*/events-{partition:05d}-*.parquet"), None)
        if stray is not None:
            expected = f"{self._path(partition)}, which says what {stray.relative_to(self.folder)} belongs to"
            raise InputError(expected, "none", "restore it, or archive into another folder (--out)")
        return None

    def write(
        self, partition: int, first: int, last: int, rows: Rows, refused: int = 0, lost: int = 0
    ) -> Sequence[str]:
        """Archive the offsets ``first`` to ``last`` of a partition, whose valid events are ``rows``; returns the new files.

        ``lost`` offsets before ``first`` are not in the topic any more. Raises ServiceError when the disk does not take it.
        """
        before = self.commits.get(partition)
        at = before.next if before else first - lost
        assert at + lost == first <= last, f"offsets {first} to {last} after {at}, {lost} lost"  # noqa: S101
        name = f"events-{partition:05d}-{first:020d}-{last:020d}.parquet"
        facts = {
            "format": FORMAT, "topic": self.topic, "topic_id": self.topic_id, "partition": partition,
            "first_offset": first, "last_offset": last, "range_events": len(rows), "range_refused": refused,
        }  # fmt: skip
        files: list[str] = []
        try:
            try:
                for date, table in _by_date(rows.table()):
                    files.append(f"date={date}/{name}")
                    self._stage(files[-1], table, facts | {"date": date})
                self._make_ready(files)
            except OSError:
                for file in files:
                    with contextlib.suppress(OSError):
                        self._staged(file).unlink(missing_ok=True)
                raise
            commit = Commit(
                topic=self.topic,
                topic_id=self.topic_id,
                partition=partition,
                start=before.start if before else at,
                next=last + 1,
                events=(before.events if before else 0) + len(rows),
                refused=(before.refused if before else 0) + refused,
                lost=(before.lost if before else 0) + lost,
                files=tuple(files),
            )
            self._commit(commit)
            self._show(files)
        except OSError as error:
            remedy = "make room; what is archived stays, and the next start goes on after it"
            raise ServiceError(
                f"room for the archive in {self.folder}", error.strerror or str(error), remedy
            ) from error
        self.commits[partition] = commit
        return files

    def _stage(self, file: str, table: Any, facts: dict[str, Any]) -> None:
        import pyarrow.parquet as pq

        table = table.replace_schema_metadata({f"headrace.{name}": str(value) for name, value in facts.items()})
        with self._staged(file).open("wb") as out:
            pq.write_table(table, out, compression="zstd")
            _sync_file(out)

    def _make_ready(self, files: Sequence[str]) -> None:
        """The staged files' names are on disk, and so are the folders that they will move to."""
        made = [folder for file in files if not (folder := (self.folder / file).parent).exists()]
        for folder in made:
            folder.mkdir()
        for folder in {self._service, *(folder.parent for folder in made)}:
            _sync(folder)

    def _commit(self, commit: Commit) -> None:
        path = self._path(commit.partition)
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as out:
            out.write(msgspec.json.encode(commit))
            _sync_file(out)
        os.replace(temporary, path)  # noqa: PTH105 (one name for all renames)
        _sync(path.parent)

    def _show(self, files: Sequence[str]) -> None:
        for file in files:
            os.replace(self._staged(file), self.folder / file)  # noqa: PTH105
        for folder in sorted({(self.folder / file).parent for file in files}):
            _sync(folder)

    def _recover(self) -> None:
        """Finish the newest range of each partition, remove what was never committed."""
        for commit in self.commits.values():
            hidden = [file for file in commit.files if self._staged(file).exists()]
            for file in hidden:
                (self.folder / file).parent.mkdir(exist_ok=True)
            if hidden:
                _sync(self.folder)
            self._show(hidden)
        for path in self._service.glob("*.tmp"):
            path.unlink()

    def _path(self, partition: int) -> Path:
        return self._service / f"partition-{partition:05d}.json"

    def _staged(self, file: str) -> Path:
        return self._service / (file.replace("/", "@") + ".tmp")


@contextlib.contextmanager
def open_store(folder: Path, topic: str, topic_id: str = "") -> Iterator[Store]:
    """The archive of ``topic`` in ``folder``, which is made if need be; what a crash left half done is finished or removed.

    Raises ArchiveBusy while another process has it open, InputError if it is not an archive of this topic, ServiceError if
    the topic was made anew since.
    """
    with contextlib.ExitStack() as stack:
        try:
            (folder / SERVICE).mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((folder / SERVICE / "lock").open("ab"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for place in (folder.parent, folder):
                _sync(place)
            store = Store(folder, topic, topic_id)
        except BlockingIOError:
            raise ArchiveBusy(
                f"the archive {folder} for this process alone", "another one that writes it", "let that one do it"
            ) from None
        except OSError as error:
            raise ServiceError(
                f"a folder to write at {folder}", error.strerror or str(error), "correct --out or its permissions"
            ) from error
        yield store


def anew(folder: Path, topic: str, found: str) -> ServiceError:
    """The error for a topic whose offsets are not those of the archive."""
    remedy = f"it was made anew: archive into another folder (--out); {folder} stays as it is"
    return ServiceError(f"topic {topic} as it was archived in {folder}", found, remedy)


def date_of(day: int) -> str:
    """The date of a day since the epoch.

    >>> date_of(19_000)
    '2022-01-08'
    """
    return datetime.fromtimestamp(day * 86_400, timezone.utc).date().isoformat()


def _by_date(table: Any) -> Iterator[tuple[str, Any]]:
    """The rows of each UTC date, in the order in which they stand."""
    if not len(table):
        return
    days = table["timestamp"].to_numpy() // DAY_MS
    order = np.argsort(days, kind="stable")
    cuts = np.flatnonzero(np.diff(days[order])) + 1
    sorted_table = table.take(order) if len(cuts) else table
    for start, end in zip([0, *cuts], [*cuts, len(days)], strict=True):
        yield date_of(int(days[order[start]])), sorted_table.slice(start, end - start)


def _read(path: Path) -> Commit:
    try:
        commit = msgspec.json.decode(path.read_bytes(), type=Commit)
        if commit.format != FORMAT:
            raise ValueError(f"format {commit.format}")
    except (OSError, ValueError) as error:
        remedy = "restore it, use the release that wrote it, or archive into another folder (--out)"
        raise InputError(f"a commit of format {FORMAT} at {path}", str(error), remedy) from error
    return commit


def _sync_file(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
