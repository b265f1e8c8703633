"""Publishing: whole batches by partition, sent again while the broker is away, never silently lost."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError, NotLeaderForPartitionError, TopicAuthorizationFailedError

from online_models.errors import ServiceError
from streams.app import publisher
from streams.app.publisher import Outgoing, Publisher
from streams.partitioning import key_hash


class Batch(list[dict[str, Any]]):
    """Takes three records."""

    def append(self, **record: Any) -> object | None:  # type: ignore[override]
        if len(self) == 3:
            return None
        super().append(record)
        return object()

    def close(self) -> None:
        pass


class Producer:
    """Two partitions a topic; ``errors`` are raised one by one before anything is taken."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.taken: dict[tuple[str, int], list[bytes]] = {}
        cluster = SimpleNamespace(partitions_for_topic=lambda topic: {0, 1} if topic in self.taken_topics else None)
        self.taken_topics: set[str] = set()
        self.client = SimpleNamespace(cluster=cluster)

    async def partitions_for(self, topic: str) -> set[int]:
        self.taken_topics.add(topic)
        return {0, 1}

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, partition: int) -> Any:
        future = asyncio.get_running_loop().create_future()
        if self.errors:
            future.set_exception(self.errors.pop(0))
        else:
            self.taken.setdefault((topic, partition), []).extend(record["value"] for record in batch)
            assert all(record["headers"] == [("w", b"me")] for record in batch)
            future.set_result(None)
        return future


def records(count: int) -> list[Outgoing]:
    return [Outgoing("t", b"key-%d" % (n % 5), b"%d" % n) for n in range(count)]


def of(producer: Producer) -> Publisher:
    return Publisher(lambda: producer, [("w", b"me")])


async def test_every_record_goes_to_its_partition_in_order() -> None:
    producer = Producer()
    await of(producer).publish(records(40))
    for (_, partition), values in producer.taken.items():
        wanted = [record.value for record in records(40) if key_hash(record.key) % 2 == partition]
        assert values == wanted
    assert sum(map(len, producer.taken.values())) == 40


async def test_nothing_to_publish() -> None:
    await of(Producer()).publish([])


async def test_what_was_not_taken_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "FIRST_PAUSE", 0.001)
    producer = Producer(KafkaTimeoutError(), NotLeaderForPartitionError(), KafkaTimeoutError())
    await of(producer).publish(records(40))
    for (_, partition), values in producer.taken.items():
        wanted = [record.value for record in records(40) if key_hash(record.key) % 2 == partition]
        assert values == wanted, "a batch overtook one that had to be sent again"
    assert sum(map(len, producer.taken.values())) == 40


async def test_what_waiting_cannot_heal_is_raised() -> None:
    with pytest.raises(ServiceError, match="topic 't' to take records"):
        await of(Producer(TopicAuthorizationFailedError("t"))).publish(records(1))


async def test_a_fault_of_ours_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        await of(Producer(ZeroDivisionError())).publish(records(1))


async def test_a_silent_broker_is_reported(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(publisher, "REPORT_AFTER_S", 0.01)
    producer = Producer()
    send = producer.send_batch

    async def slow(*args: Any, **options: Any) -> Any:
        await asyncio.sleep(0.05)
        return await send(*args, **options)

    monkeypatch.setattr(producer, "send_batch", slow)
    await of(producer).publish(records(1))
    assert "the broker has acknowledged nothing" in caplog.text
