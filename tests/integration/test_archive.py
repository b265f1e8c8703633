"""``headrace archive``: the archive holds each valid event of the topic once, whatever happens to process and disk."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from infra import archive, topics
from infra.archive import Summary, archive_once
from infra.archive_store import SERVICE, ArchiveBusy
from infra.settings import Settings
from offline import log
from tests.integration.archive_support import Archiver, archived, events, expected, folder_of, rubbish
from tests.integration.stream_support import publish, until

KILLED_AT = """
import os, signal
replace, calls = os.replace, 0
def counted(*args):
    global calls
    calls += 1
    if calls == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*args)
os.replace = counted
"""
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, resource.RLIM_INFINITY))"


def test_kill_9_at_any_moment(settings: Settings, tmp_path: Path) -> None:
    """By chance while events come in, and by design between commit and the files' names."""
    topics.create(settings, 3)
    sent, rng = events(3_000), random.Random(1)
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in sent))
    traffic = threading.Thread(target=publish, args=(settings, sent, 600.0))
    traffic.start()
    rubbish(settings, 60)
    for _ in range(4):
        with Archiver(settings, "--roll-events", "40").process as process:
            until(lambda: folder_of(settings).is_dir(), 30)
            time.sleep(rng.uniform(0.5, 1.5))
            process.kill()
    traffic.join()
    for at in (1, 2, 3, 5):
        before = KILLED_AT.format(at=at)
        assert Archiver(settings, "--once", "--roll-events", "90", before=before).wait()[0] == -signal.SIGKILL
        found = archived(folder_of(settings))
        assert found.items() <= expected(settings).items()
    status, out, err = Archiver(settings, "--once").wait()
    assert (status, err) == (0, "")
    assert out.startswith("archived ")
    assert archived(folder_of(settings)) == expected(settings)
    assert sorted(archived(folder_of(settings)).values()) == sorted(event["event_id"] for event in sent)
    as_log, as_archive = log.read(path), log.read(folder_of(settings))
    for name in ("users", "items", "sessions", "times"):
        assert np.array_equal(getattr(as_archive, name), getattr(as_log, name)), name
    assert (as_archive.user_ids, as_archive.item_ids) == (as_log.user_ids, as_log.item_ids)
    commits = [json.loads(found.read_text()) for found in (folder_of(settings) / SERVICE).glob("*.json")]
    assert sum(commit["refused"] for commit in commits) == 60
    assert sum(commit["lost"] for commit in commits) == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_open_range(number: int, status: int, settings: Settings) -> None:
    topics.create(settings, 2)
    publish(settings, events(500))
    running = Archiver(settings, "--roll-events", "90")
    until(lambda: len(list(folder_of(settings).rglob("*.parquet"))) > 8, 30)
    assert len(archived(folder_of(settings))) < 500, "some wait for their range to be full"
    code, out, err = running.stop(number)
    assert (code, err.strip()) == (status, "headrace: interrupted" if status else "")
    assert out.startswith("archived 500 events of topic ")
    assert archived(folder_of(settings)) == expected(settings)


def test_ranges_are_written_when_they_are_old_enough(settings: Settings) -> None:
    topics.create(settings, 1)
    running = Archiver(settings, "--roll", "200ms")
    for seed in (0, 1):
        publish(settings, events(20, seed))
        until(lambda seen=20 * seed + 20: len(archived(folder_of(settings))) == seen, 30)  # type: ignore[misc]
    with pytest.raises(ArchiveBusy):
        archive_once(settings)
    assert running.stop(signal.SIGTERM)[0] == 0


def test_once_goes_on_where_the_archive_ends(settings: Settings) -> None:
    topics.create(settings, 2)
    assert archive_once(settings).events == 0
    publish(settings, events(100))
    first = archive_once(settings)
    assert (first.events, sum(first.next.values())) == (100, 100)
    assert archive_once(settings) == Summary(settings.topics.events, folder_of(settings), next=first.next)
    publish(settings, events(50, seed=1))
    rubbish(settings, 5)
    again = archive_once(settings)
    assert (again.events, again.refused) == (50, 5)
    assert archived(folder_of(settings)) == expected(settings)


def test_memory_is_bounded_by_rolling_early(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    topics.create(settings, 2)
    publish(settings, events(1_000))
    monkeypatch.setattr(archive, "MAX_BYTES", 20_000)
    few = archive_once(settings, settings.data_dir / "bytes")
    monkeypatch.setattr(archive, "MAX_DAYS", 2)
    more = archive_once(settings, settings.data_dir / "days")
    assert 4 < few.files < more.files
    for name in ("bytes", "days"):
        assert archived(settings.data_dir / name) == expected(settings)


def test_a_full_disk_is_an_error_and_mends(settings: Settings) -> None:
    topics.create(settings, 1)
    publish(settings, events(100))
    archive_once(settings)
    publish(settings, events(1_000, seed=1))
    status, out, err = Archiver(settings, "--once", before=FULL).wait()
    assert (status, out) == (1, "")
    assert err.startswith(f"headrace: expected room for the archive in {folder_of(settings)}, got ")
    assert err.count("\n") == 1
    assert len(archived(folder_of(settings))) == 100
    assert not list(folder_of(settings).rglob("*.tmp"))
    assert archive_once(settings).events == 1_000
    assert archived(folder_of(settings)) == expected(settings)
