"""The service: it publishes, waits, survives what fails, ends when told, and there is never a second one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from infra.cli import cli
from offline.excerpt import Excerpt
from offline.gate import GateConfig
from offline.job import JobConfig
from offline.log import Log, read
from offline.schedule import Outcome, Plan, once, serve
from offline.state import STATE, State
from offline.train import TrainConfig
from online_models import embeddings
from online_models.errors import InputError, ServiceError
from streams.contracts.models import Announcement
from tests.offline.planted import ring_log, written

CONFIG = JobConfig(
    model="gru4rec",
    settings={"dims": 16, "dropout": 0.1},
    train=TrainConfig(epochs=5, tokens=128, negatives=16, lr=0.02, device="cpu"),
)
GATE = GateConfig(queries=50, margin=0.05)


def plan(folder: Path, log: Log | None = None) -> Plan:
    return Plan(folder / "work", lambda *_: log or ring_log(), str(folder / "to"), CONFIG, GATE, fewest=100)


def test_rounds_publish_wait_and_go_on(tmp_path: Path) -> None:
    told: list[Announcement] = []
    first = once(plan(tmp_path), told.append, Event())
    assert first.what == "published", first.told
    assert "against popularity" in first.told
    again = once(plan(tmp_path), told.append, Event())
    assert (again.what, again.told) == ("waited", "0 new events, 100 are worth a round")
    more = once(plan(tmp_path, ring_log(600)), told.append, Event())
    assert more.what == "published", more.told
    assert f"against {told[0].version}" in more.told
    assert [a.version for a in told] == sorted(
        {p.name for p in (tmp_path / "to").iterdir()}, key=lambda v: int(v.split("-")[1])
    )
    third = once(plan(tmp_path, ring_log(800)), told.append, Event())
    assert third.what == "published", third.told
    left = {p.name for p in (tmp_path / "work").iterdir() if p.is_dir()}
    assert State.of(tmp_path / "work").live in left
    assert len(left) == 2, "the one before last is gone"


def test_as_long_as_nothing_has_happened_it_waits(tmp_path: Path) -> None:
    """The first round comes before the first event; nothing has failed then."""
    (tmp_path / "archive").mkdir()
    (tmp_path / "log.jsonl").write_text("")
    for empty in ("archive", "log.jsonl"):
        found = once(replace(plan(tmp_path), read=lambda *_, e=empty: read(tmp_path / e)), lambda a: None, Event())
        assert (found.what, found.told) == ("waited", "no events yet, about 500 are needed")
    found = once(replace(plan(tmp_path), read=lambda *_: read(tmp_path / "none")), lambda a: None, Event())
    assert (found.what, "nothing at" in found.told) == ("failed", True), "a path that leads nowhere is a fault"


def test_before_the_gate_could_decide_anything_nothing_is_trained(tmp_path: Path) -> None:
    found = once(plan(tmp_path, ring_log(50)), lambda a: None, Event())
    assert found.what == "waited"
    assert found.told == (
        "25 next-item queries in the newest 30 of 300 events, the gate needs 50: about 300 more events are needed"
    )
    assert not list((tmp_path / "work").glob("candidate-*"))
    few = once(replace(plan(tmp_path, ring_log(5)), fewest=10), lambda a: None, Event())
    assert "of 30 events, the gate needs 50: about 470 more" in few.told


def test_a_service_without_events_for_the_gate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a share of the events for the gate, got 0\.0"):
        replace(plan(tmp_path), job=JobConfig(holdout=0.0))


def test_a_version_that_the_gate_refuses_is_not_published_nor_made_again(tmp_path: Path) -> None:
    bad = replace(plan(tmp_path), gate=GateConfig(directions=1000))
    refused = once(bad, lambda a: pytest.fail("it was announced"), Event())
    assert refused.what == "refused"
    assert "directions in use" in refused.told
    assert not (tmp_path / "to").exists()
    assert once(bad, lambda a: None, Event()).what == "waited"


def test_other_settings_start_anew_and_are_judged_beside_the_live_version(tmp_path: Path) -> None:
    once(plan(tmp_path), lambda a: None, Event())
    other = JobConfig(model="gru4rec", settings={"dims": 24, "dropout": 0.1}, train=CONFIG.train)
    found = once(replace(plan(tmp_path, ring_log(600)), job=other), lambda a: None, Event())
    assert found.what == "published", found.told
    assert embeddings.read(tmp_path / "work" / State.of(tmp_path / "work").live).manifest.dims == 24


def test_a_round_that_fails_is_told_and_the_next_one_comes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def read(*_: object) -> Log:
        calls.append(1)
        if len(calls) == 1:
            raise ServiceError("a disk", "none", "plug it in")
        if len(calls) == 2:
            raise ZeroDivisionError("a slip")
        return ring_log()

    with caplog.at_level(logging.INFO, "headrace"):
        last = serve(replace(plan(tmp_path), read=read), 0.01, lambda a: None, Event(), rounds=3)
    assert last.what == "published"
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("round")]
    assert [line.split(" in ")[0] for line in lines] == ["round 1 failed", "round 2 failed", "round 3 published"]
    assert "expected a disk, got none" in lines[0]
    assert "ZeroDivisionError: a slip" in lines[1]


def test_a_failed_announcement_is_made_up_for(tmp_path: Path) -> None:
    def down(announcement: Announcement) -> None:
        raise ServiceError("a broker", "none", "start it")

    told: list[Announcement] = []
    assert once(plan(tmp_path), down, Event()).what == "failed"
    again = once(plan(tmp_path), told.append, Event())
    assert again.what == "published", again.told
    assert len(told) == 1


def test_rounds_never_overlap_and_missed_starts_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now, starts, waits = [0.0], [], []

    class Waiting(Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            now[0] += timeout or 0.0
            return False

    def read(*_: object) -> Log:
        starts.append(now[0])
        now[0] += (5, 25, 12, 1)[len(starts) - 1]
        raise InputError("a log", "none", "wait")

    serve(replace(plan(tmp_path), read=read), 10, lambda a: None, Waiting(), 4, lambda: now[0])
    assert starts == [0, 10, 35, 47]
    assert waits == [5, 0, 0]
    assert "1 starts are left out" in caplog.text


def test_a_second_service_is_refused(tmp_path: Path) -> None:
    entered, leave = Event(), Event()

    def read(*_: object) -> Log:
        entered.set()
        leave.wait(20)
        raise InputError("a log", "none", "wait")

    slow = replace(plan(tmp_path), read=read)
    thread = threading.Thread(target=serve, args=(slow, 1, lambda a: None, Event(), 1))
    thread.start()
    assert entered.wait(20)
    with pytest.raises(InputError, match="another one at work"):
        serve(plan(tmp_path), 1, lambda a: None, Event(), 1)
    leave.set()
    thread.join()
    assert serve(plan(tmp_path), 1, lambda a: None, Event(), 1).what == "published"


def test_a_stop_ends_a_wait_and_a_training(tmp_path: Path) -> None:
    stop = Event()
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    failing = replace(plan(tmp_path), read=lambda *_: (_ for _ in ()).throw(InputError("a log", "none", "wait")))
    serve(failing, 1000, lambda a: None, stop)
    assert time.monotonic() - began < 20
    assert once(plan(tmp_path), lambda a: None, stop) == Outcome(
        "stopped", "before it trained", pytest.approx(0, abs=60)
    )


def test_what_was_cut_off_is_gone_on_with_under_the_same_settings_only(tmp_path: Path) -> None:
    """Before the first checkpoint is due, too."""

    class Later(Event):
        """Set in the first epoch: asked after the reading, before the training and in it."""

        def is_set(self) -> bool:
            self.asked = getattr(self, "asked", 0) + 1
            return self.asked > 1

    cut = once(plan(tmp_path), lambda a: None, Later())
    assert (cut.what, cut.told) == ("stopped", "the training's checkpoint stays")
    [checkpoint] = (tmp_path / "work").glob("*.checkpoint")
    other = msgspec.structs.replace(CONFIG, train=msgspec.structs.replace(CONFIG.train, lr=0.03))
    assert once(replace(plan(tmp_path), job=other), lambda a: None, Event()).what == "published"
    assert not checkpoint.exists()


def test_a_round_reads_from_the_live_version_on_if_it_goes_on_from_it(tmp_path: Path) -> None:
    asked: list[Excerpt | None] = []

    def reads(sessions: int) -> Callable[..., Log]:
        return lambda excerpt, look: (asked.append(excerpt), ring_log(sessions))[1]

    told: list[Announcement] = []
    for sessions in (400, 600, 601):
        once(replace(plan(tmp_path), read=reads(sessions)), told.append, Event())
    other = JobConfig(model="gru4rec", settings={"dims": 24, "dropout": 0.1}, train=CONFIG.train)
    once(replace(plan(tmp_path), read=reads(800), job=other), told.append, Event())
    first, second, _ = told
    wanted = [Excerpt(version.trained.to_ms, 5 * CONFIG.exemplars) for version in (first, second)]
    assert asked == [None, *wanted, None], "another model learns from all there is"


def test_a_stop_ends_the_reading(tmp_path: Path) -> None:
    log, stop = written(ring_log(), tmp_path / "log.jsonl"), Event()

    def reads(excerpt: Excerpt | None, look: Callable[[], None]) -> Log:
        stop.set()
        return read(log, excerpt=excerpt, look=look)

    found = once(replace(plan(tmp_path), read=reads), lambda a: None, stop)
    assert (found.what, found.told) == ("stopped", "while it read the events")


def test_a_version_of_other_settings_is_trained_and_not_the_one_that_could_not_be_published(tmp_path: Path) -> None:
    def down(announcement: Announcement) -> None:
        raise ServiceError("a broker", "none", "start it")

    assert once(plan(tmp_path), down, Event()).what == "failed"
    other = JobConfig(model="gru4rec", settings={"dims": 24, "dropout": 0.1}, train=CONFIG.train)
    found = once(replace(plan(tmp_path), job=other), lambda a: None, Event())
    assert found.what == "published", found.told
    assert embeddings.read(tmp_path / "work" / State.of(tmp_path / "work").live).manifest.dims == 24
    assert len(list((tmp_path / "work").glob("candidate-*"))) == 1, "the other one is gone"


def test_a_refusal_counts_for_the_settings_that_it_was_made_under(tmp_path: Path) -> None:
    """What is refused is tried again when something has been changed, without new events; a laxer gate trains nothing anew."""
    strict = replace(plan(tmp_path), gate=GateConfig(directions=1000, queries=50))
    assert once(strict, lambda a: None, Event()).what == "refused"
    [made] = (tmp_path / "work").glob("candidate-*")
    written = made.stat().st_mtime_ns
    assert once(strict, lambda a: None, Event()).what == "waited"
    lax = once(plan(tmp_path), lambda a: None, Event())
    assert lax.what == "published", lax.told
    assert [p.stat().st_mtime_ns for p in (tmp_path / "work").glob("candidate-*")] == [written]
    assert once(replace(plan(tmp_path), gate=GateConfig(margin=0.5)), lambda a: None, Event()).what == "waited", (
        "what was published is not made again"
    )


def test_a_damaged_state_is_said(tmp_path: Path) -> None:
    (tmp_path / STATE).write_text("{")
    with pytest.raises(InputError, match="remove it to start anew"):
        State.of(tmp_path)
    State("a", 5).keep(tmp_path)
    assert State.of(tmp_path) == State("a", 5)


def test_the_command_makes_one_round(tmp_path: Path) -> None:
    log = written(ring_log(), tmp_path / "log.jsonl")
    args = [
        "offline",
        "--log",
        str(log),
        "--once",
        "--no-announce",
        "--data-dir",
        str(tmp_path / "d"),
        "--model",
        "gru4rec",
    ]
    args += [f"--set={s}" for s in ("dims=16", "dropout=0.1", "lr=0.02", "tokens=128", "negatives=16", "epochs=5")]
    done = CliRunner().invoke(cli, [*args, "--device", "cpu"], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    assert "round 1 published" in done.stderr
    assert len(list((tmp_path / "d" / "published").iterdir())) == 1
    none = CliRunner().invoke(
        cli, ["offline", "--log", str(tmp_path / "none"), "--once", "--no-announce", "--data-dir", str(tmp_path / "e")]
    )
    assert none.exit_code == 1
    assert "round 1 failed" in none.stderr
    assert not np.isnan(embeddings.read(next((tmp_path / "d" / "published").iterdir())).vectors).any()
