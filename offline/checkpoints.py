"""A training run on disk: tensors and plain numbers in torch's format, read without running anything (weights only)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from online_models.errors import InputError


class NotThisRun(InputError):
    """A checkpoint that this run cannot go on from: damaged, or of other data or settings."""


def save(path: Path, model: Any, optimizer: Any, best: Any, state: dict[str, Any]) -> None:
    """Write the checkpoint to ``path``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        torch.save({"model": model, "optimizer": optimizer, "best": best, "state": state}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The checkpoint at ``path``, None if there is none. Raises NotThisRun when it is damaged."""
    if not path.exists():
        return None
    try:
        found = torch.load(path, map_location=device, weights_only=True)
        return {name: found[name] for name in ("model", "optimizer", "best", "state")}
    except Exception as error:  # a damaged file fails in as many ways as torch's reader has lines
        found = f"{type(error).__name__} on reading it"
        raise NotThisRun(f"a checkpoint at {path}", found, "remove it and start again") from error
