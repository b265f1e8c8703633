"""What a worker tells of itself when nothing changes: how far its trial is, and that it is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams.app import telling
from streams.contracts.models import Decision
from tests.streams.model_bench import TOPICS, following
from tests.streams.test_hotswap import GROUPS
from tests.streams.test_model_feed import candidate, live
from tests.versions import vectors_of


async def test_the_moments_of_a_trial_are_told_while_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "LOOK_S", 0.01)
    async with following(tmp_path) as bench:
        a = bench.announce("a", vectors_of(GROUPS))
        await bench.until(lambda: candidate(bench) == a.version)
        for seed, count in enumerate((50, 40, 60)):
            bench.events(count, seed=seed)
            trial = bench.pipeline.versions.trial
            assert trial is not None
            told = trial.phase.value, trial.difference.n
            assert told[1] > 0
            await bench.until(lambda told=told: (bench.statuses[-1].step, bench.statuses[-1].moments) == told)  # type: ignore[misc]
        before = len(bench.statuses)
        await asyncio.sleep(0.1)
        assert len(bench.statuses) == before, "nothing has changed"


async def test_a_worker_with_nothing_new_says_again_and_again_that_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topic forgets a status after a day."""
    again = telling.AGAIN_S
    monkeypatch.setattr(telling, "LOOK_S", 0.01)
    monkeypatch.setattr(telling, "AGAIN_S", 0.02)
    async with following(tmp_path) as bench:
        await bench.until(lambda: len(bench.statuses) >= 3)
        assert {(s.worker, s.live, s.step) for s in bench.statuses} == {("w1", "none", "")}
    day_s = int(TOPICS.configs()[TOPICS.model_status]["retention.ms"]) / 1_000
    assert again < day_s / 10


async def test_so_are_those_of_the_watch_after_it_whoever_promoted_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "LOOK_S", 0.01)
    async with following(tmp_path) as bench:
        a = bench.announce("a", vectors_of(GROUPS))
        await bench.until(lambda: candidate(bench) == a.version)
        bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
        await bench.until(lambda: live(bench) == a.version)
        bench.events(50, seed=2)
        trial = bench.pipeline.versions.trial
        assert trial is not None
        await bench.until(lambda: bench.statuses[-1].moments == trial.difference.n > 0)
        assert (bench.statuses[-1].step, bench.statuses[-1].live) == ("promoted", a.version)
