"""Every offline model, because it is there: it finds what was planted, repeats itself to the bit, and goes on after a kill."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from offline import features, job
from offline.dataset import Sessions, split
from offline.evaluate import ranks
from offline.gate import _popularity
from offline.job import JobConfig
from offline.model import KINDS, SessionModel, build
from offline.train import Progress, TrainConfig, fit
from online_models import embeddings
from online_models.errors import InputError
from tests.offline.planted import ITEMS, START, ring_log, rows_of

SEQUENTIAL = ("gru4rec", "sasrec", "caser")
AT = START + 320 * 60_000
TRAIN = TrainConfig(epochs=15, tokens=256, negatives=32, lr=0.02, device="cpu")
SMALL = {"dims": 16}


def world(steps: tuple[int, ...]) -> Sessions:
    return rows_of(ring_log(steps=steps))[0]


def weights(of: SessionModel) -> bytes:
    return torch.cat([p.detach().ravel() for p in of.state_dict().values()]).numpy().tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_it_beats_popularity_where_neighbours_on_a_ring_go_together(kind: str) -> None:
    found = build(kind, ITEMS, SMALL)
    made = world((1,))
    learned, judged = split(made, AT)
    fit(found, learned, TRAIN)
    ours, theirs = ranks(found, judged, AT), _popularity(made, judged, AT, ITEMS)
    assert ours.summary()["mrr@20"] > 2 * theirs.summary()["mrr@20"]


@pytest.mark.parametrize("kind", SEQUENTIAL)
def test_what_looks_at_order_finds_the_step_of_a_session(kind: str) -> None:
    found = build(kind, ITEMS, SMALL | {"dropout": 0.1})
    learned, judged = split(world((1, 3)), AT)
    fit(found, learned, TrainConfig(epochs=25, tokens=128, negatives=32, lr=0.02, device="cpu"))
    scored = ranks(found, judged, AT)
    later = np.diff(scored.session, prepend=-1) == 0
    assert (scored.ranks[later] == 0).mean() > 0.9
    assert 0.3 < (scored.ranks[~later] == 0).mean() < 0.7, "the first event does not tell the step"


@pytest.mark.parametrize("loss", ["softmax", "bce"])
@pytest.mark.parametrize(("readout", "scale"), [("both", 14.0), ("state", 14.0), ("state", 0.0)])
def test_every_form_of_sasrec_learns(loss: str, readout: str, scale: float) -> None:
    found = build("sasrec", ITEMS, SMALL | {"loss": loss, "readout": readout, "scale": scale, "dropout": 0.0})
    learned, judged = split(world((1,)), AT)
    fit(found, learned, TRAIN)
    assert ranks(found, judged, AT).summary()["mrr@20"] > 0.8


class Killed(Exception):
    pass


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_repeats_itself_and_goes_on_after_a_kill(kind: str, tmp_path: Path) -> None:
    config = TrainConfig(epochs=3, tokens=64, negatives=16, lr=0.01, device="cpu", check_s=0.0)
    first, again, killed, resumed = (build(kind, ITEMS, SMALL, seed) for seed in (1, 1, 1, 9))
    fit(first, world((1, 3)), config)
    fit(again, world((1, 3)), config)
    assert weights(first) == weights(again)
    calls = itertools.count()

    def die(p: Progress) -> None:
        if (p.epoch, p.step) != (0, 1) and next(calls) == 1:
            raise Killed

    path = tmp_path / "run.checkpoint"
    with pytest.raises(Killed):
        fit(killed, world((1, 3)), config, checkpoint=path, progress=die)
    fit(resumed, world((1, 3)), config, checkpoint=path, resume=True)
    assert weights(resumed) == weights(first)


@pytest.mark.parametrize("kind", KINDS)
def test_a_version_goes_on_from_the_one_before(kind: str, tmp_path: Path) -> None:
    config = JobConfig(model=kind, settings=SMALL, train=TRAIN)
    job.train(ring_log(200, seed=1), tmp_path / "a", config)
    job.train(ring_log(400, seed=1), tmp_path / "b", config, live=tmp_path / "a")
    first, second = embeddings.verify(tmp_path / "a"), embeddings.verify(tmp_path / "b")
    assert second.ids[: len(first.ids)] == first.ids
    assert second.manifest.metrics["mrr@20"] > 0.15
    assert not any(name.startswith("users") for name in second.encoder), "users are not to leave the training"


def catalogue(path: Path, ids: list[str]) -> Path:
    lines = [{"item_id": i, "title": f"Shoe {i}", "categories": [f"group {int(i[1:]) // 10}"]} for i in ids]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\nbroken\n")
    return path


def test_features_weigh_what_tells_items_apart(tmp_path: Path) -> None:
    ids = [f"i{n}" for n in range(20)]
    found = features.read(catalogue(tmp_path / "c.jsonl", ids), [*ids, "unknown"], 1 << 14)
    assert found.words.shape == (21, features.WIDTH)
    assert np.linalg.norm(found.weights, axis=1) == pytest.approx([1.0] * 20 + [0.0])
    strongest = found.words[np.arange(20), found.weights[:20].argmax(1)]
    assert len(set(strongest)) == 2, "what tells most that another item has too is the group"
    assert (np.sort(found.weights, axis=1)[:, -2] == 0).all(), "what all are tells nothing, nor does a name of its own"
    with pytest.raises(InputError, match="none of them"):
        features.read(tmp_path / "c.jsonl", ["x"], 1 << 14)
    with pytest.raises(InputError, match="a catalogue at"):
        features.read(tmp_path / "none.jsonl", ids, 1 << 14)


def test_content_says_where_a_new_item_belongs(tmp_path: Path) -> None:
    """Sessions stay within one of four groups; the items 3, 13, 23, 33 are seen once each, among items of all groups."""
    rng = np.random.default_rng(0)
    lists = [
        [int(g * 10 + i) for i in rng.permutation([n for n in range(10) if n != 3])[:6]]
        for g in rng.integers(0, 4, 300)
    ]
    lists.append([3, 13, 23, 33])
    items = np.array([i for one in lists for i in one], np.int64)
    starts = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
    made = Sessions(items, np.arange(len(items)), starts, np.arange(len(lists)))
    read = features.read(
        catalogue(tmp_path / "c.jsonl", [f"i{n}" for n in range(40)]), [f"i{n}" for n in range(40)], 512
    )
    cold = Sessions(np.array([1, 3, 12, 13, 25, 23, 38, 33]), np.arange(8), np.arange(0, 9, 2), np.arange(4))
    place = {}
    for described in (False, True):
        found = build("two_tower", 40, SMALL)
        if described:
            found.describe(read)
        fit(found, made, TRAIN)
        place[described] = ranks(found, cold).ranks.mean()
    assert place[True] < 11 < place[False]


def test_only_models_that_read_a_catalogue_take_one(tmp_path: Path) -> None:
    log = ring_log()
    path = catalogue(tmp_path / "c.jsonl", log.item_ids)
    with pytest.raises(InputError, match="a model that reads a catalogue"):
        job.train(log, tmp_path / "a", JobConfig(model="bprmf", settings=SMALL, train=TRAIN), catalogue=path)
    config = JobConfig(model="two_tower", settings=SMALL, train=TRAIN)
    plain = job.train(log, tmp_path / "b", config)
    told = job.train(log, tmp_path / "c", config, catalogue=path)
    assert told.manifest.version != plain.manifest.version
    assert "content" not in embeddings.verify(tmp_path / "c").encoder
