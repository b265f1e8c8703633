"""From topic ``events`` to the archive: each record once, whatever happens in between.

Where to go on is read from the archive itself (`infra.archive_store`), never from a consumer group. Records of a partition
gather in an open range until it is large or old enough; then the range is written. Memory is bounded over all partitions.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from kafka import TopicPartition
from kafka.errors import OffsetOutOfRangeError

from infra import topics
from infra.archive_rows import Rows
from infra.archive_store import DAY_MS, Store, anew, open_store
from infra.local import kafka_answers
from infra.settings import Settings
from offline.arrow import arrow
from online_models.errors import ServiceError
from streams.contracts.events import Event
from streams.validate import validate, wrong_key

MAX_BYTES = 64 << 20
"""Bytes of records that all open ranges may hold together; the largest is written when there are more."""

MAX_DAYS = 400
"""Dates in one range: each becomes a file."""

LOOK_EVERY_S = 30.0
"""How often it is looked whether the topic has new partitions, or is another one."""

STALLED_S = 30.0
_CONSUMER: dict[str, Any] = {
    "auto_offset_reset": "none",
    "max_poll_records": 2_000,
    "reconnect_backoff_max_ms": 1_000,
}
_POLL_MS = 500
_OVERHEAD = 64
"""Bytes that a row takes beside its strings."""


class Roll(msgspec.Struct, frozen=True):
    """When a range is written: after so many records of its partition, or so many seconds after its first one."""

    events: int = 100_000
    seconds: float = 300.0


@dataclass
class Summary:
    """What one run has archived. ``next`` is the first offset not archived yet, by partition."""

    topic: str
    folder: Path
    events: int = 0
    refused: int = 0
    lost: int = 0
    files: int = 0
    next: dict[int, int] = field(default_factory=dict)

    def __str__(self) -> str:
        notes = [f"{self.files:,} files in {self.folder}"]
        notes += [f"{self.refused:,} records refused"] if self.refused else []
        notes += [f"{self.lost:,} offsets lost"] if self.lost else []
        return f"archived {self.events:,} events of topic {self.topic} ({', '.join(notes)})"


Tell = Callable[[str], None]


def default_folder(settings: Settings) -> Path:
    """Where the archive is if nothing else is said: a folder of its own for each topic prefix."""
    return settings.data_dir / f"{settings.topic_prefix}archive"


def archive_once(
    settings: Settings,
    folder: Path | None = None,
    roll: Roll = Roll(),
    tell: Tell = lambda warning: None,
    stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """Archive what topic ``events`` holds now, from where ``folder`` (else `default_folder`) left off, or until ``stop`` says so.

    ``tell`` is called with warnings. Raises ArchiveBusy while another process archives into the folder, ServiceError without a
    broker, the topic or room on the disk, InputError for a folder that is another's archive or without pyarrow.
    """
    with _opened(settings, folder, roll, tell) as archive:
        ends = archive.ends()
        last = time.monotonic()
        while not stop() and archive.behind(ends):
            if archive.step():
                last = time.monotonic()
            elif time.monotonic() - last > STALLED_S:
                topics.await_broker(settings)
                raise ServiceError(
                    f"the records of {archive.topic} up to {ends}",
                    f"none within {STALLED_S:g} s",
                    "see the broker's log",
                )
        archive.close()
        return archive.summary


def follow(
    settings: Settings,
    folder: Path | None = None,
    roll: Roll = Roll(),
    tell: Tell = lambda warning: None,
    stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """Archive topic ``events`` as it grows until ``stop`` says so; then the open ranges are written. Raises as `archive_once`.

    While the broker is away it waits. New partitions are found within half a minute.
    """
    with _opened(settings, folder, roll, tell) as archive:
        look_at = time.monotonic() + LOOK_EVERY_S
        while not stop():
            archive.step()
            if time.monotonic() >= look_at:
                archive.look()
                look_at = time.monotonic() + LOOK_EVERY_S
        archive.close()
        return archive.summary


@contextlib.contextmanager
def _opened(settings: Settings, folder: Path | None, roll: Roll, tell: Tell) -> Iterator[_Archive]:
    arrow()
    topic = settings.topics.events
    topic_id, partitions = listed(settings, topic)
    with (
        open_store(folder or default_folder(settings), topic, topic_id) as store,
        topics.consumer(settings, **_CONSUMER) as consumer,
    ):
        archive = _Archive(settings, store, consumer, roll, tell)
        archive.assign(partitions)
        yield archive


def listed(settings: Settings, topic: str) -> tuple[str, list[int]]:
    """The id of a topic (empty where the broker gives none) and its partitions. Raises ServiceError if there is none."""
    with topics.admin(settings) as client:
        [found] = client.describe_topics([topic])
    if found["error_code"]:
        remedy = "run `headrace topics create`, or check --topic-prefix"
        raise ServiceError(f"topic {topic} at {settings.broker}", "none of that name", remedy)
    return str(found.get("topic_id") or ""), sorted(part["partition_index"] for part in found["partitions"])


class _Open:
    """A range that is being read: from offset ``first``; ``until`` is the offset after the last record."""

    def __init__(self, first: int) -> None:
        self.first = self.until = first
        self.rows, self.refused, self.records, self.bytes = Rows(), 0, 0, 0
        self.days: set[int] = set()
        self.since = time.monotonic()


class _Archive:
    """A consumer at one end, a store at the other, open ranges between them."""

    def __init__(self, settings: Settings, store: Store, consumer: Any, roll: Roll, tell: Tell) -> None:
        self._settings, self._store, self._consumer, self._roll, self._tell = settings, store, consumer, roll, tell
        self.topic = store.topic
        self._open: dict[int, _Open] = {}
        self._next: dict[int, int] = {}
        self._lost: dict[int, int] = {}
        self._trouble = ""
        self.summary = Summary(store.topic, store.folder)

    def assign(self, partitions: Iterable[int]) -> None:
        """Read these partitions, each from the first offset that is neither archived nor in an open range.

        Raises ServiceError if the topic ends before that; tells what the topic no longer has.
        """
        parts = [TopicPartition(self.topic, partition) for partition in partitions]
        self._consumer.assign(parts)
        # One by one: of several, kafka-python forgets those that it does not know yet, and it waits for one alone.
        starts = {part: self._consumer.beginning_offsets([part])[part] for part in parts}
        ends = topics.end_offsets(self._settings, parts)
        for part in parts:
            partition, start, end = part.partition, starts[part], ends[part]
            known = self._next.get(partition, self._store.next(partition))
            offset = start if known is None else known
            if offset > end:
                found = f"partition {partition} ending at offset {end}, before {offset}"
                raise anew(self._store.folder, self.topic, found)
            if offset < start:
                self._write(partition)
                self._lost[partition] = self._lost.get(partition, 0) + start - offset
                self._tell(
                    f"topic {self.topic}, partition {partition}: the broker removed offsets {offset} to {start - 1} before "
                    "they were archived: archive more often, or raise the topic's retention"
                )
                offset = start
            self._next[partition] = offset
            self._consumer.seek(part, offset)

    def ends(self) -> dict[TopicPartition, int]:
        """The offset after the last record of each partition, as of now."""
        return topics.end_offsets(self._settings, [TopicPartition(self.topic, partition) for partition in self._next])

    def behind(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether something before ``ends`` is still to be read."""
        return any(self._consumer.position(part) < end for part, end in ends.items())

    def look(self) -> None:
        """See whether the topic is still the same, and read its new partitions. Without a broker that is told, and tried again."""
        try:
            if not any(kafka_answers(address) for address in self._settings.brokers):
                raise ServiceError(f"a Kafka broker at {self._settings.broker}", "no answer", "waiting for it")
            topic_id, partitions = listed(self._settings, self.topic)
        except ServiceError as error:
            if self._trouble != (trouble := str(error)):
                self._tell(trouble)
            self._trouble = trouble
            return
        self._trouble = ""
        self._store.check_id(topic_id)
        if set(partitions) - self._next.keys():
            self.assign(partitions)

    def step(self) -> bool:
        """Read what has come within half a second, write the ranges that are due; whether anything has come."""
        try:
            found = self._consumer.poll(timeout_ms=_POLL_MS)
        except OffsetOutOfRangeError:
            self.assign(list(self._next))
            return False
        now_ms = time.time_ns() // 1_000_000
        for part, records in found.items():
            for record in records:
                self._take(part.partition, record, now_ms)
        for partition, range_ in list(self._open.items()):
            if time.monotonic() - range_.since >= self._roll.seconds:
                self._write(partition)
        while sum(range_.bytes for range_ in self._open.values()) > MAX_BYTES:
            self._write(max(self._open, key=lambda partition: self._open[partition].bytes))
        return bool(found)

    def close(self) -> None:
        """Write the open ranges."""
        for partition in sorted(self._open):
            self._write(partition)
        self.summary.next = dict(sorted(self._next.items()))

    def _take(self, partition: int, record: Any, now_ms: int) -> None:
        if record.offset < self._next[partition]:
            return  # a fetch that was under way when we sought
        if partition not in self._open:
            self._open[partition] = _Open(self._next[partition])
        range_ = self._open[partition]
        event = validate(record.value, now_ms)
        if isinstance(event, Event) and wrong_key(event, record.key, len(self._next)) is None:
            range_.rows.add(record.offset, event)
            range_.bytes += len(record.value) + _OVERHEAD
            range_.days.add(event.timestamp // DAY_MS)
        else:
            range_.refused += 1
        range_.records += 1
        range_.until = self._next[partition] = record.offset + 1
        if range_.records >= self._roll.events or len(range_.days) >= MAX_DAYS:
            self._write(partition)

    def _write(self, partition: int) -> None:
        """Write the open range of a partition, if it has one."""
        range_ = self._open.pop(partition, None)
        if range_ is None:
            return
        lost = self._lost.pop(partition, 0)
        files = self._store.write(partition, range_.first, range_.until - 1, range_.rows, range_.refused, lost)
        self.summary.events += len(range_.rows)
        self.summary.refused += range_.refused
        self.summary.lost += lost
        self.summary.files += len(files)
