"""Snapshots of a running worker: what is in one, where its tail begins, and that none is written too early."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streams import snapshots
from streams.app.config import WorkerConfig
from streams.app.keeper import SnapshotKeeper
from streams.contracts.events import Event, Source
from streams.interaction_log import Position
from streams.metrics import WorkerMetrics
from streams.pipeline import Pipeline
from tests.worlds import START


class Bench:
    """A keeper around a real pipeline; ``log`` stands for how far the topic has been read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pipeline, self.metrics = folder, Pipeline(stored=True), WorkerMetrics()
        self.log: Any = SimpleNamespace(positions={0: Position(0)}, learned=0, settled=True)
        self.keeper = SnapshotKeeper(
            self.pipeline, self.log, folder, "w", WorkerConfig(snapshot_interactions=5), self.metrics
        )
        self.offset = 0

    def events(self, count: int) -> None:
        for n in range(self.offset, self.offset + count):
            event = Event(
                timestamp=START + 1000 * n, user_id="ann", item_id=f"i{n}", event_type="view", event_id=f"e{n}"
            )
            self.pipeline.process([(event, Source(0, n))])
        self.offset += count

    def read(self, offset: int) -> None:
        """Records of others, read from the topic."""
        self.log.positions = {0: Position(offset)}

    async def written(self) -> snapshots.Arrays | None:
        """What the newest file holds, after the writing."""
        self.keeper.tick({})
        while self.keeper._writing is not None and not self.keeper._writing.done():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        self.found = snapshots.load(self.folder)
        return None if self.found is None else self.found[0]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def items_of(state: snapshots.Arrays | None) -> int:
    assert state is not None
    pipeline = Pipeline(stored=True)
    pipeline.restore(state)
    return len(pipeline.knowledge.items)


async def test_nothing_is_asked_before_enough_is_new(bench: Bench) -> None:
    bench.events(4)
    bench.keeper.tick({0: 4})
    bench.events(1)
    bench.keeper.tick({0: 5})
    assert await bench.written() is None


async def test_a_copy_is_written_only_when_all_of_it_is_committed(bench: Bench) -> None:
    bench.events(6)
    bench.keeper.tick({0: 0})
    bench.events(1)  # the copy is made before this one: it holds 6
    bench.events(3)
    for committed in ({0: 0}, {0: 5}, {1: 900}, {}):
        bench.keeper.tick(committed)
        assert await bench.written() is None, f"written when {committed} was committed"
    bench.keeper.tick({0: 6})
    assert items_of(await bench.written()) == 6


async def test_the_tail_begins_where_the_copy_was_asked_for(bench: Bench) -> None:
    bench.events(6)
    bench.read(100)
    bench.keeper.tick({0: 0})
    bench.read(150)
    bench.events(1)
    bench.read(200)
    bench.keeper.tick({0: 7})
    await bench.written()
    assert bench.found is not None
    assert bench.found[1].positions == {0: Position(100)}


async def test_held_interactions_keep_snapshots_away(bench: Bench) -> None:
    bench.events(6)
    bench.log.settled = False
    bench.keeper.tick({0: 6})
    bench.events(1)
    bench.keeper.tick({0: 7})
    assert await bench.written() is None
    await bench.keeper.finish(whole=True)
    assert snapshots.load(bench.folder) is None


async def test_the_last_snapshot_is_whole_or_there_is_none(bench: Bench) -> None:
    bench.events(3)
    await bench.keeper.finish(whole=False)
    assert snapshots.load(bench.folder) is None
    await bench.keeper.finish(whole=True)
    found = snapshots.load(bench.folder)
    assert found is not None
    assert items_of(found[0]) == 3


async def test_a_disk_that_is_full_does_not_stop_the_stream(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*args: Any) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshots, "save", full)
    bench.events(6)
    bench.keeper.tick({0: 0})
    bench.events(1)
    bench.keeper.tick({0: 7})
    await bench.written()
    assert "No space left" in caplog.text
    assert bench.metrics.snapshots._value.get() == 0


async def test_a_partition_that_moves_away_does_not_keep_snapshots_away_for_good(bench: Bench) -> None:
    bench.events(6)
    bench.keeper.tick({0: 0})
    bench.events(1)
    bench.pipeline.begin({3: 0})
    assert not bench.pipeline.capturing
    bench.keeper.tick({3: 0})
    bench.events(1)
    bench.keeper.tick({0: 8, 3: 0})
    assert items_of(await bench.written()) == 7
