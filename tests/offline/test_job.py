"""From a log to an artefact, whole and incremental."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from infra.cli.train import command
from offline import artefacts, exemplars, job, parallel
from offline.evaluate import ranks
from offline.job import JobConfig
from offline.model import build
from offline.train import TrainConfig
from online_models import embeddings
from online_models.errors import ArtefactError, InputError, ServiceError
from tests.offline.planted import ITEMS, START, ring_log, rows_of, written
from tests.offline.test_dataset import lists, sessions

CONFIG = JobConfig(
    settings={"dims": 16, "dropout": 0.1},
    train=TrainConfig(epochs=5, tokens=128, negatives=16, lr=0.02, device="cpu"),
)


def test_the_same_log_gives_the_same_artefact(tmp_path: Path) -> None:
    log = ring_log()
    first = job.train(log, tmp_path / "a", CONFIG, now_ms=lambda: 5)
    again = job.train(log, tmp_path / "b", CONFIG, now_ms=lambda: 5)
    assert first.manifest == again.manifest
    assert embeddings.manifest_sha256(tmp_path / "a") == embeddings.manifest_sha256(tmp_path / "b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"], "no checkpoint is left"


def test_the_newest_events_are_left_for_the_gate(tmp_path: Path) -> None:
    log = ring_log()
    manifest = job.train(log, tmp_path / "a", CONFIG).manifest
    assert manifest.trained.from_ms == log.times[0]
    assert manifest.trained.events == pytest.approx(0.81 * len(log), rel=0.01)
    assert manifest.trained.to_ms < np.quantile(log.times, 0.82)
    assert manifest.metrics["mrr@20"] > 0.9


def test_an_artefact_becomes_the_model_that_it_was(tmp_path: Path) -> None:
    log = ring_log()
    job.train(log, tmp_path / "a", CONFIG)
    artefact = embeddings.verify(tmp_path / "a")
    model = artefacts.load(artefact)
    world, ids = rows_of(log)
    rows = np.array([artefact.ids.index(i) for i in ids])
    assert ranks(model, world.with_rows(rows), START).summary()["mrr@20"] > 0.85
    assert artefacts.description(model) == artefact.manifest.encoder


def test_incremental_training_keeps_the_past_and_adds_the_new(tmp_path: Path) -> None:
    """The second log holds another rule on later days; the warm start with exemplars still knows the first one."""
    early, both = ring_log(300, seed=1), ring_log(600, seed=1)
    job.train(early, tmp_path / "a", CONFIG)
    found = job.train(both, tmp_path / "b", CONFIG, live=tmp_path / "a")
    live = embeddings.read(tmp_path / "a")
    assert embeddings.read(tmp_path / "b").ids[: len(live.ids)] == live.ids
    assert found.manifest.metrics["mrr@20"] > 0.9
    cold = job.train(both, tmp_path / "c", CONFIG)
    assert found.run.validation[0] > cold.run.validation[0], "a warm start is ahead after one epoch"


def test_a_log_that_holds_a_part_of_the_past_is_enough_to_go_on(tmp_path: Path) -> None:
    """The manifest says what the version has learned in all, not what the log of its last training held."""
    first = job.train(ring_log(400), tmp_path / "a", CONFIG).manifest.trained
    since = ring_log(200, start=START + 300 * 60_000)  # from session 300 of the first log on
    found = job.train(since, tmp_path / "b", CONFIG, live=tmp_path / "a").manifest.trained
    learned = int((since.times <= found.to_ms).sum()) - int((since.times <= first.to_ms).sum())
    assert found.from_ms == first.from_ms
    assert found.events == first.events + learned > first.events


def test_a_live_version_of_another_shape_is_refused(tmp_path: Path) -> None:
    job.train(ring_log(), tmp_path / "a", CONFIG)
    other = JobConfig(settings={"dims": 8}, train=CONFIG.train)
    with pytest.raises(ArtefactError, match="a live version of kind"):
        job.train(ring_log(500), tmp_path / "b", other, live=tmp_path / "a")
    with pytest.raises(InputError, match="events after"):
        job.train(ring_log(100), tmp_path / "b", CONFIG, live=tmp_path / "a")


def test_a_warm_start_begins_with_the_vectors_that_were_published() -> None:
    live, model = build("sasrec", 3, {"dims": 8}), build("sasrec", 5, {"dims": 8}, seed=2)
    with torch.no_grad():
        live.items.weight.mul_(torch.tensor([[1.0], [5.0], [9.0]]))
    artefacts.warm_start(model, live)
    torch.testing.assert_close(model.vectors()[:3], live.vectors())
    torch.testing.assert_close(model.items.weight.norm(dim=1)[:3], torch.ones(3))


def test_exemplars_are_of_the_past_and_marked() -> None:
    made = sessions([1, 2], [3, 4], [5], [6, 7, 8], times=[[0, 1], [2, 3], [4], [5, 6, 20]])
    found, old = exemplars.mixed(made, 6, 9, 1, seed=0)
    assert lists(found)[1:] == [[6, 7, 8]]
    assert lists(found)[0] in ([1, 2], [3, 4])
    assert old.tolist() == [True, False]


def test_what_came_late_of_a_new_item_is_no_exemplar() -> None:
    """The live version has no row for it, so it has no opinion that could be kept."""
    made = sessions([1, 2], [3, 9], [6, 7], times=[[0, 1], [2, 3], [8, 20]])
    found, old = exemplars.mixed(made, 6, known=8, count=9, seed=0)
    assert (lists(found), old.tolist()) == ([[1, 2], [3, 9], [6, 7]], [True, False, False])


def test_a_late_event_of_a_new_item_does_not_end_an_incremental_training(tmp_path: Path) -> None:
    job.train(ring_log(300), tmp_path / "a", CONFIG)
    log = ring_log(600)
    late = replace(log, items=log.items.copy(), item_ids=[*log.item_ids, "new"])
    late.items[9] = len(log.item_ids)
    job.train(late, tmp_path / "b", CONFIG, live=tmp_path / "a")
    assert "new" in embeddings.read(tmp_path / "b").ids


def test_a_log_that_teaches_nothing_is_refused(tmp_path: Path) -> None:
    config = JobConfig(settings=CONFIG.settings, train=CONFIG.train, min_count=10**6)
    with pytest.raises(InputError, match="sessions of two events or more, got none before"):
        job.train(ring_log(), tmp_path / "a", config)


def test_the_command_writes_an_artefact(tmp_path: Path) -> None:
    log = written(ring_log(), tmp_path / "log.jsonl")
    args = ["--log", str(log), "--epochs", "2", "--device", "cpu", "--out", str(tmp_path / "m"), "--set", "dims=8"]
    done = CliRunner().invoke(command, [*args, "--set", "lr=0.02", "--set", "tokens=256"], catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'm'}\n")
    assert embeddings.verify(tmp_path / "m").manifest.dims == 8
    again = CliRunner().invoke(command, args)
    assert "not there yet" in str(again.exception)
    wrong = CliRunner().invoke(command, [*args[:-2], "--out", str(tmp_path / "n"), "--set", "loss=hinge"])
    assert "settings of gru4rec" in str(wrong.exception)


@pytest.mark.parametrize(
    "wrong", ["epochs=0", "tokens=0", "negatives=0", "lr=-1", "holdout=1", "validation=0", "min_count=0", "dims=0"]
)
def test_settings_that_cannot_be_are_refused(wrong: str, tmp_path: Path) -> None:
    log = written(ring_log(20), tmp_path / "log.jsonl")
    done = CliRunner().invoke(command, ["--log", str(log), "--out", str(tmp_path / "m"), "--set", wrong])
    assert isinstance(done.exception, InputError)
    assert re.search(r"settings .*as documented.*, got Expected `(int|float)` [<>]", str(done.exception))


def test_dims_that_heads_cannot_share_are_refused() -> None:
    with pytest.raises(InputError, match="settings of sasrec as documented, got dims 16 do not divide among 3 heads"):
        build("sasrec", ITEMS, {"dims": 16, "heads": 3})


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.dist, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(parallel.dist, "get_node_local_rank", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ServiceError, match="a GPU for process 2, got 2 of them"), parallel.group(torch.device("cuda")):
        pass


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of gru4rec"):
        job.train(ring_log(), tmp_path / "m", JobConfig(model="gpt"))


@pytest.mark.slow
def test_two_processes_train_together(tmp_path: Path) -> None:
    log = written(ring_log(), tmp_path / "log.jsonl")
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--", "infra.cli", "train"]
    args = ["--log", str(log), "--model", "sasrec", "--out", str(tmp_path / "m"), "--device", "cpu"]
    args += [f"--set={s}" for s in ("dims=16", "dropout=0.1", "lr=0.02", "tokens=64", "negatives=16", "epochs=8")]
    done = subprocess.run([sys.executable, "-m", *launch, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'm'}\n", "one of them says where it is"
    assert embeddings.verify(tmp_path / "m").manifest.metrics["mrr@20"] > 0.9
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "m"]


def test_shares_are_equal_and_leave_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "size", lambda: 3)
    found = []
    for n in range(3):
        monkeypatch.setattr(parallel, "rank", lambda n=n: n)
        found.append(parallel.share(list(range(7))))
    assert [len(f) for f in found] == [3, 3, 3]
    assert {x for f in found for x in f} == set(range(7))
