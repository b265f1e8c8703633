"""From an announcement to lists that say the version, and whatever can go wrong on the way."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from online_models.embeddings import ITEMS, MANIFEST, manifest_sha256
from streams.app import bringing
from streams.contracts.events import Source
from streams.contracts.models import Decision
from streams.pipeline import Pipeline
from tests.streams.model_bench import Bench, following
from tests.streams.test_hotswap import CONFIG, GROUPS, IDS, walk
from tests.versions import vectors_of


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with following(tmp_path) as found:
        yield found


def live(bench: Bench) -> str | None:
    return bench.pipeline.versions.live.name if bench.pipeline.versions.live else None


def candidate(bench: Bench) -> str | None:
    return bench.pipeline.versions.candidate.name if bench.pipeline.versions.candidate else None


async def test_announced_tried_promoted_told(bench: Bench) -> None:
    a = bench.announce("a", vectors_of(GROUPS))
    await bench.until(lambda: candidate(bench) == a.version)
    bench.events(3_000, seed=2)
    assert live(bench) == a.version
    await bench.until(lambda: bool(bench.decided))
    [decision] = bench.decided
    assert (decision.state, decision.by, decision.announcement) == ("promoted", "w1", a)
    assert decision.moments is not None
    assert decision.low is not None
    assert decision.low > -CONFIG.trial.margin
    assert [s.step for s in bench.statuses][:3] == ["fetching", "preparing", "replaying"] or bench.statuses
    await bench.until(lambda: bench.statuses[-1].live == a.version)


SHUFFLED = vectors_of(np.random.default_rng(8).permutation(GROUPS).tolist(), seed=3)
BAD = {"wrong": SHUFFLED, "random": np.random.default_rng(5).normal(size=SHUFFLED.shape).astype(np.float32)}


@pytest.mark.parametrize("vectors", BAD)
async def test_an_honest_but_bad_version_is_sent_back_and_stays_away(bench: Bench, vectors: str) -> None:
    a = bench.announce("a", vectors_of(GROUPS))
    bench.decisions.put(Decision(announcement=a, state="promoted", by="operator", created=1))
    await bench.until(lambda: live(bench) == a.version)
    bench.events(1_000, seed=2)
    b = bench.announce("b", BAD[vectors], created=2)
    await bench.until(lambda: candidate(bench) == b.version)
    bench.events(2_000, seed=3)
    assert (live(bench), candidate(bench)) == (a.version, None)
    await bench.until(lambda: bool(bench.decided))
    assert [(d.announcement.version, d.state) for d in bench.decided] == [(b.version, "rolled_back")]
    bench.models.put(b)
    for _ in range(20):
        bench.feed.flip()
        await asyncio.sleep(0.01)
    assert candidate(bench) is None, "what was sent back is not tried again"


def flip_a_bit(folder: Path) -> None:
    raw = bytearray((folder / ITEMS).read_bytes())
    raw[-5] ^= 1
    (folder / ITEMS).write_bytes(raw)


def cut(folder: Path) -> None:
    (folder / ITEMS).write_bytes((folder / ITEMS).read_bytes()[:-40])


def newer_schema(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"schema": 99}))


DAMAGE: dict[str, Callable[[Path], None]] = {"a bit": flip_a_bit, "truncated": cut, "newer schema": newer_schema}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_what_is_damaged_is_refused_and_the_next_one_taken(bench: Bench, damage: str) -> None:
    a = bench.made("a", vectors_of(GROUPS))
    DAMAGE[damage](bench.folder / "store" / "a")
    sha256 = manifest_sha256(bench.folder / "store" / "a")
    bench.models.put(msgspec.structs.replace(a, sha256=sha256))
    await bench.until(lambda: bench.step() == (a.version, "refused"))
    assert bench.statuses[-1].error
    bench.events(50, seed=2)
    b = bench.announce("b", vectors_of(GROUPS, seed=4), created=2)
    await bench.until(lambda: candidate(bench) == b.version)


async def test_an_artefact_that_is_not_the_announced_one_is_refused(bench: Bench) -> None:
    a = bench.made("a", vectors_of(GROUPS))
    bench.models.put(msgspec.structs.replace(a, sha256="ab" * 32))
    await bench.until(lambda: bench.step() == (a.version, "refused"))


async def test_a_row_of_nan_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = vectors_of(GROUPS)
    vectors[7, 3] = np.nan
    a = bench.announce("a", vectors)
    await bench.until(lambda: bench.step() == (a.version, "refused"))
    assert "NaN" in bench.statuses[-1].error


async def test_what_is_not_there_yet_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bringing, "FIRST_PAUSE", 0.05)
    a = bench.made("a", vectors_of(GROUPS))
    store = bench.folder / "store" / "a"
    store.rename(bench.folder / "elsewhere")
    bench.models.put(a)
    await bench.until(lambda: bench.step() == (a.version, "waiting"))
    assert "No such file or directory; it is tried again later" in bench.statuses[-1].error
    (bench.folder / "elsewhere").rename(store)
    await bench.until(lambda: candidate(bench) == a.version)


async def test_of_two_announcements_in_quick_succession_the_second_counts(bench: Bench) -> None:
    bench.announce("a", vectors_of(GROUPS))
    b = bench.announce("b", vectors_of(GROUPS, seed=4), created=2)
    await bench.until(lambda: candidate(bench) == b.version)
    c = bench.announce("c", vectors_of(GROUPS, seed=5), created=3)
    bench.announce("d", vectors_of(GROUPS, seed=6), created=2)
    await bench.until(lambda: candidate(bench) == c.version)


async def test_a_version_of_other_dims_takes_over(bench: Bench) -> None:
    a, b = bench.made("a", vectors_of(GROUPS)), bench.made("b", vectors_of(GROUPS, dims=24), created=2)
    bench.decisions.put(Decision(announcement=a, state="promoted", by="operator", created=1))
    await bench.until(lambda: live(bench) == a.version)
    bench.events(100, seed=2)
    bench.decisions.put(Decision(announcement=b, state="promoted", by="operator", created=2))
    await bench.until(lambda: live(bench) == b.version)
    assert set(bench.events(100, seed=3)) == {f"1+{b.version}"}


async def test_what_others_decide_is_done_here_wherever_this_worker_stands(bench: Bench) -> None:
    a = bench.announce("a", vectors_of(GROUPS))
    await bench.until(lambda: candidate(bench) == a.version)
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await bench.until(lambda: live(bench) == a.version)
    assert bench.decided == []
    b = bench.announce("b", vectors_of(GROUPS, seed=4), created=2)
    await bench.until(lambda: candidate(bench) == b.version)
    bench.decisions.put(Decision(announcement=b, state="rolled_back", by="w2", created=2))
    await bench.until(lambda: candidate(bench) is None)
    c = bench.made("c", vectors_of(GROUPS, seed=5), created=3)
    bench.decisions.put(Decision(announcement=c, state="promoted", by="w2", created=3))  # before it was announced here
    await bench.until(lambda: live(bench) == c.version)
    bench.decisions.put(Decision(announcement=c, state="rolled_back", by="operator", created=4))
    await bench.until(lambda: live(bench) == a.version)


async def test_a_pin_is_obeyed_and_nothing_is_tried_beside_it(bench: Bench) -> None:
    a = bench.made("a", vectors_of(GROUPS))
    b = bench.announce("b", vectors_of(GROUPS, seed=4), created=2)
    await bench.until(lambda: candidate(bench) == b.version)
    bench.decisions.put(Decision(announcement=a, state="pinned", by="operator", created=9))
    await bench.until(lambda: live(bench) == a.version)
    assert candidate(bench) is None


async def test_a_pin_in_the_middle_of_a_trial_ends_it_for_good(bench: Bench) -> None:
    a = bench.announce("a", vectors_of(GROUPS))
    bench.decisions.put(Decision(announcement=a, state="promoted", by="operator", created=1))
    await bench.until(lambda: live(bench) == a.version)
    bench.events(1_000, seed=2)
    b = bench.announce("b", SHUFFLED, created=2)
    await bench.until(lambda: candidate(bench) == b.version)
    bench.decisions.put(Decision(announcement=b, state="pinned", by="operator", created=9))
    await bench.until(lambda: live(bench) == b.version)
    bench.events(2_000, seed=3)
    bench.feed.flip()
    assert live(bench) == b.version
    assert bench.decided == [], "nothing speaks against the operator"


async def test_a_pin_of_what_is_live_and_still_watched_ends_the_watch(bench: Bench) -> None:
    a = bench.announce("a", vectors_of(GROUPS))
    await bench.until(lambda: candidate(bench) == a.version)
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await bench.until(lambda: live(bench) == a.version)
    assert bench.pipeline.versions.trial is not None
    bench.decisions.put(Decision(announcement=a, state="pinned", by="operator", created=2))
    await bench.until(lambda: bench.pipeline.versions.trial is None)
    assert live(bench) == a.version


async def test_a_worker_that_stops_takes_its_status_away(bench: Bench) -> None:
    bench.announce("a", vectors_of(GROUPS))
    await bench.until(lambda: bool(bench.statuses))
    await bench.feed.leave()
    assert bench.gone == ["w1"]
    before = len(bench.statuses)
    bench.feed._teller.say(None, "late")
    await asyncio.sleep(0.05)
    assert len(bench.statuses) == before


async def test_a_restart_comes_up_with_the_version_last_promoted(bench: Bench, tmp_path: Path) -> None:
    a = bench.made("a", vectors_of(GROUPS))
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await bench.until(lambda: live(bench) == a.version)
    shutil.rmtree(bench.folder / "store")
    again = Bench(tmp_path)
    again.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await again.feed.catch_up()
    assert live(again) == a.version, "from the worker's own copy"
    assert set(again.events(20, seed=2)) == {f"1+{a.version}"}


async def test_a_restart_does_not_wait_for_what_cannot_be_had(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    a = bench.made("a", vectors_of(GROUPS))
    shutil.rmtree(tmp_path / "store")
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await bench.feed.catch_up()
    assert live(bench) is None
    assert len(bench.events(20, seed=2)) == 20


async def test_records_that_are_none_are_left_out(bench: Bench) -> None:
    bench.models.put(b"{")
    bench.models.put(b'{"more": ' + b"[" * 5_000)
    bench.models.put(b'{"v": 1}')
    bench.decisions.put(b"\xff")
    bench.decisions.put(None, "nobody")
    a = bench.announce("a", vectors_of(GROUPS))
    await bench.until(lambda: candidate(bench) == a.version)


async def test_newcomers_learn_from_what_happened_since_the_training(tmp_path: Path) -> None:
    known = IDS[:60]
    before = Pipeline(CONFIG)
    outcomes = before.process([(event, Source(0, n)) for n, event in enumerate(walk(800))])
    bench = Bench(tmp_path, [o.interaction for o in outcomes if o.interaction is not None])
    bench.events(800, seed=1)
    a = bench.made("a", vectors_of(GROUPS)[:60], ids=known)
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await bench.feed.catch_up()
    version = bench.pipeline.versions.live
    assert version is not None
    learned = {bench.pipeline.knowledge.items.ids[i] for i in version.newcomers.item[: version.newcomers.used].tolist()}
    assert learned <= set(IDS[60:])
    assert len(learned) > 40


async def test_what_was_learned_online_is_taken_along(bench: Bench) -> None:
    known, vectors = IDS[:60], vectors_of(GROUPS)[:60]
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(16, 16)))[0].astype(np.float32)
    a = bench.made("a", vectors, ids=known)
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await bench.until(lambda: live(bench) == a.version)
    bench.events(800, seed=2)
    before = bench.pipeline.versions.live
    b = bench.made("b", vectors @ turn, ids=known, created=2)
    bench.decisions.put(Decision(announcement=b, state="promoted", by="w2", created=2))
    await bench.until(lambda: live(bench) == b.version)
    after = bench.pipeline.versions.live
    assert before is not None
    assert after is not None
    old = {item: before.newcomers.means[slot] for slot, item in enumerate(before.newcomers.item.tolist()) if item >= 0}
    new = {item: after.newcomers.means[slot] for slot, item in enumerate(after.newcomers.item.tolist()) if item >= 0}
    assert len(old) > 40
    assert all(np.allclose(new[item], mean @ turn, atol=0.05) for item, mean in old.items())
    assert bench.pipeline.versions.flip_s > 0.0


async def test_copies_that_nobody_needs_go(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.model_fetch.KEEP_S", 0.0)
    found = []
    for n, name in enumerate("abc"):
        a = bench.made(name, vectors_of(GROUPS, seed=n), created=n)
        bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=n))
        await bench.until(lambda v=a.version: live(bench) == v)  # type: ignore[misc]
        found.append(a.version)
    await bench.until(lambda: {p.name for p in (bench.folder / "cache").iterdir()} == set(found[1:]))
