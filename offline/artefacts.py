"""From a trained model to an artefact folder and back."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from online_models import embeddings
from online_models.embeddings import Artefact, Floats, Manifest, Trained
from online_models.errors import ArtefactError, HeadraceError

from .model import SessionModel, build


@torch.no_grad()
def save(
    model: SessionModel, ids: Sequence[str], folder: Path, trained: Trained, created: int, metrics: dict[str, float] | None = None,
    seen_ms: int | None = None,
) -> Manifest:  # fmt: skip
    """Write ``model`` as the artefact ``folder``; ``ids`` are the items' ids in row order, ``created`` is ms since the epoch.

    ``seen_ms``: the newest event that the training has looked at (`embeddings.Manifest`).
    """
    model.eval()
    return embeddings.write(
        folder, kind=model.kind, ids=ids, vectors=_floats(model.vectors()), bias=_floats(model.bias), trained=trained,
        created=created, encoder={k: _floats(v) for k, v in model.encoder().items()}, description=description(model),
        metrics=metrics, libraries=libraries(), git_commit=git_commit(), seen_ms=seen_ms,
    )  # fmt: skip


def load(artefact: Artefact) -> SessionModel:
    """The model that an artefact holds, on the CPU, to be evaluated or trained further. Raises ArtefactError where it holds none."""
    encoder = artefact.manifest.encoder
    if encoder is None:
        raise ArtefactError(
            "an artefact with an encoder", f"none in {artefact.folder}", "train one with `headrace train`"
        )
    try:
        model = build(artefact.manifest.kind, artefact.manifest.items, encoder["config"])
        state = {name: torch.from_numpy(np.array(array)) for name, array in artefact.encoder.items()}
        with torch.no_grad():
            model.items.weight.copy_(torch.from_numpy(np.array(artefact.vectors)))
            if artefact.bias is not None:
                model.bias.copy_(torch.from_numpy(np.array(artefact.bias)))
        missing = model.load_state_dict(state, strict=False)
        if missing.unexpected_keys or set(missing.missing_keys) - {"items.weight", "bias"}:
            raise KeyError(f"missing {missing.missing_keys}, unexpected {missing.unexpected_keys}")
    except (KeyError, RuntimeError, TypeError, HeadraceError) as error:
        raise ArtefactError(
            f"weights of {artefact.manifest.kind} in {artefact.folder}",
            str(error).splitlines()[0],
            "train a new version",
        ) from error
    return model.eval()


@torch.no_grad()
def warm_start(model: SessionModel, live: SessionModel) -> None:
    """Begin from another version of the same shape, whose items are the first rows here; newer items keep their random start.

    The items begin with the vectors that were published: where scores are cosines, what an item weighs besides (its norm has grown with
    every step) would keep it from moving as fast as a new one.
    """
    if (model.kind, model.config) != (live.kind, live.config):
        raise ArtefactError(
            f"a live version of kind {model.kind} with {msgspec.to_builtins(model.config)}",
            f"{live.kind} with {msgspec.to_builtins(live.config)}",
            "train from the beginning (without --live) or with the same settings",
        )
    n = len(live.bias)
    state = live.state_dict()
    del state["items.weight"]
    model.items.weight[:n] = live.vectors()
    model.bias[:n] = state.pop("bias")
    model.bias[n:] = model.bias[:n].min() if n else 0.0
    model.load_state_dict(state, strict=False)


def description(model: SessionModel) -> dict[str, Any]:
    """What the manifest says of the encoder."""
    return {"kind": model.kind, "config": msgspec.to_builtins(model.config)}


def libraries() -> dict[str, str]:
    """The versions that a result may depend on."""
    found = {}
    for name in ("headrace", "numpy", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of the source that runs, if it lies in a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _floats(tensor: torch.Tensor) -> Floats:
    return tensor.detach().float().cpu().numpy()
