"""The demo's model: what is said of it at every step, when the stream goes on without it, and that it leaves nothing running."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from infra import demo, demo_experiment, demo_retrain, demo_tables
from infra.cli import demo as shown
from infra.demo_play import Measured
from infra.demo_retrain import Retrain, doing
from infra.experiments import definition_of
from infra.models import Known, Overview
from infra.settings import Settings, load
from infra.worker_pages import Comparison, Served
from online_models.errors import ServiceError
from streams.contracts.models import Announcement, Decision, TrainedOn, WorkerStatus
from streams.experiment_rules import alone

BEGUN = alone(definition_of(demo_experiment.DEFINITION, "the demo"), 0)
ANNOUNCED = Announcement(
    version="a-1", uri="/a", sha256="0" * 64, trained=TrainedOn(from_ms=1, to_ms=2, events=1234), metrics={}, created=1
)
SO_FAR = Comparison(40, 0.01, -0.2, 0.22)


@pytest.fixture
def retrain(tmp_path: Path) -> Retrain:
    return Retrain(Settings(data_dir=tmp_path / "data"), tmp_path, None)


def worker(step: str, live: str = "none", candidate: str | None = "a-1") -> WorkerStatus:
    return WorkerStatus(worker="w", live=live, candidate=candidate, step=step, created=1)


def overview(state: Any, decision: Decision | None = None, *workers: WorkerStatus) -> Overview:
    known = Known(version="a-1", state=state, moments=None, announcement=ANNOUNCED, decision=decision)
    return Overview(live=None, candidate=None, pinned=False, versions=[known], workers=list(workers))


NOTHING = Overview(live=None, candidate=None, pinned=False, versions=[], workers=[])
PROMOTED = Decision(
    announcement=ANNOUNCED, state="promoted", by="w", created=2, moments=400, difference=0.003, low=-0.04, high=0.05
)


def test_each_step_is_said(retrain: Retrain) -> None:
    def told(found: Overview = NOTHING) -> str:
        return doing(retrain, found, SO_FAR, lambda: 12.0)

    assert "when half of the log" in told()
    retrain.step, retrain.step_began = "train", 5.0
    assert told() == "training gru4rec on them (7 s)"
    retrain.step, retrain.announcement = "", ANNOUNCED
    assert told() == "announced"
    on_trial = overview("on trial", None, worker("shadow"), worker("preparing"))
    assert told(on_trial).startswith(
        "workers: shadow, preparing (NDCG@20 +0.0100, interval -0.2000 to +0.2200, 40 moments"
    )
    assert told(overview("live", PROMOTED)) == "promoted after 400 compared moments"
    retrain.failure = "the disk is full"
    assert told() == "not published: the disk is full"


@pytest.mark.parametrize(
    ("workers", "coming"),
    [
        ([], True),
        ([worker("shadow"), worker("preparing")], True),
        ([worker("shadow"), worker("", candidate=None)], True),
        ([worker("shadow"), worker("canary")], False),
        ([worker("promoted", live="a-1", candidate=None), worker("canary")], False),
        ([worker("refused"), worker("refused")], False),
    ],
)
def test_the_stream_waits_until_all_workers_try_it(retrain: Retrain, workers: list[Any], coming: bool) -> None:
    assert retrain.coming(workers), "nothing is announced"
    retrain.announcement = ANNOUNCED
    assert retrain.coming(workers) is coming
    retrain.failure = "refused"
    assert not retrain.coming(workers)


def test_the_stream_does_not_wait_for_ever(retrain: Retrain) -> None:
    retrain.began = time.monotonic() - demo_retrain.PATIENCE_S - 1
    assert not retrain.coming([])


def test_leaving_ends_the_command_that_runs(retrain: Retrain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/sh")
    monkeypatch.setattr(Retrain, "_run", lambda self: self._command("x"))
    retrain._environ = {"PATH": "/bin:/usr/bin"}
    # `sh -m infra.cli x` fails at once, so a command that lasts stands in for it
    monkeypatch.setattr(demo_retrain, "NICE", ("/bin/sh", "-c", "sleep 600"))
    with retrain:
        retrain.start()
        while retrain._task is None:
            time.sleep(0.01)
        process = retrain._task.process
        assert process.poll() is None
    assert process.returncode is not None
    assert not retrain._thread.is_alive()
    with pytest.raises(demo_retrain._Stopped):
        retrain._command("x")


def test_a_command_that_fails_says_why(retrain: Retrain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_retrain, "NICE", ("/bin/sh", "-c", "echo no space left >&2; exit 1"))
    with pytest.raises(ServiceError, match="headrace train to succeed, got no space left"):
        retrain._command("train")
    faults = """echo '{"faults": ["too few"]}'; exit 1"""
    monkeypatch.setattr(demo_retrain, "NICE", ("/bin/sh", "-c", faults))
    with pytest.raises(ServiceError, match="got too few"):
        retrain._gate("model", "log")


def table(retrain: Retrain, found: Overview, compared: Comparison | None, **served: Served) -> dict[str, str]:
    player = type("Player", (), {"sent": 100})
    of = {"player": player, "latest": Measured(1, 2, 3), "served": served, "compared": compared, "waited_s": 5.0}
    console = Console(file=io.StringIO(), width=200)
    play: Any = type("Play", (), of)
    watch: Any = type("Watch", (), {"answered": set(range(99))})
    demo_tables.model(console, watch, found, play, retrain)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    cells = [line.split("│") for line in lines]
    return {row[1].strip(): row[2].strip() for row in cells if len(row) == 4}


def test_the_table_says_what_was_decided_and_what_was_dropped(retrain: Retrain) -> None:
    retrain.announcement, retrain.trained_s = ANNOUNCED, 14.2
    rows = table(retrain, overview("live", PROMOTED), SO_FAR, none=Served(2000, 0.0964))
    assert rows["trained on"] == "1,234 events in 14 s, on one thread"
    assert rows["trial"] == "promoted: everybody gets it, after 400 moments of one worker"
    assert rows["with it minus without it, at the same moments"] == (
        "NDCG@20 +0.0030, interval -0.0400 to +0.0500: so few moments show no difference"
    )
    sure = msgspec.structs.replace(PROMOTED, low=0.001)
    assert (
        "no difference"
        not in table(retrain, overview("live", sure), SO_FAR)["with it minus without it, at the same moments"]
    )
    assert "40 moments" in rows["the same when the log was over"]
    assert rows["lists without it (version none)"] == "NDCG@20 0.0964, lately, of 2,000 moments"
    assert rows["lists with it"] == "none judged yet"
    assert rows["events published, events with a list"] == "100, 99"
    assert rows["events dropped"] == "1"


def test_the_table_says_so_where_nothing_was_decided(retrain: Retrain) -> None:
    assert "over before it was trained" in table(retrain, NOTHING, None)["deep model"]
    retrain.announcement = ANNOUNCED
    rows = table(retrain, overview("on trial"), SO_FAR)
    assert rows["trial"] == "not at its end when the log was over, after 40 moments of one worker"
    assert rows["with it minus without it, at the same moments"] == "not decided"
    assert table(retrain, overview("on trial"), None)["trial"] == "not begun when the log was over"
    retrain.failure, retrain.announcement = "refused [by] the gate", None
    assert table(retrain, NOTHING, None)["deep model"] == "none: refused [by] the gate"


def test_the_trial_of_the_demo_is_a_setting_that_workers_take(tmp_path: Path) -> None:
    trial = load(config=demo_retrain.quick_trial(tmp_path), environ={}).pipeline.trial
    assert (trial.compared, trial.most) == (1.0, 400)


@pytest.mark.parametrize("own", [True, False])
def test_a_settings_file_of_the_user_goes_before_it(own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, taken = tmp_path / "own.toml", []
    file.write_text("[pipeline]\nk = 10\n")

    def start_worker(settings: Settings, folder: Path, number: int, config: Path) -> None:
        taken.append(config.name)
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "fetch_shop", lambda folder, events: demo.Shop(tmp_path, events, {}))
    monkeypatch.setattr(shown, "warm_up", lambda config: None)
    monkeypatch.setattr(shown.topics, "create", lambda *arguments: None)
    monkeypatch.setattr(shown.demo_experiment, "begin", lambda settings, folder: BEGUN)
    monkeypatch.setattr(demo, "start_worker", start_worker)
    services = ["--broker", "b:1", "--redis", "redis://r:2/0"]
    CliRunner().invoke(shown.command, [*services, *(["--config", str(file)] if own else [])])
    assert taken == ["own.toml" if own else "trial.toml"]


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_retrain, "find_spec", lambda name: None if name == "torch" else object())
    assert demo_retrain.missing() == "pip install 'headrace[offline]'"
    monkeypatch.setattr(demo_retrain, "find_spec", lambda name: object())
    assert demo_retrain.missing() is None
