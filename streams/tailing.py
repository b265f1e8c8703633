"""Topics that every worker reads whole: all partitions, no consumer group, from given offsets on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, OffsetOutOfRangeError

from online_models.errors import ServiceError

FETCH_WAIT_MS = 25
"""How long a broker may sit on a fetch. Apache Kafka answers as soon as there is a record, Tansu after half of this."""

GROW_EVERY_S = 30.0
SLICE_S = 0.005
"""Longest stretch of work between two looks at the event loop."""


class Breather:
    """Lets the event loop run every few milliseconds of a long loop, so that heartbeats and requests go on.

    ``share``: of its time that the loop may take; 1.0: whatever the others leave.
    """

    def __init__(self, share: float = 1.0) -> None:
        self._rest_s = SLICE_S * (1.0 - share) / share
        self._until = monotonic() + SLICE_S

    async def breathe(self) -> None:
        """Sleep if the slice is over: for one turn of the loop, or for the others' share."""
        if monotonic() > self._until:
            await asyncio.sleep(self._rest_s)
            self._until = monotonic() + SLICE_S


class Tail:
    """One topic from the given offsets on (a partition without one: from its start), in offset order a partition.

    A topic that grows is followed: new partitions are read from their start.
    """

    def __init__(self, brokers: Sequence[str], topic: str) -> None:
        self.topic, self._brokers = topic, list(brokers)
        self._consumer: Any = None
        self._positions: dict[int, int] = {}
        self._look_at = 0.0

    async def start(self, positions: Mapping[int, int]) -> None:
        """Connect and go to ``positions`` (partition → next offset). Raises ServiceError without broker or topic."""
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._brokers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=1024 * 1024,
            metadata_max_age_ms=int(GROW_EVERY_S * 1000),
        )
        try:
            await self._consumer.start()
        except KafkaConnectionError as error:
            raise ServiceError("a broker", str(error), "start it or correct --broker (HEADRACE_BROKER)") from error
        await partitions_of(self._consumer, self.topic)
        await self._assign(positions)

    async def stop(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await self._consumer.stop()

    @property
    def positions(self) -> dict[int, int]:
        """Offset to be read next, by partition."""
        return dict(self._positions)

    async def ends(self) -> dict[int, int]:
        """The broker's word for where the log ends now, by partition; see `behind`."""
        ends = await self._consumer.end_offsets(self._parts(self._positions))
        return {tp.partition: offset for tp, offset in ends.items()}

    def behind(self, ends: Mapping[int, int]) -> list[int]:
        """Partitions that have not been read up to ``ends``.

        Tansu names the offset after the *first* record of the last batch, so the high watermark that came with that
        batch counts too: whoever has read the batch's first record knows it.
        """
        return [
            partition
            for partition, end in ends.items()
            if (known := self._consumer.highwater(TopicPartition(self.topic, partition))) is None
            or self._positions[partition] < max(end, known)
        ]

    async def starts(self) -> dict[int, int]:
        """Offset of the first record that is still there, by partition."""
        starts = await self._consumer.beginning_offsets(self._parts(self._positions))
        return {tp.partition: offset for tp, offset in starts.items()}

    async def fetch(self, timeout_s: float, limit: int, partition: int | None = None) -> dict[int, list[Any]]:
        """Records that have come, by partition, and the positions moved on; {} when none came within the timeout."""
        if monotonic() >= self._look_at:
            await self._grow()
        wanted = self._parts([] if partition is None else [partition])
        fetched = await self._consumer.getmany(*wanted, timeout_ms=int(timeout_s * 1000), max_records=limit)
        for tp, records in fetched.items():
            self._positions[tp.partition] = records[-1].offset + 1
        return {tp.partition: records for tp, records in fetched.items()}

    async def record_at(self, partition: int, offset: int) -> Any | None:
        """The record at one offset (None if it is not there any more); the position is put back."""
        tp = TopicPartition(self.topic, partition)
        back = self._positions[partition]
        self._consumer.seek(tp, offset)
        fetched = await self._consumer.getmany(tp, timeout_ms=10_000, max_records=1)
        self._consumer.seek(tp, back)
        records = fetched.get(tp)
        return records[0] if records and records[0].offset == offset else None

    def _parts(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self.topic, partition) for partition in partitions]

    def _known_partitions(self) -> set[int]:
        known: set[int] = self._consumer.partitions_for_topic(self.topic) or set()
        return known

    async def _assign(self, positions: Mapping[int, int]) -> None:
        partitions = sorted(self._known_partitions())
        self._consumer.assign(self._parts(partitions))
        fresh = [partition for partition in partitions if partition not in positions]
        starts = await self._consumer.beginning_offsets(self._parts(fresh)) if fresh else {}
        for partition in partitions:
            tp = TopicPartition(self.topic, partition)
            self._positions[partition] = position = positions.get(partition, starts.get(tp, 0))
            self._consumer.seek(tp, position)
        self._look_at = monotonic() + GROW_EVERY_S

    async def _grow(self) -> None:
        self._look_at = monotonic() + GROW_EVERY_S
        if self._known_partitions() - self._positions.keys():
            await self._assign(self._positions)


async def partitions_of(consumer: Any, topic: str) -> list[TopicPartition]:
    """All partitions of a topic. Raises ServiceError if there is none (looked up first: asking by name can make it)."""
    if topic not in await consumer.topics():
        raise _without([topic])
    await consumer._client.add_topic(topic)
    return [TopicPartition(topic, partition) for partition in sorted(consumer.partitions_for_topic(topic) or ())]


async def require_topics(brokers: Sequence[str], topics: Iterable[str]) -> None:
    """Raise ServiceError without a broker, or if it has not all of these topics."""
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=list(brokers))
    try:
        await consumer.start()
        there = await consumer.topics()
    except KafkaConnectionError as error:
        raise ServiceError("a broker", str(error), "start it or correct --broker (HEADRACE_BROKER)") from error
    finally:
        await consumer.stop()
    if missing := [topic for topic in topics if topic not in there]:
        raise _without(missing)


def _without(topics: Sequence[str]) -> ServiceError:
    one = "topic" if len(topics) == 1 else "topics"
    return ServiceError(
        f"{one} {', '.join(topics)}", "none of that name", "run `headrace topics create`, or check --topic-prefix"
    )


async def committed_offsets(brokers: Sequence[str], group: str, topic: str) -> dict[int, int]:
    """What a group will read next of a topic, by partition: the committed offset, or the log's start if there is none.

    Raises ServiceError if the topic is not there, or if it ends before a committed offset: then it is another topic of
    the same name, and what has been learned by offset would hide its events.
    """
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=list(brokers), group_id=group, enable_auto_commit=False, auto_offset_reset="none"
    )
    try:
        await consumer.start()
        parts = await partitions_of(consumer, topic)
        consumer.assign(parts)
        starts, ends = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
        offsets = {}
        for tp in parts:
            committed = await consumer.committed(tp)
            if committed is not None and committed > ends[tp]:
                await _refuse_beyond_end(consumer, group, tp, committed)
            offsets[tp.partition] = max(starts[tp], committed or 0)
        return offsets
    except KafkaConnectionError as error:
        raise ServiceError("a broker", str(error), "start it or correct --broker (HEADRACE_BROKER)") from error
    finally:
        await consumer.stop()


async def _refuse_beyond_end(consumer: Any, group: str, tp: TopicPartition, committed: int) -> None:
    """Raise ServiceError if the broker has no such offset. (Tansu's answer to "where does it end" can be too low.)"""
    consumer.seek(tp, committed)
    try:
        await consumer.getmany(tp, timeout_ms=1_000)
    except OffsetOutOfRangeError:
        raise ServiceError(
            f"topic {tp.topic!r} as group {group!r} left it",
            f"partition {tp.partition} ending before the committed offset {committed}",
            "it was made anew: use another topic prefix, or remove the group and the snapshots",
        ) from None


async def records_since(brokers: Sequence[str], topic: str, time_ms: int, most: int) -> AsyncIterator[Any]:
    """Records written at or after a time, up to the present end, in offset order a partition; of each partition the
    latest ``most`` at most."""
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=list(brokers),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    try:
        await consumer.start()
        parts = await partitions_of(consumer, topic)
        consumer.assign(parts)
        starts, ends = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
        times = await consumer.offsets_for_times(dict.fromkeys(parts, time_ms))
        for tp in parts:
            found = times.get(tp)
            position = max(starts[tp], ends[tp] - most, found.offset if found is not None else 0)
            consumer.seek(tp, position)
            while position < ends[tp]:
                fetched = await consumer.getmany(tp, timeout_ms=5_000, max_records=500)
                records = fetched.get(tp)
                if not records:
                    break  # the end was a guess: what is left are no records
                position = records[-1].offset + 1
                for record in records:
                    yield record
    except KafkaConnectionError as error:
        raise ServiceError("a broker", str(error), "start it or correct --broker (HEADRACE_BROKER)") from error
    finally:
        await consumer.stop()
