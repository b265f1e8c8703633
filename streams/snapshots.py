"""Snapshots of the knowledge: arrays in a safetensors file, and a JSON file beside it that makes it valid."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from online_models._safetensors import DTYPES, encoded
from streams.interaction_log import Position

log = logging.getLogger("headrace")

KEEP = 2
FORMAT = 1
CHUNK = 1 << 22
STALE_S = 3600.0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON file. ``positions``: how far topic ``interactions`` is contained; ``created``: ms since the epoch.

    ``bytes_parts`` names the parts that were bytes; ``sha256`` is that of the safetensors file.
    """

    positions: dict[int, Position]
    created: int
    sha256: str
    bytes_parts: tuple[str, ...] = ()
    format: int = FORMAT


def save(folder: Path, parts: Mapping[str, Any], positions: Mapping[int, Position], writer: str) -> Path:
    """Write a snapshot and return its JSON file. May run in a thread; ``parts`` must not change meanwhile.

    Both files are complete and on disk before the name of the JSON file appears, so a crash leaves no half snapshot.
    The newest two of the folder stay, whoever wrote them; ``writer`` keeps names of several workers apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    created = time.time_ns() // 1_000_000
    name = f"{created:015d}-{writer}"
    arrays = {part: _as_array(part, value) for part, value in parts.items()}
    digest = hashlib.sha256()
    with _whole(folder / f"{name}.safetensors") as file:
        for chunk in encoded(arrays):
            digest.update(chunk)
            file.write(chunk)
    meta = Snapshot(
        positions=dict(positions),
        created=created,
        sha256=digest.hexdigest(),
        bytes_parts=tuple(part for part, value in parts.items() if not isinstance(value, np.ndarray)),
    )
    with _whole(folder / f"{name}.json") as file:
        file.write(msgspec.json.encode(meta))
    prune(folder)
    return folder / f"{name}.json"


def load(folder: Path) -> tuple[dict[str, Any], Snapshot] | None:
    """The newest snapshot that is whole, None if there is none. A broken one is reported and passed over."""
    for path in sorted(folder.glob("*.json"), reverse=True):
        data = path.with_suffix(".safetensors")
        try:
            meta = msgspec.json.decode(path.read_bytes(), type=Snapshot)
            if meta.format != FORMAT:
                raise ValueError(f"format {meta.format}, expected {FORMAT}")
            if _sha256(data) != meta.sha256:
                raise ValueError("checksum differs")
            parts: dict[str, Any] = load_file(data)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            log.warning("snapshot %s is broken (%s), trying an older one", path.name, error)
            continue
        return parts | {part: parts[part].tobytes() for part in meta.bytes_parts}, meta
    return None


def prune(folder: Path) -> None:
    """Keep the newest snapshots; remove the others and what crashes left half written."""
    for path in sorted(folder.glob("*.json"), reverse=True)[KEEP:]:
        path.unlink(missing_ok=True)  # first: without it the data is no snapshot
        path.with_suffix(".safetensors").unlink(missing_ok=True)
    stale = time.time() - STALE_S
    for path in (*folder.glob("*.tmp"), *folder.glob("*.safetensors")):
        try:
            left_over = path.suffix == ".tmp" or not path.with_suffix(".json").exists()
            if left_over and path.stat().st_mtime < stale:
                path.unlink()
        except FileNotFoundError:
            continue  # another worker was quicker


class _whole:
    """A file that appears under its name when it is complete and on disk, or not at all."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, path.with_name(path.name + ".tmp")

    def __enter__(self) -> IO[bytes]:
        self._file = self._temporary.open("wb")
        return self._file

    def __exit__(self, kind: object, *_: object) -> None:
        with self._file:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
        if kind is None:
            self._temporary.replace(self._path)
            descriptor = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        else:
            self._temporary.unlink(missing_ok=True)


def _as_array(part: str, value: Any) -> NDArray[Any]:
    array = value if isinstance(value, np.ndarray) else np.frombuffer(value, np.uint8)
    if array.dtype.name not in DTYPES or not array.dtype.isnative:
        raise TypeError(f"part {part!r}: expected one of {', '.join(DTYPES)}, got {array.dtype}; convert it")
    return np.ascontiguousarray(array).reshape(array.shape)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
