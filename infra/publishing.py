"""Play a recorded log into topic ``events``, and a catalogue into topic ``items``.

Records go out as they are, those that cannot be read too: to refuse them is the worker's affair.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from kafka.errors import KafkaError
from kafka.partitioner import DefaultPartitioner

from infra import topics
from infra.settings import Settings
from online_models.errors import InputError, ServiceError
from streams.contracts.catalogue import Item
from streams.contracts.reading import UNREADABLE

MAX_PENDING = 20_000
"""Records that may wait for their acknowledgement."""

_MAX_CACHED_KEYS = 100_000


class _Head(msgspec.Struct):
    user_id: str
    timestamp: int
    event_id: str = ""


class _Keyed(msgspec.Struct):
    user_id: str


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_keyed = msgspec.json.Decoder(_Keyed).decode
_decode_item = msgspec.json.Decoder(Item).decode


class Record(NamedTuple):
    """What goes to the topic. ``timestamp`` is None where the record has none that can be read."""

    key: bytes | None
    value: bytes
    timestamp: int | None


def record(raw: bytes, number: int) -> Record:
    """Key and value of a log's record: the key is the user, ``number`` (from 1) is the event's id if it has none.

    >>> record(b'{"user_id": "u", "timestamp": 5}', 7)
    Record(key=b'u', value=b'{"event_id":"7","user_id": "u", "timestamp": 5}', timestamp=5)
    >>> record(b'nonsense', 8)
    Record(key=None, value=b'nonsense', timestamp=None)
    """
    try:
        head = _decode_head(raw)
        value = raw if head.event_id else _with_event_id(raw, str(number))
    except UNREADABLE:
        return Record(user_key(raw), raw, None)
    return Record(head.user_id.encode("utf-8", "surrogatepass") or None, value, head.timestamp)


def user_key(raw: bytes) -> bytes | None:
    """The key that an event with these bytes must have; None where there is no user to be read."""
    try:
        return _decode_keyed(raw).user_id.encode("utf-8", "surrogatepass") or None
    except UNREADABLE:
        return None


def _with_event_id(raw: bytes, event_id: str) -> bytes:
    if b'"event_id"' in raw:
        return msgspec.json.encode(msgspec.json.decode(raw) | {"event_id": event_id})
    return b'{"event_id":"%s",' % event_id.encode() + raw.lstrip()[1:]


class Pace:
    """Waits until an event is due: ``speed`` times as fast as it happened, counted from the first event."""

    def __init__(
        self,
        speed: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._speed, self._clock, self._sleep = speed, clock, sleep
        self._zero: tuple[int, float] | None = None

    def wait(self, timestamp: int | None) -> None:
        """Return when an event of ``timestamp`` (ms) is due; at once without a speed or a timestamp."""
        if self._speed is None or timestamp is None:
            return
        if self._zero is None:
            self._zero = (timestamp, self._clock())
        since = (timestamp - self._zero[0]) / 1000 / self._speed
        delay = self._zero[1] + since - self._clock()
        if delay > 0:
            self._sleep(delay)


class _Partitioner(DefaultPartitioner):  # type: ignore[misc]
    """The default partitioner (that of the Java client); its hash, in Python, is worth remembering."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}

    def partition(self, topic: str, key: Any, serialized_key: bytes | None, *rest: Any) -> int:
        found = self._known.get(serialized_key) if serialized_key is not None else None
        if found is None:
            found = int(super().partition(topic, key, serialized_key, *rest))
            if serialized_key is not None:
                if len(self._known) >= _MAX_CACHED_KEYS:
                    self._known.clear()
                self._known[serialized_key] = found
        return found


class Publisher:
    """Sends to one topic and sees to it that every record is acknowledged. ``acknowledged`` counts from the first."""

    def __init__(self, producer: Any, topic: str) -> None:
        self.acknowledged = 0
        self._producer, self._topic = producer, topic
        self._pending: deque[Any] = deque()

    def send(self, key: bytes | None, value: bytes | None) -> None:
        """Hand a record over; waits only when too many are under way. Raises ServiceError when one has failed."""
        self._pending.append(self._producer.send(self._topic, value, key=key))
        while self._pending and (self._pending[0].is_done or len(self._pending) > MAX_PENDING):
            self._settle()

    def flush(self) -> None:
        """Return when every record is acknowledged."""
        while self._pending:
            self._settle()

    def _settle(self) -> None:
        try:
            topics.acknowledged(self._pending[0])
        except KafkaError as error:
            raise ServiceError(
                f"the broker to take every record for {self._topic}",
                f"{error} after the first {self.acknowledged:,} were acknowledged",
                "publish again: events that are there already are known by their event_id",
            ) from error
        self._pending.popleft()
        self.acknowledged += 1


@contextlib.contextmanager
def publisher(settings: Settings, topic: str, linger_ms: int = 20) -> Iterator[Publisher]:
    """A `Publisher` whose records are all acknowledged at the end. Raises ServiceError if there is no such topic.

    Batches are packed with gzip, which every client can read without a further library.
    """
    topics.require(settings, topic)
    options = {
        "compression_type": "gzip",
        "batch_size": 65_536,
        "linger_ms": linger_ms,
        "partitioner": _Partitioner(),
        "metrics_enabled": False,
    }
    with topics.producer(settings, **options) as producer:
        publisher = Publisher(producer, topic)
        yield publisher
        publisher.flush()


@dataclass
class Tally:
    """What was published: all events, those of no readable user, and those older than one before them."""

    events: int = 0
    unkeyed: int = 0
    late: int = 0


def publish_log(
    settings: Settings,
    log: Iterable[bytes],
    pace: Pace,
    start: int | None = None,
    end: int | None = None,
    linger_ms: int = 20,
) -> Tally:
    """Publish the records of ``log`` at ``pace``; with ``start`` and ``end`` (ms) only those of start <= time < end.

    A record without a readable time belongs to the time of the one before it.
    """
    tally = Tally()
    now = newest = None
    with publisher(settings, settings.topics.events, linger_ms) as out:
        for number, raw in enumerate(log, 1):
            key, value, timestamp = record(raw, number)
            now = timestamp if timestamp is not None else now
            if (start is not None and (now is None or now < start)) or (
                end is not None and now is not None and now >= end
            ):
                continue
            pace.wait(timestamp)
            out.send(key, value)
            tally.events += 1
            tally.unkeyed += key is None
            if timestamp is not None:
                tally.late += newest is not None and timestamp < newest
                newest = timestamp if newest is None else max(newest, timestamp)
    return tally


def publish_catalogue(settings: Settings, lines: Iterable[bytes], name: str) -> int:
    """Publish items, keyed by their id; returns how many. Raises InputError at the first line that is not an item."""
    count = 0
    with publisher(settings, settings.topics.items) as out:
        for count, raw in enumerate(lines, 1):
            try:
                item = _decode_item(raw)
            except UNREADABLE as error:
                raise InputError("one item a line", f"{error} in record {count} of {name}", "correct it") from error
            out.send(item.item_id.encode(), raw)
    return count
