"""The trainer: it finds the planted rule, repeats itself, goes on after a kill, and says what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from offline.dataset import Sessions, split
from offline.devices import device_of
from offline.evaluate import ranks
from offline.model import DeviceBatch, SessionModel, build
from offline.train import Progress, TrainConfig, fit
from online_models.errors import InputError, ServiceError
from tests.offline.planted import ITEMS, START, ring_log, rows_of

QUICK = TrainConfig(epochs=4, tokens=256, negatives=16, lr=0.02, device="cpu", patience=9)
SMALL = {"dims": 16, "dropout": 0.1}


def world() -> Sessions:
    return rows_of(ring_log(steps=(1, 3)))[0]


def model(seed: int = 1) -> SessionModel:
    return build("gru4rec", ITEMS, SMALL, seed)


def weights(of: SessionModel) -> np.ndarray:
    return torch.cat([p.detach().ravel() for p in of.state_dict().values()]).numpy()


@pytest.mark.parametrize("loss", ["softmax", "bpr-max"])
def test_it_finds_the_rule_of_the_world(loss: str) -> None:
    """The step of a session is known after its second event: popularity or pairs alone would be right half the time."""
    found = build("gru4rec", ITEMS, SMALL | {"loss": loss, "reg": 0.1})
    at = START + 320 * 60_000
    learned, judged = split(world(), at)
    fit(found, learned, TrainConfig(epochs=20, tokens=128, negatives=16, lr=0.02, device="cpu"))
    scored = ranks(found, judged, at)
    later = np.diff(scored.session, prepend=-1) == 0
    assert (scored.ranks[later] == 0).mean() > 0.95
    assert 0.3 < (scored.ranks[~later] == 0).mean() < 0.7


def test_the_same_run_gives_the_same_bits() -> None:
    first, again, other = model(), model(), model()
    for each, config in ((first, QUICK), (again, QUICK), (other, TrainConfig(**_plain(QUICK) | {"seed": 2}))):
        fit(each, world(), config)
    assert weights(first).tobytes() == weights(again).tobytes()
    assert weights(first).tobytes() != weights(other).tobytes()


def _plain(config: TrainConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in config.__struct_fields__}


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [3, 55, 120])
def test_a_killed_run_goes_on_where_it_was(at: int, tmp_path: Path) -> None:
    config = TrainConfig(**_plain(QUICK) | {"tokens": 32, "check_s": 0.0, "epochs": 3})
    validation = (world(), START + 390 * 60_000)
    undisturbed, killed, resumed = model(), model(), model(7)
    whole = fit(undisturbed, world(), config, validation)
    steps = []

    def die(p: Progress) -> None:
        steps.append(p)
        if len(steps) == at:
            raise Killed

    path = tmp_path / "run.checkpoint"
    with pytest.raises(Killed):
        fit(killed, world(), config, validation, checkpoint=path, progress=die)
    run = fit(resumed, world(), config, validation, checkpoint=path, resume=True, progress=steps.append)
    assert weights(resumed).tobytes() == weights(undisturbed).tobytes()
    assert (run.losses, run.validation) == (pytest.approx(whole.losses), whole.validation)
    first = steps[at]
    assert (first.epoch, first.step) > (0, 1), "it began anew"


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    fit(model(), world(), QUICK, checkpoint=path)
    with pytest.raises(InputError, match="of other data or settings"):
        fit(model(), world().pick(np.arange(100)), QUICK, checkpoint=path, resume=True)
    with pytest.raises(InputError, match="of other data or settings"):
        fit(model(), world(), TrainConfig(**_plain(QUICK) | {"lr": 0.5}), checkpoint=path, resume=True)


def test_a_checkpoint_of_another_teacher_or_window_is_refused(tmp_path: Path) -> None:
    """Either decides what the run ends with, as the data do."""
    path, old = tmp_path / "c", np.arange(len(world())) < 100
    window = (world(), START + 300 * 60_000)
    fit(model(), world(), QUICK, window, model(3), old, checkpoint=path)
    others = [
        ((world(), START + 301 * 60_000), model(3), old),
        (window, model(4), old),
        (window, model(3), np.arange(len(world())) < 99),
        (window, None, None),
    ]
    for judged, teacher, past in others:
        with pytest.raises(InputError, match="of other data or settings"):
            fit(model(), world(), QUICK, judged, teacher, past, checkpoint=path, resume=True)
    fit(model(), world(), QUICK, window, model(3), old, checkpoint=path, resume=True)


def test_of_equally_good_epochs_the_first_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the weights are those of the epoch that the run calls its best."""
    short, long = model(), model()
    monkeypatch.setattr("offline.train._Trainer._validate", lambda self: 0.5)
    run = fit(long, world(), QUICK, (world(), START))
    fit(short, world(), TrainConfig(**_plain(QUICK) | {"epochs": 1}))
    assert run.best == 0
    assert weights(long).tobytes() == weights(short).tobytes()


def test_a_window_without_queries_ends_nothing() -> None:
    run = fit(model(), world(), TrainConfig(**_plain(QUICK) | {"patience": 1}), (world(), START * 2))
    assert (len(run.losses), run.validation, run.best) == (QUICK.epochs, [], QUICK.epochs - 1)


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"", lambda raw: b"x" * 100])
def test_a_damaged_checkpoint_is_refused(damage: object, tmp_path: Path) -> None:
    path = tmp_path / "c"
    fit(model(), world(), TrainConfig(**_plain(QUICK) | {"epochs": 1}), checkpoint=path)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(InputError, match="a checkpoint at"):
        fit(model(), world(), QUICK, checkpoint=path, resume=True)


def test_it_stops_early_and_keeps_the_best() -> None:
    found = model()
    run = fit(
        found,
        world(),
        TrainConfig(epochs=50, tokens=256, negatives=16, lr=0.5, device="cpu", patience=2),
        (world(), START),
    )
    assert len(run.validation) < 50
    assert len(run.validation) - 1 - run.best == 2
    assert ranks(found, world(), START).scores("mrr@20").mean() == pytest.approx(max(run.validation))


class Exploding(type(model())):  # type: ignore[misc]
    def loss(self, batch: DeviceBatch, *rest: object) -> torch.Tensor:
        return super().loss(batch, *rest) * float("nan")


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    found = model()
    found.__class__ = Exploding
    with pytest.raises(InputError, match=r"a finite loss, got nan in epoch 0.*lower .* \(--set lr=0.005\)"):
        fit(found, world(), QUICK)


class Greedy(type(model())):  # type: ignore[misc]
    def loss(self, batch: DeviceBatch, *rest: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def test_short_memory_says_what_to_lower() -> None:
    found = model()
    found.__class__ = Greedy
    with pytest.raises(ServiceError, match=r"256 places against 16 negatives.*lower tokens or negatives"):
        fit(found, world(), QUICK)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(ServiceError, match="a CUDA device"):
        device_of("cuda")
    assert device_of("auto").type == "cpu"


def test_a_training_on_a_gpu_that_is_not_there_ends_with_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    events = ({"event_id": str(n), "timestamp": START + 60_000 * n, "user_id": f"u{n % 7}", "item_id": f"i{n % 9}",
               "event_type": "view"} for n in range(200))  # fmt: skip
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, events)))
    arguments = ["train", "--log", str(tmp_path / "log.jsonl"), "--out", str(tmp_path / "out"), "--device", "cuda"]
    done = subprocess.run(
        [sys.executable, "-c", "from infra.cli import main; main()", *arguments],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    said = "headrace: expected a CUDA device, got none that torch can use; use --device cpu, or install torch with CUDA"
    assert (done.returncode, done.stdout, done.stderr.strip()) == (1, "", said)
    assert [found.name for found in tmp_path.iterdir()] == ["log.jsonl"]
