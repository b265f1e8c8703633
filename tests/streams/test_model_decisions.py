"""What is decided of versions, by workers and by operators: what stays of it, what becomes of copies, and what the log says."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

import pytest

from streams.contracts.models import Decision
from streams.model_fetch import Cache
from tests.streams.model_bench import Bench
from tests.streams.test_hotswap import GROUPS
from tests.streams.test_model_feed import candidate, live
from tests.versions import vectors_of


async def test_a_restart_comes_up_with_the_same_when_old_decisions_were_taken_off(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.events(100, seed=1)
    made = [bench.made(f"m{n}", vectors_of(GROUPS, seed=n + 1), created=n) for n in range(30)]
    for n, announcement in enumerate(made):
        bench.models.put(announcement)
        state = "promoted" if n in (2, 4) else "rolled_back"
        bench.decisions.put(Decision(announcement=announcement, state=state, by="w2", created=n), announcement.version)  # type: ignore[arg-type]
    await bench.feed.catch_up()
    assert live(bench) == made[4].version
    spent = bench.feed.fleet.spent()
    assert set(spent) == {a.version for n, a in enumerate(made[:10]) if n not in (2, 4)}

    again = Bench(tmp_path)
    again.models.put(made[-1])
    for decision in bench.feed.fleet.decisions.values():
        again.decisions.put(decision, decision.announcement.version)
    for version in spent:
        again.decisions.put(None, version)
    await again.feed.catch_up()
    assert (live(again), candidate(again)) == (made[4].version, None)
    assert len(again.feed.fleet.decisions) == 22
    again.feed.flip()
    assert again.feed._bringer.bringing == "", "nothing that was sent back is brought again"


async def test_an_announcement_under_another_key_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path)
    bench.models.put(bench.made("a", vectors_of(GROUPS)), "deeper")
    await bench.feed.catch_up()
    assert bench.feed.fleet.wanted.candidate is None
    assert "expected an announcement under key 'deep', got b'deeper'" in caplog.text


async def test_old_copies_that_cannot_be_removed_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Cache):
        def drop_all_but(self, versions: Collection[str]) -> None:
            raise PermissionError(13, "the folder is not ours any more")

    bench = Bench(tmp_path)
    bench.feed._bringer._cache = Stuck(tmp_path / "cache")
    a = bench.made("a", vectors_of(GROUPS))
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await bench.feed.catch_up()
    await bench.until(lambda: "could not be removed: PermissionError(13, 'the folder is not ours" in caplog.text)
    assert live(bench) == a.version


async def test_what_others_decide_stands_in_the_log_once_and_not_again_at_each_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "headrace")
    bench = Bench(tmp_path)
    bench.events(100, seed=1)
    a, b = bench.made("a", vectors_of(GROUPS)), bench.made("b", vectors_of(GROUPS, seed=4), created=2)
    bench.decisions.put(Decision(announcement=a, state="promoted", by="operator", created=1, reason="long ago"))
    await bench.feed.catch_up()
    following = asyncio.create_task(bench.feed.follow())
    pin = Decision(announcement=b, state="pinned", by="operator", created=2, reason="sale\nof the week")
    for decision in (pin, pin, Decision(announcement=b, state="rolled_back", by="w2", created=3)):
        bench.decisions.put(decision)
    bench.decisions.put(Decision(announcement=b, state="promoted", by="w1", created=4))  # its own: the trial has told
    await bench.until(lambda: live(bench) == b.version)
    following.cancel()
    told = [line for line in caplog.messages if " by " in line]
    assert told == [
        f"model {b.version}: pinned by operator, 'sale\\nof the week'",
        f"model {b.version}: rolled back by w2",
    ]
    assert {r.levelname for r in caplog.records if r.message in told} == {"INFO"}
