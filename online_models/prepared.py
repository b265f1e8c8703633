"""An artefact made ready for the stream: what takes long is done once, in a process of its own, and then memory-mapped.

`online_models.preparing` checks everything in the artefact, sorts its items into inverted lists and writes the arrays. The
stream's process only maps them: nothing of this runs in it, stops it, or takes its memory.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import embeddings
from ._histories import MeanEncoder
from .ann import Lists, lists_for
from .base import IntArray
from .embeddings import Artefact
from .encoder import Encoder
from .encoder import load as load_encoder
from .errors import ArtefactError
from .items import hash_id
from .soundness import LONGEST, usable

LISTS = tuple(field.name for field in fields(Lists))
_ARRAYS = ("hashes", "rows", "numbers", *LISTS)


@dataclass(frozen=True)
class Prepared:
    """``hashes`` [items], sorted, are those of the item ids, ``rows`` [items] where each stands in the artefact; ``length`` is
    the median length of a vector."""

    artefact: Artefact
    encoder: Encoder
    hashes: NDArray[np.uint64]
    rows: IntArray
    lists: Lists | None
    length: float

    def rows_of(self, hashes: NDArray[np.uint64]) -> IntArray:
        """The artefact's rows of items by the hashes of their ids, -1 for items that it does not have."""
        at = np.minimum(np.searchsorted(self.hashes, hashes), max(len(self.hashes) - 1, 0))
        if not len(self.hashes):
            return np.full(len(hashes), -1, np.int32)
        return np.where(self.hashes[at] == hashes, self.rows[at], -1).astype(np.int32)

    def row_of(self, id_hash: int) -> int:
        """The same for one item."""
        at = int(np.searchsorted(self.hashes, np.uint64(id_hash)))
        return int(self.rows[at]) if at < len(self.hashes) and int(self.hashes[at]) == id_hash else -1


def prepare(folder: Path, sha256: str | None = None) -> Prepared:
    """Verify an artefact and make it ready, in memory. Raises ArtefactError for one that must not be used."""
    artefact = embeddings.verify(folder, sha256)
    hashes = np.fromiter((hash_id(i) for i in artefact.ids), np.uint64, len(artefact.ids))
    order = np.argsort(hashes, kind="stable")
    kept = np.ones(len(order), bool)
    same = hashes[order][1:] == hashes[order][:-1]
    kept[1:] &= ~same  # two ids with one hash: neither can be told from the other
    kept[:-1] &= ~same
    with np.errstate(all="ignore"):  # what comes of it is looked at
        encoder = _encoder(artefact)
        _try(encoder, artefact)
    norms = np.sqrt(np.einsum("ij,ij->i", artefact.vectors, artefact.vectors))
    return Prepared(
        artefact, encoder, hashes[order][kept], order[kept].astype(np.int32),
        lists_for(artefact.vectors), float(np.median(norms)) if len(norms) else 1.0,
    )  # fmt: skip


def _encoder(artefact: Artefact) -> Encoder:
    """The artefact's; where it has none, the mean of the latest item vectors."""
    found = load_encoder(artefact)
    return found if found is not None else MeanEncoder(artefact.vectors, {}, {"length": 10, "decay": 0.8})


def _try(encoder: Encoder, artefact: Artefact) -> None:
    """Raises ArtefactError where the encoder makes nothing of a session of one event, or of a long one, that could be used."""
    for events in (1, encoder.length):
        rows = np.arange(events, dtype=np.int64) % artefact.manifest.items
        try:
            query = encoder.encode(rows)
            found = "none" if query is None else f"one of length {np.linalg.norm(query.astype(np.float64)):.3g}"
            sound = query is not None and usable(query)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ArtefactError(
                f"a query for a session of {events} events", repr(error), "train a new version"
            ) from error
        if not sound:
            expected = f"a query no longer than {LONGEST:g} for a session of {events} events"
            raise ArtefactError(expected, found, "train a new version")


def save(prepared: Prepared, out: Path) -> None:
    """Write what `load` maps; the folder appears whole or not at all, and one that is there already stays."""
    arrays: list[NDArray[Any]] = [prepared.hashes, prepared.rows, np.array([prepared.length])]
    arrays += [getattr(prepared.lists, name) if prepared.lists else np.zeros(0) for name in LISTS]
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for name, array in zip(_ARRAYS, arrays, strict=True):
            with (temporary / f"{name}.npy").open("wb") as file:
                # Given the file itself, numpy may not notice that a disk was full.
                np.save(SimpleNamespace(write=file.write), array, allow_pickle=False)
            embeddings.sync(temporary / f"{name}.npy")
        put(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put(folder: Path, target: Path) -> None:
    """Rename a finished folder; ``target`` stays if it is there already: another worker of this machine was faster."""
    try:
        folder.rename(target)
    except OSError:
        if not target.exists():
            raise


def load(folder: Path, out: Path, sha256: str | None = None) -> Prepared:
    """An artefact that has been prepared, memory-mapped. Raises ArtefactError where what lies in ``out`` does not fit."""
    artefact = embeddings.read(folder, sha256, with_ids=False)
    try:
        hashes, rows, numbers, *parts = (
            np.load(out / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS
        )
        lists = Lists(*parts) if len(parts[0]) else None
        if len(hashes) != len(rows) or (lists is not None and len(lists.order) != len(artefact.vectors)):
            raise ValueError("arrays of different lengths")
        return Prepared(artefact, _encoder(artefact), hashes, rows, lists, float(numbers[0]))
    except (OSError, ValueError, EOFError) as error:
        raise ArtefactError(
            f"a prepared artefact in {out}", str(error), "remove the folder to prepare it again"
        ) from error
