"""Every offline model, whatever it is: its encoder without torch says what torch says, and its artefact is the model again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from offline import artefacts
from offline.model import KINDS, SessionModel, build
from online_models import embeddings, encoder
from online_models.embeddings import MANIFEST, Trained
from online_models.errors import ArtefactError

ITEMS = 50


def made(kind: str, **config: object) -> SessionModel:
    model = build(kind, ITEMS, {"dims": 16, "length": 6} | config)
    with torch.no_grad():
        for weight in model.parameters():  # away from zeros and ones that they may begin with
            weight.add_(torch.randn_like(weight) * 0.3)
    return model.eval()


def saved(model: SessionModel, folder: Path) -> embeddings.Artefact:
    artefacts.save(model, [f"i{n}" for n in range(ITEMS)], folder, Trained(1, 2, 3), 4)
    return embeddings.verify(folder)


VARIANTS: list[tuple[str, dict[str, object]]] = [(kind, {}) for kind in KINDS]
VARIANTS += [
    ("sasrec", {"readout": "state", "scale": 0.0, "layers": 1}),
    ("sasrec", {"readout": "items", "heads": 1}),
    ("gru4rec", {"scale": 9.0}),
]


def same(found: np.ndarray | None, expected: np.ndarray) -> None:
    """Equal to 1e-5 of the query's size: the two sum in another order, and the last bits of large numbers are all they differ in."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1.0, float(np.abs(expected).max())))


@pytest.mark.parametrize(("kind", "config"), VARIANTS)
@torch.no_grad()
def test_the_encoder_equals_torch(kind: str, config: dict[str, object], tmp_path: Path) -> None:
    model = made(kind, **config)
    found = encoder.load(saved(model, tmp_path / "a"))
    assert found is not None
    rng = np.random.default_rng(0)
    for length in (1, 2, 3, 5, 6, 7, 20):
        rows = rng.integers(0, ITEMS, length)
        expected = model(torch.from_numpy(rows[None, -found.length :]))[0, -1].numpy()
        before = rows.copy()
        same(found.encode(rows), expected)
        assert found.encode(rows).dtype == np.float32
        assert (rows == before).all()
        with_unknown = np.insert(rows, rng.integers(0, length + 1), -1)
        np.testing.assert_array_equal(found.encode(with_unknown), found.encode(rows))
    assert found.encode(np.array([-1, -1])) is None
    assert found.encode(np.zeros(0, np.int64)) is None


ENCODED = """
import hashlib, sys
import numpy as np
from pathlib import Path
from online_models import embeddings, encoder
for folder in sys.argv[1:]:
    found = encoder.load(embeddings.read(Path(folder)))
    rows = np.random.default_rng(0).integers(0, 50, 20)
    print(hashlib.sha256(found.encode(rows).tobytes()).hexdigest())
"""


def test_the_bits_do_not_depend_on_how_many_threads_there_are(tmp_path: Path) -> None:
    """With sessions and vectors as long as they usually are: BLAS shares out larger products than these tests otherwise have."""
    for kind in KINDS:
        saved(made(kind, dims=128, length=20), tmp_path / kind)
    said = [
        subprocess.run(
            [sys.executable, "-c", ENCODED, *(str(tmp_path / kind) for kind in KINDS)],
            env={**os.environ, "OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)},
            capture_output=True, text=True, check=True,
        ).stdout.split()
        for threads in (1, 4)
    ]  # fmt: skip
    assert len(set(said[0])) == len(KINDS)
    assert said[0] == said[1]


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_what_comes_later_does_not_matter(kind: str) -> None:
    model = made(kind)
    rows = torch.randint(0, ITEMS, (3, 6))
    whole = model(rows)
    for n in range(1, 6):
        torch.testing.assert_close(model(rows[:, :n])[:, -1], whole[:, n - 1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_artefact_is_the_model_again(kind: str, tmp_path: Path) -> None:
    model = made(kind)
    again = artefacts.load(saved(model, tmp_path / "a"))
    rows = torch.randint(0, ITEMS, (3, 6))
    torch.testing.assert_close(again(rows) @ again.vectors().T, model(rows) @ model.vectors().T)


@torch.no_grad()
def test_a_gru_step_is_one_event(tmp_path: Path) -> None:
    model = made("gru4rec", scale=9.0)
    found = encoder.GruEncoder(*_parts(saved(model, tmp_path / "a")))
    state = found.start()
    for row in (4, 7, 4):
        state, query = found.step(state, row)
    np.testing.assert_array_equal(query, found.encode(np.array([4, 7, 4])))
    same(query, model(torch.tensor([[4, 7, 4]]))[0, -1].numpy())
    assert (found.start() == 0).all(), "a step has changed the state it began from"


@torch.no_grad()
def test_a_transformer_step_is_one_event(tmp_path: Path) -> None:
    model = made("sasrec")
    found = encoder.TransformerEncoder(*_parts(saved(model, tmp_path / "a")))
    rows = [4, 7, 4, 9, 30, 2]
    memory = found.start()
    for n, row in enumerate(rows):
        before = [k.copy() for k in memory.keys]
        kept, query = found.step(memory, row)
        assert all((a == b).all() for a, b in zip(before, memory.keys, strict=True))
        memory = kept
        same(query, model(torch.tensor([rows[: n + 1]]))[0, -1].numpy())
    with pytest.raises(ValueError, match="at most 6 events"):
        found.step(memory, 1)


def _parts(a: embeddings.Artefact) -> tuple:
    return a.vectors, a.encoder, a.manifest.encoder["config"]


def test_encoders_that_this_code_cannot_run_are_refused(tmp_path: Path) -> None:
    saved(made("gru4rec"), tmp_path / "a")
    values = json.loads((tmp_path / "a" / MANIFEST).read_text())
    for described, message in (
        ({"kind": "mamba", "config": {}}, "an encoder of a kind"),
        ({"kind": "gru4rec", "config": {}}, "weights of a gru4rec"),
    ):
        (tmp_path / "a" / MANIFEST).write_text(json.dumps(values | {"encoder": described}))
        with pytest.raises(ArtefactError, match=message):
            encoder.load(embeddings.read(tmp_path / "a"))
    (tmp_path / "a" / MANIFEST).write_text(json.dumps(values | {"encoder": None}))
    assert encoder.load(embeddings.read(tmp_path / "a")) is None


def test_weights_of_other_shapes_are_refused(tmp_path: Path) -> None:
    artefact = saved(made("gru4rec"), tmp_path / "a")
    weights = dict(artefact.encoder) | {"gru.bias_hh_l0": np.zeros(3, np.float32)}
    broken = embeddings.Artefact(artefact.folder, artefact.manifest, artefact.ids, artefact.vectors, None, weights)
    with pytest.raises(ArtefactError, match="weights of a gru4rec"):
        encoder.load(broken)
    with pytest.raises(ArtefactError, match="weights of gru4rec"):
        artefacts.load(broken)
