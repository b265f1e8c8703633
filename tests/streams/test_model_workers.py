"""Two workers that are never on the same step: what one decides, the other does wherever it stands, and both end with the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from online_models.items import ItemTable
from online_models.newcomers import Newcomers
from online_models.prepared import Prepared
from streams.contracts.interactions import Interaction
from streams.contracts.models import Announcement, Decision
from streams.model_fetch import Cache
from streams.trial import Phase
from tests.streams.model_bench import Bench, Topic
from tests.streams.test_hotswap import CONFIG, GROUPS
from tests.streams.test_model_feed import candidate, live
from tests.versions import vectors_of

RANDOM = np.random.default_rng(5).normal(size=(len(GROUPS), 16)).astype(np.float32)


class Both:
    """Topic ``models.decisions`` of two workers: one order for both, and what is written stays on its way while ``held``."""

    def __init__(self, *topics: Topic) -> None:
        self._topics, self.held, self._waiting = topics, False, list[tuple[msgspec.Struct | None, str]]()

    def put(self, value: msgspec.Struct | None, key: str = "") -> None:
        self._waiting.append((value, key))
        if not self.held:
            self.release()

    def release(self) -> None:
        for value, key in self._waiting:
            for topic in self._topics:
                topic.put(value, key)
        self._waiting.clear()
        self.held = False


class Halting(Cache):
    """A cache at which a version waits before a step until it may go on."""

    def __init__(self, folder: Path, step: str) -> None:
        super().__init__(folder)
        self._step, self.go_on, self.halted = step, asyncio.Event(), False

    async def pass_by(self, step: str) -> None:
        if step == self._step:
            self.halted = True
            await self.go_on.wait()

    async def fetch(self, announcement: Announcement) -> Path:
        await self.pass_by("fetching")
        return await super().fetch(announcement)

    async def prepare(self, announcement: Announcement, folder: Path, restless_s: float = 0.0) -> Prepared:
        await self.pass_by("preparing")
        return await super().prepare(announcement, folder, restless_s)

    async def since(self, time_ms: int) -> AsyncIterator[Interaction]:
        await self.pass_by("replaying")
        for interaction in ():
            yield interaction


class Two:
    """Workers on the same topics, each with a machine of its own; the ``second`` may be halted on its way."""

    def __init__(self, folder: Path, step: str = "") -> None:
        self.first, self.second = self.workers = (Bench(folder), Bench(folder / "second"))
        self.second.feed._worker = "w2"
        self.decisions = Both(self.first.decisions, self.second.decisions)
        self.gate = Halting(folder / "second" / "cache", step)
        bringer = self.second.feed._bringer
        bringer._cache, bringer._since = self.gate, self.gate.since
        for n, worker in enumerate(self.workers):
            worker.decisions = self.decisions  # type: ignore[assignment]  # where it writes; its feed reads its own end
            worker.events(200, seed=n + 1)

    def announce(self, name: str, vectors: np.ndarray, created: int = 1) -> Announcement:
        made = self.first.made(name, vectors, created)
        for worker in self.workers:
            worker.models.put(made)
        return made

    @property
    def live(self) -> tuple[str | None, str | None]:
        return live(self.first), live(self.second)

    @property
    def decided(self) -> list[str]:
        return [f"{worker.feed._worker} {d.state}" for worker in self.workers for d in worker.decided]

    async def until(self, reached: object) -> None:
        """Flip both until something is reached."""
        assert callable(reached)
        async with asyncio.timeout(60):
            while not reached():
                self.first.feed.flip()
                self.second.feed.flip()
                await asyncio.sleep(0.005)


@pytest.fixture
async def following() -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks: list[asyncio.Task[None]] = []
    yield tasks
    assert all(not task.done() or task.exception() is None for task in tasks)
    for task in tasks:
        task.cancel()


async def two(folder: Path, tasks: list[asyncio.Task[None]], step: str = "") -> Two:
    """Two workers with a good version live, and another one announced that the second has come to ``step`` with."""
    found = Two(folder, step)
    tasks += [asyncio.create_task(worker.feed.follow()) for worker in found.workers]
    a = found.first.made("a", vectors_of(GROUPS))
    halting, found.gate._step = found.gate._step, ""
    found.decisions.put(Decision(announcement=a, state="promoted", by="operator", created=1))
    await found.until(lambda: found.live == (a.version, a.version))
    found.gate._step = halting
    return found


async def test_what_the_stream_changes_is_read_between_events_and_not_beside_them(
    tmp_path: Path, following: list[asyncio.Task[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread would meet a table in the middle of a compaction, or a newcomer's slot in the middle of a change."""
    asked: dict[str, set[int]] = {}

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*arguments: Any) -> Any:
            asked.setdefault(name, set()).add(threading.get_ident())
            return function(*arguments)

        return noting

    standing, learned, row = ItemTable.standing.fget, Newcomers.learned, ItemTable.row  # type: ignore[attr-defined]
    monkeypatch.setattr(ItemTable, "standing", property(noted("standing", standing)))
    monkeypatch.setattr(ItemTable, "row", noted("row", row))
    monkeypatch.setattr(Newcomers, "learned", noted("learned", learned))
    found = await two(tmp_path, following)
    b = found.announce("b", vectors_of(GROUPS, seed=4), 2)
    await found.until(lambda: candidate(found.first) == b.version)
    assert asked == {name: {threading.get_ident()} for name in ("standing", "row", "learned")}


def stands_at(found: Two, step: str) -> bool:
    trial = found.second.pipeline.versions.trial
    return found.gate.halted if trial is None else trial.phase.value == step


@pytest.mark.parametrize("step", ["fetching", "preparing", "replaying", "shadow", "canary"])
@pytest.mark.parametrize("good", [True, False], ids=["promoted", "rolled back"])
async def test_what_one_worker_decides_the_other_does_wherever_it_stands(
    good: bool, step: str, tmp_path: Path, following: list[asyncio.Task[None]]
) -> None:
    found = await two(tmp_path, following, step)
    a, b = live(found.first), found.announce("b", vectors_of(GROUPS, seed=4) if good else RANDOM, 2)
    await found.until(lambda: candidate(found.first) == b.version)
    if step == "canary":
        seed = 20
        while not stands_at(found, step):
            await found.until(lambda: candidate(found.second) == b.version)
            found.second.events(CONFIG.trial.shadow // 10, seed := seed + 1)
    await found.until(lambda: stands_at(found, step))
    before = found.second.events(20, seed=9)
    assert set(before) <= {f"1+{a}", f"1+{b.version}"}
    assert step == "canary" or set(before) == {f"1+{a}"}, "who has not come so far answers with what is live"

    seed = 30
    while not found.first.decided:
        assert seed < 40, "the first worker cannot decide"
        found.first.events(500, seed := seed + 1)
        await asyncio.sleep(0.02)
    assert found.decided == ["w1 promoted" if good else "w1 rolled_back"]
    wanted = b.version if good else a
    if good and found.second.pipeline.versions.trial is None:
        found.second.feed.flip()
        assert set(found.second.events(20, seed=10)) == {f"1+{a}"}, "the one before answers until it is here"
    found.gate.go_on.set()
    await found.until(lambda: found.live == (wanted, wanted) and found.second.feed._bringer.bringing == "")
    await found.until(lambda: candidate(found.second) is None)
    assert [set(worker.events(50, seed=11)) for worker in found.workers] == [{f"1+{wanted}"}] * 2
    assert found.decided == ["w1 promoted" if good else "w1 rolled_back"], "decided once, by the first who knew"


async def test_two_that_decide_the_opposite_at_once_end_with_the_same(
    tmp_path: Path, following: list[asyncio.Task[None]]
) -> None:
    found = await two(tmp_path, following)
    a, b = live(found.first), found.announce("b", vectors_of(GROUPS, seed=4), 2)
    await found.until(lambda: candidate(found.first) == candidate(found.second) == b.version)
    found.decisions.held = True
    for worker, phase in ((found.first, Phase.PROMOTED), (found.second, Phase.ROLLED_BACK)):
        trial = worker.pipeline.versions.trial
        assert trial is not None
        trial.phase = phase
        worker.pipeline.versions._move(trial)
    assert found.live == (b.version, a)
    await found.until(lambda: len(found.decided) == 2)
    assert found.live == (b.version, a), "neither knows of the other yet"
    found.decisions.release()
    await found.until(lambda: found.live == (a, a))
    assert [worker.feed.fleet.wanted.live.version for worker in found.workers if worker.feed.fleet.wanted.live] == [
        a,
        a,
    ]
    for worker in found.workers:
        worker.feed.flip()
    assert (candidate(found.first), candidate(found.second)) == (None, None), "what was sent back is not tried again"
