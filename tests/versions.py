"""Made-up versions of the deep model: artefacts whose vectors say what goes with what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from online_models import embeddings
from online_models.base import FloatArray
from online_models.deep import Version
from online_models.embeddings import Manifest, Trained
from online_models.items import ItemTable
from online_models.prepared import prepare


def vectors_of(groups: Sequence[int], dims: int = 16, noise: float = 0.1, seed: int = 1) -> FloatArray:
    """A vector an item; items of a group point the same way."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(dims, dims)))[0][: max(groups) + 1]
    return (2.0 * centres[list(groups)] + noise * rng.normal(size=(len(groups), dims))).astype(np.float32)


def artefact(
    folder: Path,
    ids: Sequence[str],
    vectors: FloatArray,
    created: int = 1,
    to_ms: int = 0,
    bias: FloatArray | None = None,
) -> Manifest:
    """An artefact of the plainest kind: the query is the mean of the latest vectors."""
    return embeddings.write(
        folder, kind="bprmf", ids=ids, vectors=vectors, bias=bias, trained=Trained(0, to_ms, 100), created=created,
        description={"kind": "bprmf", "config": {"length": 5, "decay": 0.8}},
    )  # fmt: skip


def version(folder: Path, table: ItemTable, ids: Sequence[str], vectors: FloatArray, **more: int) -> Version:
    """A version that knows the table."""
    artefact(folder, ids, vectors, **more)
    return Version(prepare(folder), table)
