"""What a worker tells of its versions: what its trial decides (topic ``models.decisions``), and where it is (``models.status``)."""

from __future__ import annotations

import asyncio
import time

import msgspec

from streams.contracts.models import Decision, WorkerStatus
from streams.contracts.topics import Topics
from streams.hotswap import Versions, name_of

from .publisher import Outgoing, Publisher

LOOK_S = 5.0
"""How often a trial's moments are told, if they have grown."""
AGAIN_S = 3_600.0
"""How often a worker that has nothing new to tell says where it is: the topic keeps a status for a day."""


class Teller:
    """Publishes decisions, and after each change where the worker named ``worker`` is with its ``versions``."""

    def __init__(self, versions: Versions, publisher: Publisher, topics: Topics, worker: str) -> None:
        self._versions, self._publisher, self._topics, self._worker = versions, publisher, topics, worker
        self._said = self._told = WorkerStatus(worker=worker, live=None, created=0)
        self._told_at = time.monotonic()
        self._news: asyncio.Queue[Decision | None] = asyncio.Queue()
        self._encode = msgspec.json.Encoder().encode
        self._left = False

    def say(self, candidate: str | None, step: str, error: str = "", moments: int = 0) -> None:
        """What the worker does with a version from now on."""
        self._said = msgspec.structs.replace(self._said, candidate=candidate, step=step, error=error, moments=moments)
        self._news.put_nowait(None)

    def decide(self, decision: Decision) -> None:
        """Something was decided here."""
        self._news.put_nowait(decision)

    @property
    def _now(self) -> WorkerStatus:
        """What was said, with as many moments as the trial has compared by now."""
        trial, said = self._versions.trial, self._said
        moments = trial.difference.n if trial is not None and trial.phase.value == said.step else said.moments
        return msgspec.structs.replace(said, live=name_of(self._versions.live), moments=moments, created=_now_ms())

    async def tell(self) -> None:
        """Publish what there is to tell, until cancelled."""
        await asyncio.gather(self._publish(), self._look())

    async def _publish(self) -> None:
        while True:
            news = [await self._news.get()]
            while not self._news.empty():
                news.append(self._news.get_nowait())
            records = [
                Outgoing(self._topics.model_decisions, d.announcement.version.encode(), self._encode(d))
                for d in news
                if d is not None
            ]
            self._told, self._told_at = self._now, time.monotonic()
            records.append(Outgoing(self._topics.model_status, self._worker.encode(), self._encode(self._told)))
            if not self._left:
                await self._publisher.publish(records)

    async def _look(self) -> None:
        """A trial's moments grow without anybody saying so, and what was told long ago is forgotten."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._now.moments != self._told.moments or time.monotonic() > self._told_at + AGAIN_S:
                self._news.put_nowait(None)

    async def leave(self) -> None:
        """Take this worker's status off the topic."""
        self._left = True
        await self._publisher.publish([Outgoing(self._topics.model_status, self._worker.encode(), None)])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
