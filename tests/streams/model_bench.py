"""A worker's model feed with topics of its own, for tests: what it publishes is read back, as by every worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from online_models.embeddings import manifest_sha256
from streams.app.model_feed import ModelFeed
from streams.app.publisher import Outgoing
from streams.contracts.interactions import Interaction
from streams.contracts.models import SLOT, Announcement, Decision, TrainedOn, WorkerStatus
from streams.contracts.topics import Topics
from streams.model_fetch import Cache
from streams.pipeline import Pipeline
from tests.streams.test_hotswap import CONFIG, IDS, play, walk
from tests.versions import artefact

TOPICS = Topics()


class Topic:
    """A tail that gives what is put."""

    def __init__(self, name: str) -> None:
        self.name, self._queue, self._n = name, asyncio.Queue[Any](), 0

    def put(self, value: msgspec.Struct | bytes | None, key: str = SLOT) -> None:
        raw = value if value is None or isinstance(value, bytes) else msgspec.json.encode(value)
        self._queue.put_nowait(
            SimpleNamespace(topic=self.name, partition=0, offset=self._n, key=key.encode(), value=raw)
        )
        self._n += 1

    async def start(self, positions: dict[int, int]) -> None:
        pass

    async def ends(self) -> dict[int, int]:
        return {0: self._n}

    def behind(self, ends: dict[int, int]) -> list[int]:
        return [] if self._queue.empty() else [0]

    async def fetch(self, timeout_s: float, limit: int) -> dict[int, list[Any]]:
        return {0: [await self._queue.get()]}


class Bench:
    """A worker's feed with topics of its own, and what it publishes read back as every worker does."""

    def __init__(self, folder: Path, learned: Iterable[Interaction] = ()) -> None:
        self.folder, self.learned = folder, list(learned)
        self.pipeline = Pipeline(CONFIG)
        self.models, self.decisions = Topic(TOPICS.models), Topic(TOPICS.model_decisions)
        self.statuses: list[WorkerStatus] = []
        self.decided: list[Decision] = []
        self.gone: list[str] = []
        self.offset = 0
        self.feed = ModelFeed(
            self.pipeline, self.models, self.decisions, Cache(folder / "cache"), self, TOPICS, "w1", self._since  # type: ignore[arg-type]
        )  # fmt: skip

    async def _since(self, time_ms: int) -> AsyncIterator[Interaction]:
        for interaction in self.learned:
            yield interaction

    async def publish(self, records: Iterable[Outgoing]) -> None:
        for record in records:
            if record.topic == TOPICS.model_decisions and record.value is not None:
                decision = msgspec.json.decode(record.value, type=Decision)
                self.decided.append(decision)
                self.decisions.put(decision, record.key.decode())
            elif record.value is None:
                self.gone.append(record.key.decode())
            else:
                self.statuses.append(msgspec.json.decode(record.value, type=WorkerStatus))

    def announce(self, name: str, vectors: np.ndarray, created: int = 1, ids: list[str] = IDS) -> Announcement:
        found = self.made(name, vectors, created, ids)
        self.models.put(found)
        return found

    def made(self, name: str, vectors: np.ndarray, created: int = 1, ids: list[str] = IDS) -> Announcement:
        folder = self.folder / "store" / name
        manifest = artefact(folder, ids, vectors, created=created)
        return Announcement(
            version=manifest.version, uri=folder.as_uri(), sha256=manifest_sha256(folder), created=created, metrics={},
            trained=TrainedOn(from_ms=0, to_ms=0, events=1),
        )  # fmt: skip

    def events(self, count: int, seed: int) -> list[str]:
        named = play(self.pipeline, walk(count, seed=seed), self.offset)
        self.offset += count
        return named

    async def until(self, reached: Callable[[], bool]) -> None:
        """Flip between batches, as a worker does, until something is reached."""
        async with asyncio.timeout(60):
            while not reached():
                self.feed.flip()
                await asyncio.sleep(0.01)

    def step(self) -> tuple[str | None, str]:
        last = self.statuses[-1] if self.statuses else WorkerStatus(worker="", live=None, created=0)
        return last.candidate, last.step


@asynccontextmanager
async def following(folder: Path) -> AsyncIterator[Bench]:
    """A bench that has seen some events, and follows the topics; it must not have ended by itself."""
    found = Bench(folder)
    found.events(200, seed=1)
    task = asyncio.create_task(found.feed.follow())
    yield found
    assert not task.done() or task.exception() is None
    task.cancel()
