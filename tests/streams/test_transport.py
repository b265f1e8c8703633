"""The transport: each offset once and none left out, fair batches, and commits of exactly what was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.app.agents import Headrace, Options
from streams.app.backlog import Arrival, Backlog
from streams.app.transport import Consumer

EVENTS = TP("events", 0)


def records(*offsets: int) -> list[Any]:
    return [SimpleNamespace(offset=offset, key=b"u", value=b"v") for offset in offsets]


@pytest.fixture
async def consumer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Consumer]:
    options = Options(brokers=["127.0.0.1:1"], redis="redis://127.0.0.1:1/0", web=("127.0.0.1", 0), data_dir=tmp_path)
    app = Headrace(options, lambda topic: pytest.fail("no pipeline is needed here"))
    app.finalize()
    found = app.consumer
    found.sought = []

    async def seek_wait(positions: dict[TP, int]) -> None:
        found.sought.append(positions)

    monkeypatch.setattr(found, "seek_wait", seek_wait)
    yield found
    found._thread.thread_loop.close()
    await app.store.close()


def read(consumer: Consumer) -> list[int]:
    return [arrival.offset for arrival in consumer.backlog.take(1000)]


async def test_records_before_the_expected_offset_are_dropped(consumer: Consumer) -> None:
    consumer.next_offset[EVENTS] = 5
    assert not await consumer._accept(EVENTS, records(3, 4), 0.0)
    assert await consumer._accept(EVENTS, records(4, 5, 6), 0.0)
    assert read(consumer) == [5, 6]
    assert consumer.sought == []


async def test_a_fetch_that_was_lost_in_a_rebalance_is_read_again(consumer: Consumer) -> None:
    """Faust drops what a fetch brings while the assignment changes, and may go on behind it."""
    consumer.next_offset[EVENTS] = 5
    assert not await consumer._accept(EVENTS, records(9, 10), 0.0)
    assert consumer.sought == [{EVENTS: 5}]
    assert await consumer._accept(EVENTS, records(5, 6, 7, 8, 9, 10), 0.0)
    assert read(consumer) == [5, 6, 7, 8, 9, 10]


async def test_a_fetch_across_a_rebalance_is_not_dropped(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come after the seek to the committed offset: nobody would read its records again, and with no record after
    them nobody would notice."""
    fetcher = SimpleNamespace(should_stop=False)
    fetches = [{EVENTS: records(0, 1)}]

    async def next_records(timeout: float) -> tuple[dict[TP, list[Any]], set[TP]]:
        if not fetches:
            fetcher.should_stop = True
            return {}, set()
        consumer.stop_flow()
        return fetches.pop(), set()

    async def no_agent(tp: TP) -> None:
        return None

    monkeypatch.setattr(consumer, "_wait_next_records", next_records)
    monkeypatch.setattr(consumer, "_wake", no_agent)
    draining = asyncio.create_task(consumer._drain_messages(fetcher))
    await asyncio.sleep(0.01)
    assert not draining.done()
    consumer._set_active_tps({EVENTS})
    consumer.next_offset[EVENTS] = 0
    consumer.resume_flow()
    await asyncio.wait_for(draining, 1)
    assert read(consumer) == [0, 1]


async def test_a_consumer_that_stands_behind_what_it_gave_is_sent_back_once(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer._set_active_tps({EVENTS})
    consumer.next_offset[EVENTS] = 5
    monkeypatch.setattr(consumer._thread, "position_now", lambda tp: 9)
    await consumer._look_back()
    await consumer._look_back()
    assert consumer.sought == [{EVENTS: 5}]


async def test_records_of_a_partition_that_has_gone_are_left(consumer: Consumer) -> None:
    consumer._set_active_tps({TP("events", 1)})
    assert not await consumer._take_in({EVENTS: records(0, 1)})
    assert read(consumer) == []


async def test_a_gap_of_the_log_itself_is_passed_after_a_second_look(
    consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    consumer.next_offset[EVENTS] = 5
    assert not await consumer._accept(EVENTS, records(9), 0.0)
    assert await consumer._accept(EVENTS, records(9), 0.0)
    assert read(consumer) == [9]
    assert "offsets 5 to 8 are not in the log any more" in caplog.text
    assert await consumer._accept(EVENTS, records(10), 0.0)


async def committed_by(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> list[dict[TP, int]]:
    sent: list[dict[TP, int]] = []

    async def send(offsets: dict[TP, int], start_new_transaction: bool) -> bool:
        await asyncio.sleep(0.01)
        sent.append(dict(offsets))
        consumer._committed_offset.update(offsets)
        return True

    monkeypatch.setattr(consumer, "_commit_offsets", send)
    return sent


async def test_exactly_what_was_acknowledged_is_committed(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust stops committing for good once acknowledged offsets start more than one after the committed one."""
    sent = await committed_by(consumer, monkeypatch)
    consumer._committed_offset[EVENTS] = 10
    consumer.acknowledge({EVENTS: 25})
    assert await consumer.commit()
    assert not await consumer.commit()
    consumer.acknowledge({EVENTS: 20})
    assert not await consumer.commit(), "an offset never goes back"
    assert sent == [{EVENTS: 25}]
    assert consumer.committed(EVENTS) == 25


async def test_a_commit_during_a_commit_is_not_forgotten(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust lets the second caller wait for the first and then do nothing, also where it is the last before a stop."""
    sent = await committed_by(consumer, monkeypatch)
    consumer.acknowledge({EVENTS: 5})
    first = asyncio.create_task(consumer.commit())
    await asyncio.sleep(0)
    consumer.acknowledge({EVENTS: 9})
    await consumer.commit()
    await first
    assert sent[-1] == {EVENTS: 9}


async def test_partitions_do_not_move_before_the_batch_in_flight_is_settled(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await committed_by(consumer, monkeypatch)

    async def settle() -> None:
        await asyncio.sleep(0.02)
        consumer.acknowledge({EVENTS: 7})

    consumer.settle = settle
    await consumer.wait_empty()
    assert sent == [{EVENTS: 7}]


async def test_stopping_the_flow_forgets_what_waits(consumer: Consumer) -> None:
    await consumer._accept(EVENTS, records(0, 1), 0.0)
    consumer.stop_flow()
    assert len(consumer.backlog) == 0
    await asyncio.wait_for(consumer.backlog.wait_for_room(), 1)


async def test_what_waits_is_forgotten_where_reading_goes_back(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be handed out a second time, and the second copy is what is expected."""

    async def committed() -> dict[TP, int]:
        return {EVENTS: 5}

    monkeypatch.setattr(consumer, "seek_to_committed", committed)
    monkeypatch.setattr(consumer, "assignment", lambda: {EVENTS})
    await consumer._accept(EVENTS, records(5, 6), 0.0)
    await consumer.perform_seek()
    assert consumer.next_offset == {EVENTS: 5}
    await consumer._accept(EVENTS, records(5, 6, 7), 0.0)
    assert read(consumer) == [5, 6, 7]


def arrivals(partition: int, count: int) -> list[Arrival]:
    return [Arrival(partition, offset, None, b"", 0.0) for offset in range(count)]


def test_a_full_partition_starves_no_other() -> None:
    backlog = Backlog(capacity=10)
    backlog.extend(0, arrivals(0, 1000))
    backlog.extend(1, arrivals(1, 10))
    backlog.extend(2, arrivals(2, 3))
    batch = backlog.take(30)
    assert [sum(a.partition == p for a in batch) for p in range(3)] == [17, 10, 3]
    for partition in range(3):
        offsets = [a.offset for a in batch if a.partition == partition]
        assert offsets == list(range(len(offsets)))


def test_more_partitions_than_a_batch_holds_take_turns() -> None:
    backlog = Backlog(capacity=10)
    for partition in range(5):
        backlog.extend(partition, arrivals(partition, 4))
    seen = [a.partition for _ in range(5) for a in backlog.take(2)]
    assert sorted(seen) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


async def test_room_comes_back_when_records_are_taken() -> None:
    backlog = Backlog(capacity=3)
    backlog.extend(0, arrivals(0, 5))
    waiting = asyncio.create_task(backlog.wait_for_room())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    backlog.take(3)
    await asyncio.wait_for(waiting, 1)
