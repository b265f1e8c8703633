"""What keeps a version from coming here is no fault of the version's, and holds up neither the stream nor other versions."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from online_models import prepared
from online_models.embeddings import IDS as IDS_FILE
from online_models.embeddings import ITEMS, manifest_sha256
from online_models.errors import ArtefactError, ServiceError
from streams import model_fetch
from streams.app import bringing
from streams.contracts.interactions import Interaction
from streams.contracts.models import Announcement, Decision
from streams.model_fetch import Cache
from tests.disks import no_room
from tests.streams.model_bench import Bench, following
from tests.streams.test_hotswap import GROUPS, IDS
from tests.streams.test_model_feed import candidate, flip_a_bit, live
from tests.versions import vectors_of


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(bringing, "FIRST_PAUSE", 0.02)
    async with following(tmp_path) as found:
        yield found


def left_behind(folder: Path) -> list[Path]:
    return sorted((folder / "cache").glob("*/.*.tmp"))


async def test_a_version_that_came_just_before_a_compaction_is_brought_anew(bench: Bench) -> None:
    """Its rows would be those of other items."""
    a = bench.announce("a", vectors_of(GROUPS))
    await bench.until(lambda: bench.feed._bringer.bringing == a.version)
    assert bench.feed._bringer._task is not None
    await asyncio.wait_for(bench.feed._bringer._task, 60)
    bench.pipeline.knowledge.compact()
    bench.feed.flip()
    assert candidate(bench) is None
    await bench.until(lambda: candidate(bench) == a.version)
    items, version = bench.pipeline.knowledge.items, bench.pipeline.versions.candidate
    assert version is not None
    assert [IDS[row] for row in version.row_of[: len(items)].tolist()] == items.ids


async def test_what_becomes_of_the_published_files_does_not_concern_who_has_fetched_them(bench: Bench) -> None:
    """A file cut short under a memory map ends the process that reads it."""
    a = bench.announce("a", vectors_of(GROUPS))
    await bench.until(lambda: candidate(bench) == a.version)
    published = bench.folder / "store" / "a" / ITEMS
    with published.open("r+b") as file:
        file.truncate(10)
    assert len(bench.events(300, seed=2)) == 300


# -- no room --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fetching", "preparing"])
async def test_a_full_disk_at_a_worker_is_waited_for_while_the_stream_goes_on(bench: Bench, step: str) -> None:
    a = bench.made("a", vectors_of(GROUPS))
    with no_room(beyond=400 if step == "preparing" else 4_000):
        bench.models.put(a)
        await bench.until(lambda: bench.step() == (a.version, "waiting"))
        assert "File too large; it is tried again later" in bench.statuses[-1].error
        assert len(bench.events(50, seed=2)) == 50
        assert left_behind(bench.folder) == [], "what is half there would keep the disk full"
    await bench.until(lambda: candidate(bench) == a.version)


async def test_a_preparing_process_that_is_killed_is_begun_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the operating system, when memory is short."""
    begin, killed = asyncio.create_subprocess_exec, []

    async def short_of_memory(*arguments: str, **named: object) -> asyncio.subprocess.Process:
        process = await begin(*arguments, **named)  # type: ignore[arg-type]
        if not killed:
            process.kill()
            killed.append(process.pid)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", short_of_memory)
    a = bench.announce("a", vectors_of(GROUPS))
    await bench.until(lambda: candidate(bench) == a.version)
    assert [s.error for s in bench.statuses if s.step == "waiting"] == [
        f"expected version {a.version} to be prepared, got exit status -9; it is tried again later"
    ]


# -- a live version that is out of reach ----------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["missing", "damaged"])
async def test_a_live_version_that_cannot_be_had_keeps_nothing_from_being_tried(bench: Bench, why: str) -> None:
    a = bench.made("a", vectors_of(GROUPS))
    flip_a_bit(bench.folder / "store" / "a")
    if why == "missing":
        (bench.folder / "store" / "a").rename(bench.folder / "elsewhere")
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await bench.until(lambda: bench.step() == (a.version, "waiting" if why == "missing" else "refused"))
    b = bench.announce("b", vectors_of(GROUPS, seed=4), created=2)
    await bench.until(lambda: candidate(bench) == b.version)
    assert live(bench) is None
    bench.events(3_000, seed=2)
    await bench.until(lambda: bool(bench.decided))
    assert [(d.announcement.version, d.state) for d in bench.decided] == [(b.version, "promoted")]
    await bench.until(lambda: bench.feed.fleet.wanted.live == b)
    assert live(bench) == b.version


async def test_a_live_version_that_comes_late_takes_its_place_and_the_trial_begins_anew_beside_it(bench: Bench) -> None:
    a = bench.made("a", vectors_of(GROUPS))
    (bench.folder / "store" / "a").rename(bench.folder / "elsewhere")
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    b = bench.announce("b", vectors_of(GROUPS, seed=4), created=2)
    await bench.until(lambda: candidate(bench) == b.version)
    bench.events(50, seed=2)
    before = bench.pipeline.versions.trial
    assert before is not None
    assert before.difference.n > 0
    (bench.folder / "elsewhere").rename(bench.folder / "store" / "a")
    await bench.until(lambda: live(bench) == a.version)
    await bench.until(lambda: candidate(bench) == b.version)
    assert bench.pipeline.versions.trial is not before
    assert bench.pipeline.versions.trial is not None
    assert bench.pipeline.versions.trial.difference.n == 0, "what it was compared with is not what is live"


async def test_the_first_attempt_at_a_live_version_goes_before_any_candidate(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    a, b = bench.made("a", vectors_of(GROUPS)), bench.made("b", vectors_of(GROUPS, seed=4), created=2)
    bench.models.put(b)
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    for topic in (bench.models, bench.decisions):
        bench.feed._take(await topic.fetch(1.0, 10))
    await bench.until(lambda: candidate(bench) == b.version)
    assert live(bench) == a.version


async def test_a_fault_of_ours_on_the_way_is_told_and_tried_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    async def since(time_ms: int) -> AsyncIterator[Interaction]:
        asked.append(time_ms)
        if len(asked) == 1:
            raise KeyError("a fault of ours")
        for interaction in ():
            yield interaction

    bench.feed._bringer._since = since
    a = bench.announce("a", vectors_of(GROUPS))
    await bench.until(lambda: candidate(bench) == a.version)
    assert [s.error for s in bench.statuses if s.step == "waiting"] == ["'a fault of ours'"]
    assert "Traceback" in caplog.text


async def test_a_newer_announcement_does_not_wait_for_one_that_never_arrives(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, hanging = Cache.fetch, asyncio.Event()

    async def from_a_store_that_hangs(self: Cache, announcement: Announcement) -> Path:
        if announcement.created == 1:
            hanging.set()
            await asyncio.Event().wait()
        return await fetch(self, announcement)

    monkeypatch.setattr(Cache, "fetch", from_a_store_that_hangs)
    bench.announce("a", vectors_of(GROUPS))
    await bench.until(hanging.is_set)
    b = bench.announce("b", vectors_of(GROUPS, seed=4), created=2)
    await bench.until(lambda: candidate(bench) == b.version)


# -- the worker's own copies ----------------------------------------------------------------------------------------------


def cut_prepared(version: Path) -> None:
    (version / "prepared" / "rows.npy").write_bytes((version / "prepared" / "rows.npy").read_bytes()[:-40])


def empty_prepared(version: Path) -> None:
    (version / "prepared" / "rows.npy").write_bytes(b"")


def damage_copy(version: Path) -> None:
    shutil.rmtree(version / "prepared")
    raw = (version / "artefact" / ITEMS).read_bytes()
    (version / "artefact" / ITEMS).unlink()  # it may be the publisher's file too
    (version / "artefact" / ITEMS).write_bytes(raw[:-4])


def lose_a_file(version: Path) -> None:
    (version / "artefact" / IDS_FILE).unlink()
    (version / "artefact" / ITEMS).unlink()


DAMAGE = {"prepared cut": cut_prepared, "prepared empty": empty_prepared, "copy": damage_copy, "missing": lose_a_file}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_restart_mends_its_own_damaged_copy(tmp_path: Path, damage: str) -> None:
    bench = Bench(tmp_path)
    a = bench.made("a", vectors_of(GROUPS))
    bench.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await bench.feed.catch_up()
    DAMAGE[damage](tmp_path / "cache" / a.version)
    again = Bench(tmp_path)
    again.decisions.put(Decision(announcement=a, state="promoted", by="w2", created=1))
    await again.feed.catch_up()
    assert live(again) == a.version
    assert set(again.events(20, seed=2)) == {f"1+{a.version}"}


async def test_workers_of_one_machine_that_prepare_at_once_leave_one_result(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    a = bench.made("a", vectors_of(GROUPS))
    cache = Cache(tmp_path / "cache")
    folders = await asyncio.gather(*(cache.fetch(a) for _ in range(3)))
    assert len(set(folders)) == 1
    ready = await asyncio.gather(*(cache.prepare(a, folder) for folder in folders))
    assert [len(found.hashes) for found in ready] == [len(GROUPS)] * 3
    there = folders[0].parent / "prepared"
    mark = there.stat().st_ino
    prepared.save(ready[0], there)
    assert there.stat().st_ino == mark, "another worker is about to map what is there"
    assert left_behind(tmp_path) == []


async def test_what_a_killed_worker_left_unfinished_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_fetch, "KEEP_UNFINISHED_S", 0.0)
    version = tmp_path / "cache" / "a"
    (version / ".artefact.0.tmp").mkdir(parents=True)
    (version / "artefact").mkdir()
    Cache(tmp_path / "cache").drop_all_but({"a"})
    assert [found.name for found in version.iterdir()] == ["artefact"]


async def test_preparing_tells_what_is_not_in_order_from_what_is_for_now(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    a = bench.made("a", vectors_of(GROUPS))
    cache = Cache(tmp_path / "cache")
    folder = await cache.fetch(a)
    with no_room(beyond=400), pytest.raises(ServiceError, match="tried again later"):
        await cache.prepare(a, folder)
    assert cache.holds(a.version)
    with pytest.raises(ArtefactError, match="publish a sound one"):
        await cache.prepare(msgspec.structs.replace(a, sha256="0" * 64), folder)
    assert not cache.holds(a.version)


# -- what stands on the topics --------------------------------------------------------------------------------------------


async def test_refused_records_do_not_fill_the_log(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(500):
        bench.decisions.put(b"nonsense")
    new = bench.announce("new", vectors_of(GROUPS), created=9)
    old = bench.made("old", vectors_of(GROUPS, seed=4), created=1)
    for _ in range(500):
        bench.models.put(old)
    await bench.until(lambda: bench.feed._left_out == 1_000)
    lines = [line for line in caplog.messages if "left out" in line]
    assert len(lines) == 10  # at 1, 2, 4 ... 512
    await bench.until(lambda: candidate(bench) == new.version)


async def test_what_was_refused_is_tried_again_when_it_is_mended_and_announced_or_promoted(bench: Bench) -> None:
    sound = bench.made("a", vectors_of(GROUPS))
    store = bench.folder / "store" / "a"
    items = (store / ITEMS).read_bytes()
    for n, again in enumerate(("announced", "promoted")):
        flip_a_bit(store)
        a = msgspec.structs.replace(sound, sha256=manifest_sha256(store), created=n + 1)
        bench.models.put(a)
        await bench.until(lambda: bench.step()[1] == "refused")
        (store / ITEMS).unlink()
        (store / ITEMS).write_bytes(items)
        if again == "announced":
            bench.models.put(a)
            await bench.until(lambda: candidate(bench) == sound.version)
            bench.decisions.put(Decision(announcement=a, state="rolled_back", by="operator", created=1))
            await bench.until(lambda: candidate(bench) is None)
            shutil.rmtree(bench.folder / "cache")
            bench.decisions.put(None, sound.version)
        else:
            bench.decisions.put(Decision(announcement=a, state="promoted", by="operator", created=2))
            await bench.until(lambda: live(bench) == sound.version)
