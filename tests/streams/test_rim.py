"""A micro-batch: the order of its steps, what it refuses, and how it is given up."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import pytest

from online_models.errors import ServiceError
from streams.app.backlog import Arrival
from streams.app.publisher import Outgoing
from streams.app.rim import RAW_LIMIT, Rim
from streams.contracts.drifts import QualityDrift
from streams.contracts.events import Event, Source
from streams.contracts.topics import Topics
from streams.metrics import WorkerMetrics
from streams.partitioning import key_hash
from streams.pipeline import Pipeline
from streams.quality_watch import drift_id
from streams.stores import MemoryStore

EVENT = Event(event_id="e", timestamp=1_700_000_000_000, user_id="ada", item_id="i", event_type="view")


class Surroundings(MemoryStore):
    """Store and publisher in one, that note the order of calls; ``stuck`` names the one that never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.published: list[Outgoing] = []
        self.stuck = "nothing"

    async def _note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.stuck:
            await asyncio.Event().wait()

    async def mget(self, users: Sequence[str]) -> list[bytes | None]:
        await self._note("load")
        return await super().mget(users)

    async def mset(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        await self._note("store")
        await super().mset(values, ttl_s)

    async def publish(self, records: Iterable[Outgoing]) -> None:
        found = list(records)
        await self._note("+".join(sorted({record.topic for record in found})))
        self.published += found


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


@pytest.fixture
def rim(around: Surroundings) -> Rim:
    rim = Rim(Pipeline(stored=True), around, around, Topics(), WorkerMetrics(), ttl_s=60)  # type: ignore[arg-type]
    rim.begin({0: 0, 1: 0})
    rim.partitions = 2
    return rim


def arrival(offset: int, partition: int = 0, user: str = "ada", timestamp: int = 0, **changes: object) -> Arrival:
    event = {
        "event_id": f"{partition}/{offset}", "timestamp": timestamp or 1_700_000_000_000 + offset, "user_id": user,
        "item_id": f"i{offset % 7}", "event_type": "view",
    } | changes  # fmt: skip
    return Arrival(partition, offset, user.encode(), json.dumps(event).encode(), 0.0)


async def test_interactions_then_states_then_lists(rim: Rim, around: Surroundings) -> None:
    await rim.run([arrival(0), arrival(1), Arrival(1, 0, b"k", b"garbage", 0.0)])
    assert around.calls == ["load", "interactions", "store", "events.dlq+recommendations"]
    assert rim.done == {0: 2, 1: 1}
    lists = [json.loads(r.value) for r in around.published if r.topic == "recommendations"]
    assert [x["caused_by"]["offset"] for x in lists] == [0, 1]
    assert all(x["latency_ms"] > 0 and x["user_id"] == "ada" for x in lists)


async def test_a_quality_that_drifts_is_told_on_a_topic_once(rim: Rim, around: Surroundings) -> None:
    for hit in [1.0] * 400 + [0.0] * 100:
        rim._pipeline.knowledge.note("hr@20 served", hit)
    assert rim._pipeline.watch.take() == [], "no event of ours brought it out"
    rim._pipeline.watch.looks_at(EVENT, Source(0, 4))
    for hit in [1.0] * 400 + [0.0] * 100:
        rim._pipeline.knowledge.note("hr@20 blend", hit)
    await rim.run([arrival(5)])
    await rim.run([arrival(6)])
    assert around.calls[3] == "drift+recommendations"
    [told] = [record for record in around.published if record.topic == "drift"]
    drift = msgspec.json.decode(told.value or b"", type=QualityDrift)
    assert told.key == drift.drift_id.encode() == drift_id("hr@20 blend", 0, 4).encode()
    assert (drift.figure, drift.before, drift.worse) == ("hr@20 blend", 1.0, True)
    assert drift.after < 1.0


async def test_a_cached_user_is_not_loaded_again(rim: Rim, around: Surroundings) -> None:
    await rim.run([arrival(0)])
    around.calls.clear()
    await rim.run([arrival(1), arrival(2, user="bob")])
    assert around.calls[0] == "load"
    assert (await around.mget(["ada", "bob"])) != [None, None]


async def test_an_open_moment_holds_the_offset_back_until_there_is_nothing_to_do(rim: Rim) -> None:
    batch = [arrival(0), arrival(1, timestamp=1_700_000_100_000), arrival(2, timestamp=1_700_000_100_000)]
    await rim.run(batch)  # read long ago (at 0.0 of the clock): a backlog is no silence
    assert rim.acknowledgeable(idle_s=1.0) == {0: 1, 1: 0}
    assert rim.acknowledgeable(idle_s=1.0, whole=True) == {0: 3, 1: 0}
    await asyncio.sleep(0.02)
    await rim.run([arrival(0, partition=1, user="bob")])  # another partition is at work: this one's events may wait
    assert rim.acknowledgeable(idle_s=0.015) == {0: 1, 1: 0}
    await asyncio.sleep(0.02)
    assert rim.acknowledgeable(idle_s=0.015) == {0: 3, 1: 1}


async def test_a_process_that_stood_still_publishes_nothing(rim: Rim, around: Surroundings) -> None:
    rim._patience_s = 5.0
    await rim.run([arrival(0)])
    around.published.clear()
    rim.awake_at -= 6.0
    with pytest.raises(ServiceError, match="stands still for 5 s at most, got 6 s"):
        await rim.run([arrival(1)])
    assert around.published == []
    assert rim.done == {0: 1, 1: 0}
    assert not rim.consistent, "no snapshot of what nobody else knows"


@pytest.mark.parametrize(
    ("key", "partitions", "reason"),
    [(None, 1, None), (None, 2, "wrong_key"), (b"bob", 1, "wrong_key"), (b"ada", 2, None)],
)
async def test_the_key_has_to_be_the_user(
    rim: Rim, around: Surroundings, key: bytes | None, partitions: int, reason: str | None
) -> None:
    rim.partitions = partitions
    await rim.run([arrival(0)._replace(key=key)])
    letters = [json.loads(r.value) for r in around.published if r.topic == "events.dlq"]
    assert [letter["reason"] for letter in letters] == ([reason] if reason else [])


async def test_a_dead_letter_fits_into_a_message_whatever_was_sent(rim: Rim, around: Surroundings) -> None:
    raw = b"\xff" * 1_000_000
    await rim.run([Arrival(0, 0, b"k" * 1_000_000, raw, 0.0), Arrival(0, 1, b"k", None, 0.0)])
    large, empty = (json.loads(r.value) for r in around.published)
    assert all(len(record.value) < 900_000 for record in around.published)
    assert base64.b64decode(large["raw"]) == raw[:RAW_LIMIT]
    assert "of 1000000 bytes" in large["message"]
    assert (empty["reason"], empty["raw"], empty["offset"]) == ("empty", "", 1)


async def start(rim: Rim, around: Surroundings, stuck: str, *batch: Arrival) -> asyncio.Task[None]:
    around.stuck = stuck
    task = asyncio.create_task(rim.run(batch))
    while stuck not in around.calls and not task.done():  # noqa: ASYNC110
        await asyncio.sleep(0)
    return task


async def test_a_batch_that_waits_for_redis_can_be_given_up(rim: Rim, around: Surroundings) -> None:
    task = await start(rim, around, "store", arrival(0))
    assert rim.busy
    await rim.finish(patience_s=0.01)
    await task
    assert not rim.busy
    assert rim.consistent, "the topic has what the pipeline has learned"
    assert rim.done == {0: 0, 1: 0}
    around.stuck = "nothing"
    rim.begin({0: 0, 1: 0})
    await rim.run([arrival(0)])
    kinds = [record.topic for record in around.published]
    assert kinds == ["interactions", "recommendations"], "the interaction is published once, the list now"


async def test_a_batch_whose_interactions_nobody_else_has_cannot(rim: Rim, around: Surroundings) -> None:
    task = await start(rim, around, "interactions", arrival(0))
    with pytest.raises(ServiceError, match="restart the worker"):
        await rim.finish(patience_s=0.01)
    assert not rim.consistent, "no snapshot of this"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_finishing_waits_for_the_batch(rim: Rim, around: Surroundings) -> None:
    task = asyncio.create_task(rim.run([arrival(n) for n in range(40)]))
    await asyncio.sleep(0)
    await rim.finish(patience_s=5)
    assert rim.done[0] == 40
    await task


async def test_a_fault_of_ours_comes_out(rim: Rim, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(batch: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(rim._pipeline, "process", broken)
    with pytest.raises(ZeroDivisionError):
        await rim.run([arrival(0)])
    assert not rim.consistent
    assert rim.done == {0: 0, 1: 0}


async def test_a_batch_is_done_when_its_lists_are_out_and_not_before(rim: Rim, around: Surroundings) -> None:
    task = await start(rim, around, "recommendations", arrival(0))
    assert rim.processed == {0: 1, 1: 0}
    assert rim.done == {0: 0, 1: 0}
    assert rim.acknowledgeable(0.0, whole=True) == {0: 0, 1: 0}
    await rim.finish(patience_s=0.01)
    await task
    assert rim.done == {0: 0, 1: 0}


async def test_what_others_have_written_of_a_user_is_read_after_an_assignment(rim: Rim, around: Surroundings) -> None:
    await rim.run([arrival(0)])
    sessions = rim._pipeline.sessions
    other = Rim(Pipeline(stored=True), around, around, Topics(), WorkerMetrics(), ttl_s=60)  # type: ignore[arg-type]
    other.begin({0: 1})
    await other.run([arrival(1), arrival(2)])
    assert sessions.get("ada").n_events == 1
    rim.begin({0: 3})
    await rim.run([arrival(3)])
    assert sessions.get("ada").n_events == 4


async def test_nobody_is_served_from_before_the_partitions_moved(rim: Rim) -> None:
    await rim.run([arrival(0)])
    assert rim._pipeline.sessions.peek("ada") is not None
    rim.forget()
    assert rim._pipeline.sessions.peek("ada") is None


def test_keys_go_where_kafkas_partitioner_sends_them() -> None:
    # Made with org.apache.kafka.common.utils.Utils.toPositive(murmur2(key)) % 12.
    from aiokafka.partitioner import DefaultPartitioner

    some = random.Random(1)
    for key in (b"ada", b"user-1", "éva".encode(), b"", *(some.randbytes(n % 20) for n in range(1_000))):
        assert key_hash(key) % 12 == DefaultPartitioner()(key, list(range(12)), list(range(12)))
