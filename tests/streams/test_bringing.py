"""On the way to a worker: who waits for whom, what the stream has added meanwhile, and how much of the time it takes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from online_models.prepared import Prepared
from streams import tailing
from streams.app import bringing
from streams.contracts.events import Source
from streams.contracts.interactions import Interaction
from streams.contracts.models import Announcement, Decision
from streams.model_fetch import Cache
from streams.pipeline import Pipeline
from streams.tailing import SLICE_S, Breather
from tests.streams.model_bench import Bench, following
from tests.streams.test_hotswap import CONFIG, GROUPS, IDS, walk
from tests.streams.test_model_feed import candidate, live
from tests.versions import vectors_of


def interactions(count: int) -> list[Interaction]:
    outcomes = Pipeline(CONFIG).process([(event, Source(0, n)) for n, event in enumerate(walk(count))])
    return [o.interaction for o in outcomes if o.interaction is not None]


async def test_one_that_has_failed_before_does_not_take_the_place_of_one_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live version, lost for good and tried again and again, would keep every other one from arriving."""
    monkeypatch.setattr(bringing, "FIRST_PAUSE", 0.02)
    fetch, go_on, asked = Cache.fetch, asyncio.Event(), []

    async def slowly(self: Cache, announcement: Announcement) -> Path:
        asked.append(announcement.created)
        if announcement.created == 2:
            await go_on.wait()
        return await fetch(self, announcement)

    monkeypatch.setattr(Cache, "fetch", slowly)
    async with following(tmp_path) as bench:
        a = bench.made("a", vectors_of(GROUPS))
        (tmp_path / "store" / "a").rename(tmp_path / "elsewhere")
        bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
        b = bench.announce("b", vectors_of(GROUPS, seed=4), created=2)
        await bench.until(lambda: 2 in asked)
        tried = asked.count(1)
        await bench.until(lambda: time.monotonic() > bench.feed._bringer._attempt(a.version)[0])
        for _ in range(5):
            bench.feed.flip()
            await asyncio.sleep(0)
        assert (asked.count(1), asked.count(2)) == (tried, 1)
        go_on.set()
        await bench.until(lambda: candidate(bench) == b.version)
        assert asked.count(2) == 1


async def test_a_version_on_its_way_is_kept_when_what_nobody_needs_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another change of what answers comes between; nothing holds this one yet but whoever brings it."""
    monkeypatch.setattr("streams.model_fetch.KEEP_S", 0.0)
    prepare, arrived, go_on, removed = Cache.prepare, asyncio.Event(), asyncio.Event(), threading.Event()
    drop = Cache.drop_all_but

    async def slowly(self: Cache, announcement: Announcement, folder: Path, restless_s: float = 0.0) -> Prepared:
        arrived.set()
        await go_on.wait()
        return await prepare(self, announcement, folder, restless_s)

    def dropping(self: Cache, versions: Collection[str]) -> None:
        drop(self, versions)
        removed.set()

    monkeypatch.setattr(Cache, "prepare", slowly)
    monkeypatch.setattr(Cache, "drop_all_but", dropping)
    async with following(tmp_path) as bench:
        a = bench.announce("a", vectors_of(GROUPS))
        await bench.until(arrived.is_set)
        bench.feed._bringer.keep(())
        assert await asyncio.to_thread(removed.wait, 30)
        assert bench.feed._bringer._cache.holds(a.version)
        assert bench.feed._bringer.known == {a.version: a}, "a decision names its announcement"
        go_on.set()
        await bench.until(lambda: candidate(bench) == a.version)


async def test_items_that_the_stream_adds_while_a_version_replays_are_known_to_it(tmp_path: Path) -> None:
    """It was trained with them: they are no newcomers, whatever the item table knew when it was made."""
    bench = Bench(tmp_path)
    bench.events(5, seed=1)

    async def since(time_ms: int) -> AsyncIterator[Interaction]:
        bench.events(400, seed=1)
        for interaction in interactions(405):
            yield interaction

    bench.feed._bringer._since = since
    a = bench.made("a", vectors_of(GROUPS)[:100], ids=IDS[:100])
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await bench.feed.catch_up()
    assert live(bench) == a.version
    version, ids = bench.pipeline.versions.live, bench.pipeline.knowledge.items.ids
    assert version is not None
    learned = {ids[item] for item in version.newcomers.item[: version.newcomers.used].tolist()}
    assert learned
    assert learned <= set(IDS[100:])


class Clock:
    """A millisecond passes at each look; what is slept is noted, and not waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.slept, sleep = 0.0, list[float](), asyncio.sleep

        async def noting(seconds: float) -> None:
            self.slept.append(seconds)
            await sleep(0)

        monkeypatch.setattr(tailing, "monotonic", self.look)
        monkeypatch.setattr(asyncio, "sleep", noting)

    def look(self) -> float:
        self.now += 0.001
        return self.now


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
async def test_a_long_loop_rests_for_the_others_share(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, breather = Clock(monkeypatch), Breather(share)
    for _ in range(100):
        await breather.breathe()
    assert len(clock.slept) > 10
    assert clock.slept == pytest.approx([SLICE_S / share - SLICE_S] * len(clock.slept))


async def test_a_replay_leaves_most_of_the_time_to_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, interactions(200))
    bench.events(200, seed=1)
    a = bench.made("a", vectors_of(GROUPS)[:100], ids=IDS[:100])
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    clock = Clock(monkeypatch)
    await bench.feed.catch_up()
    assert live(bench) == a.version
    assert len([s for s in clock.slept if s >= 4 * SLICE_S]) > 20
