"""`[pipeline.filters] repeats`: models are trained and judged on the sessions that workers ask with, also where an item follows itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from click.testing import CliRunner, Result

from infra.cli import cli
from offline import gate, job
from offline.checkpoints import NotThisRun
from offline.evaluate import MISS, ranks
from offline.gate import GateConfig
from offline.log import Log, arranged
from offline.model import build
from offline.schedule import once
from offline.state import State
from online_models import embeddings
from online_models.errors import ServiceError
from tests.offline.planted import ring_log, written
from tests.offline.test_dataset import sessions
from tests.offline.test_job import CONFIG
from tests.offline.test_schedule import plan

SMALL = ("dims=8", "dropout=0.1", "tokens=128", "negatives=16", "epochs=1")
COUNTED = "[pipeline.filters]\nrepeats = true\n"


def twice(sessions: int = 400, repeats: bool = False) -> Log:
    """A walk round the ring on which each item comes two times in a row."""
    log = ring_log(sessions)
    users, items, owners = (np.repeat(each, 2) for each in (log.users, log.items, log.sessions))
    times = np.repeat(log.times, 2) + np.tile([0, 500], len(log))
    return replace(arranged(times, users, items, owners, log.user_ids, log.item_ids), repeats=repeats)


def trained(log: Log, folder: Path) -> embeddings.Artefact:
    job.train(log, folder, CONFIG)
    return embeddings.verify(folder)


def test_a_model_learns_and_is_judged_by_the_sessions_that_workers_ask_with(tmp_path: Path) -> None:
    """One that has never seen an item follow itself does not name it, and the gate sees that where it counts, and only there."""
    without, counted = trained(twice(), tmp_path / "a"), trained(twice(repeats=True), tmp_path / "b")
    assert without.manifest.trained.events == trained(ring_log(), tmp_path / "c").manifest.trained.events
    assert counted.manifest.trained.events == pytest.approx(2 * without.manifest.trained.events, rel=0.01)
    there, usual = (gate.judge(counted, twice(1500, repeats), without) for repeats in (True, False))
    assert there.queries == pytest.approx(11 / 5 * usual.queries, rel=0.01)
    assert there.differences["mrr@20"].low > 0.2
    assert usual.differences["mrr@20"].high < 0.0
    assert gate.judge(counted, twice(1500, True)).differences["hr@20"].low > 0.0, "popularity answers the same queries"


def test_the_item_that_the_user_is_on_has_a_rank() -> None:
    model = build("gru4rec", 5, {"dims": 8})
    found = ranks(model, sessions([3, 3, 1]))
    assert (found.ranks < MISS).all()
    assert found.ranks[0] != ranks(model, sessions([3, 1])).ranks[0]


def test_a_checkpoint_of_the_other_setting_is_refused(tmp_path: Path) -> None:
    def cut(_: object) -> None:
        raise KeyError("cut off")

    for first in (False, True):
        out = tmp_path / str(first)
        with pytest.raises(KeyError):
            job.train(twice(repeats=first), out, CONFIG, progress=cut)
        with pytest.raises(NotThisRun, match="of other data or settings"):
            job.train(twice(repeats=not first), out, CONFIG, resume=True)
        job.train(twice(repeats=first), out, CONFIG, resume=True)


def test_a_round_takes_nothing_over_that_was_made_under_the_other_setting(tmp_path: Path) -> None:
    def down(_: object) -> None:
        raise ServiceError("a broker", "none", "start it")

    assert once(plan(tmp_path, twice()), down, Event()).what == "failed"
    [before] = (tmp_path / "work").glob("candidate-*")
    found = once(plan(tmp_path, twice(repeats=True)), lambda a: None, Event())
    assert (found.what, before.exists()) == ("published", False), found.told
    live = embeddings.read_manifest(tmp_path / "work" / State.of(tmp_path / "work").live)
    assert live.trained.events > len(ring_log())


def test_what_the_gate_refused_under_the_other_setting_is_tried_again(tmp_path: Path) -> None:
    strict = [replace(plan(tmp_path, twice(repeats=r)), gate=GateConfig(directions=1000)) for r in (False, False, True)]
    assert [once(each, lambda a: None, Event()).what for each in strict] == ["refused", "waited", "refused"]


@pytest.fixture(params=[False, True], ids=["left out", "counted"])
def headrace(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[bool, Callable[..., Result]]:
    """Whether the settings file lets repeats count, and what runs a command with that file."""
    file = tmp_path / "headrace.toml"
    file.write_text(COUNTED if request.param else "")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, [*arguments, "--config", str(file), "--data-dir", str(tmp_path / "data")])

    return request.param, run


def test_train_and_gate_follow_the_settings_file(headrace: tuple[bool, Callable[..., Result]], tmp_path: Path) -> None:
    (counted, run), log = headrace, str(written(twice(), tmp_path / "log.jsonl"))
    done = run("train", "--log", log, "--out", str(tmp_path / "m"), "--device", "cpu", *(f"--set={s}" for s in SMALL))
    assert done.exit_code == 0, done.stderr
    events = embeddings.read_manifest(tmp_path / "m").trained.events
    assert events == pytest.approx(0.81 * len(ring_log()) * (1 + counted), rel=0.01)
    verdict = json.loads(run("gate", str(tmp_path / "m"), "--popularity", "--log", log, "--json").stdout)
    assert verdict["queries"] == pytest.approx(40 * (11 if counted else 5), rel=0.05)


def test_the_service_follows_the_settings_file(headrace: tuple[bool, Callable[..., Result]], tmp_path: Path) -> None:
    counted, run = headrace
    log = str(written(twice(30), tmp_path / "log.jsonl"))
    done = run("offline", "--log", log, "--once", "--no-announce", "--fewest", "1", "--device", "cpu")
    assert f": {33 if counted else 15} next-item queries in the newest" in done.stderr
