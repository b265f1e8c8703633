"""Whoever takes from the backlog is told of what waits in it, whatever a rebalance did to the message that told it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faust.types import TP

from streams.app.transport import Consumer
from tests.streams.test_transport import consumer, records

__all__ = ["consumer"]

A, B = TP("events", 0), TP("events", 1)


class Assignment:
    """Two partitions that are assigned while the broker has not said yet what is committed (`committed`)."""

    def __init__(self, consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.consumer, self.committed = consumer, asyncio.Event()
        self.flow, self.agent = (
            consumer.app.flow_control,
            consumer.app.FlowControlQueue(maxsize=100, clear_on_resume=True),
        )
        monkeypatch.setattr(consumer, "callback", self._conduct)
        monkeypatch.setattr(consumer, "_get_active_partitions", lambda: {A, B})
        monkeypatch.setattr(consumer, "assignment", lambda: {A, B})
        monkeypatch.setattr(consumer, "seek_to_committed", self._seek)
        self.resume()

    async def _conduct(self, message: Any) -> None:
        await self.flow.acquire()
        self.agent.put_nowait(message.value)

    async def _seek(self) -> dict[TP, int]:
        await self.committed.wait()
        return {A: 0, B: 0}

    def resume(self) -> None:
        """As Faust does: what waits for agents is forgotten, then the flow goes on."""
        self.flow.resume()
        self.consumer.resume_flow()

    async def seek(self) -> asyncio.Task[None]:
        seeking = asyncio.ensure_future(self.consumer.perform_seek())
        await asyncio.sleep(0)
        return seeking

    async def fetch(self) -> None:
        for n in range(3):
            await self.consumer._take_in({A: records(2 * n, 2 * n + 1)})


async def test_an_agent_at_work_is_not_told_of_more(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one message a fetch piles up behind an agent that is never done, and Faust stops reading for a second."""
    assigned = Assignment(consumer, monkeypatch)
    await assigned.fetch()
    assert await assigned.agent.get() is consumer.backlog
    for n in range(3, 8):
        assert len(consumer.backlog.take(1)) == 1
        await consumer._take_in({A: records(n + 3)})
    assert assigned.agent.empty()
    assert [a.offset for a in consumer.backlog.take(100)] == list(range(5, 11))
    assert consumer.backlog.take(100) == []
    await consumer._take_in({A: records(11)})
    assert assigned.agent.qsize() == 1


async def test_a_message_that_a_rebalance_swept_away_is_sent_again(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker without partitions goes on reading while Faust seeks those that it gets."""
    assigned = Assignment(consumer, monkeypatch)
    seeking = await assigned.seek()
    await consumer._take_in({A: records(0, 1)})
    assert assigned.agent.qsize() == 1
    assigned.committed.set()
    await seeking
    assigned.resume()
    assert assigned.agent.empty()
    assert await asyncio.wait_for(assigned.agent.get(), 1) is consumer.backlog, "even if nothing is fetched any more"
    consumer.backlog.take(100)
    consumer.backlog.take(100)
    await assigned.fetch()
    assert assigned.agent.qsize() == 1


async def test_a_message_that_was_cut_off_is_sent_again(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One partition's records are in the backlog, another's are to be read again, and the assignment changes meanwhile."""
    assigned, sought = Assignment(consumer, monkeypatch), asyncio.Event()
    consumer.next_offset |= {A: 0, B: 5}

    async def seek_wait(positions: dict[TP, int]) -> None:
        await sought.wait()

    monkeypatch.setattr(consumer, "seek_wait", seek_wait)
    taking = asyncio.ensure_future(consumer._take_in({A: records(0, 1), B: records(9)}))
    await asyncio.sleep(0)
    consumer.stop_flow()
    assigned.flow.suspend()
    assigned.flow.clear()
    seeking = await assigned.seek()
    sought.set()
    await taking
    assigned.committed.set()
    await seeking
    assigned.resume()
    await assigned.fetch()
    assert assigned.agent.qsize() == 1


async def test_what_still_waits_when_nothing_more_comes_is_told(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assigned = Assignment(consumer, monkeypatch)
    await assigned.fetch()
    assigned.agent.clear()
    monkeypatch.setattr(consumer._thread, "position_now", lambda tp: None)
    await consumer._look_back()
    assert await assigned.agent.get() is consumer.backlog
