"""A worker that starts: it waits for the live version, with all it has, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from online_models.prepared import Prepared
from streams.app import model_feed
from streams.contracts.models import Announcement, Decision
from streams.model_fetch import Cache
from tests.streams.model_bench import Bench
from tests.streams.test_hotswap import GROUPS
from tests.streams.test_model_feed import live
from tests.versions import vectors_of


class Store:
    """One that hangs, until ``answer`` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.answer, self.hung_up = asyncio.Event(), asyncio.Event(), False
        fetch, store = Cache.fetch, self

        async def fetch_slowly(self: Cache, announcement: Announcement) -> Path:
            store.asked.set()
            try:
                await store.answer.wait()
            except asyncio.CancelledError:
                store.hung_up = True
                raise
            return await fetch(self, announcement)

        monkeypatch.setattr(Cache, "fetch", fetch_slowly)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    found = Bench(tmp_path)
    found.events(100, seed=1)
    yield found
    found.feed._bringer.stop()


async def test_a_store_that_hangs_does_not_keep_a_worker_from_starting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(model_feed, "START_S", 0.05)
    store = Store(monkeypatch)
    a = bench.made("a", vectors_of(GROUPS))
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await asyncio.wait_for(bench.feed.catch_up(), 30)
    assert live(bench) is None
    assert f"model {a.version} has not come within 0 s: the worker begins without it" in caplog.text
    assert set(bench.events(20, seed=2)) == {"1"}
    store.answer.set()
    await bench.until(lambda: live(bench) == a.version)


async def test_a_worker_that_is_stopped_while_it_starts_brings_nothing_any_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(monkeypatch)
    a = bench.made("a", vectors_of(GROUPS))
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    starting = asyncio.create_task(bench.feed.catch_up())
    await store.asked.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await asyncio.sleep(0)
    assert store.hung_up


async def test_preparing_takes_all_of_the_time_until_there_is_a_stream_beside_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, restless = Cache.prepare, []

    async def noting(self: Cache, announcement: Announcement, folder: Path, restless_s: float = 0.0) -> Prepared:
        restless.append(restless_s)
        return await prepare(self, announcement, folder, restless_s)

    monkeypatch.setattr(Cache, "prepare", noting)
    a, b = bench.made("a", vectors_of(GROUPS)), bench.made("b", vectors_of(GROUPS, seed=4), created=2)
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await bench.feed.catch_up()
    assert live(bench) == a.version
    bench.feed.fleet.decide(Decision(announcement=b, state="promoted", by="w2", created=2))
    await bench.until(lambda: live(bench) == b.version)
    assert 0.0 < restless[0] <= model_feed.START_S
    assert restless[1:] == [0.0]
