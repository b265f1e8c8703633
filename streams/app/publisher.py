"""Records on their way to topics: one batch a partition, all acknowledged before anything goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError, KafkaTimeoutError

from online_models.errors import ServiceError
from streams.partitioning import key_hash

log = logging.getLogger("headrace")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
REPORT_AFTER_S = 5.0


class Outgoing(NamedTuple):
    """One record to be published; ``key`` chooses the partition."""

    topic: str
    key: bytes
    value: bytes | None


class Publisher:
    """Publishes through one aiokafka producer.

    ``producer`` is called when it is needed (the producer starts later than we do). Every record carries ``headers``.
    """

    def __init__(self, producer: Callable[[], Any], headers: Iterable[tuple[str, bytes]] = ()) -> None:
        self._producer = producer
        self._headers = list(headers)

    async def publish(self, records: Iterable[Outgoing]) -> None:
        """Return when the broker has acknowledged every record; order is kept within a partition.

        While the broker is away this waits and sends again, so after a lost answer a record may be there twice (not
        with an idempotent producer). An error that waiting does not heal raises ServiceError.
        """
        producer = self._producer()
        waiting: dict[tuple[str, int], list[Outgoing]] = {}
        for record in records:
            count = len(producer.client.cluster.partitions_for_topic(record.topic) or ()) or await self._count(record)
            waiting.setdefault((record.topic, key_hash(record.key) % count), []).append(record)
        pause = FIRST_PAUSE
        while waiting:
            parts = list(waiting)
            sent = [asyncio.ensure_future(self._send(producer, part, waiting[part])) for part in parts]
            if (await asyncio.wait(sent, timeout=REPORT_AFTER_S))[1]:
                log.warning("the broker has acknowledged nothing for %.0f s, waiting for it", REPORT_AFTER_S)
            await asyncio.wait(sent)
            waiting = {part: left for part, task in zip(parts, sent, strict=True) if (left := task.result())}
            if waiting:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _count(self, record: Outgoing) -> int:
        return len(await self._producer().partitions_for(record.topic))

    async def _send(self, producer: Any, part: tuple[str, int], records: list[Outgoing]) -> list[Outgoing]:
        """Send one batch after the other; what is left if the broker does not take one for now."""
        topic, partition = part
        acknowledged = 0
        for batch, count in self._batches(producer, records):
            batch.close()
            try:
                await (await producer.send_batch(batch, topic, partition=partition))
            except KafkaError as error:
                if not (error.retriable or isinstance(error, KafkaTimeoutError)):
                    raise ServiceError(
                        f"topic {topic!r} to take records", repr(error), "see the broker's log"
                    ) from error
                log.warning("%s-%d did not take a batch (%r), sending it again", topic, partition, error)
                break
            acknowledged += count
        return records[acknowledged:]

    def _batches(self, producer: Any, records: list[Outgoing]) -> Iterable[tuple[Any, int]]:
        """Batches that the broker takes whole, each with its number of records."""
        batch, count = producer.create_batch(), 0
        for record in records:
            entry = {"key": record.key, "value": record.value, "timestamp": None, "headers": self._headers}
            if batch.append(**entry) is None:
                yield batch, count
                batch, count = producer.create_batch(), 0
                batch.append(**entry)
            count += 1
        yield batch, count
