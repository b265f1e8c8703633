"""The model artefact: a folder of item vectors with a manifest, written whole and read without trusting it.

    manifest.json          what it is: schema, version, kind, dims, items, sha256 of every file, training range, metrics …
    items.safetensors      "vectors" float32 [items, dims], optional "bias" float32 [items]
    item_ids.json          the ids in row order
    encoder.safetensors    optional: weights of what turns a session into a query vector (`online_models.encoder`)

The score of an item is ``query · vector + bias``. Everything here is data: JSON and raw arrays, nothing that could run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from . import _safetensors, soundness
from .errors import ArtefactError

Floats = _safetensors.Floats

SCHEMA = 1
MANIFEST, ITEMS, IDS, ENCODER = "manifest.json", "items.safetensors", "item_ids.json", "encoder.safetensors"
FILES = frozenset({ITEMS, IDS, ENCODER})
"""All names that an artefact may hold beside its manifest."""

_CHUNK = 1 << 22
_AGAIN = "fetch it again, or train a new version"


@dataclass(frozen=True)
class Trained:
    """What a version learned from: event times in ms since the epoch, both ends included, and how many events."""

    from_ms: int
    to_ms: int
    events: int


@dataclass(frozen=True)
class Manifest:
    """``files`` maps file name → sha256 (hex), ``sizes`` → bytes. ``created``: ms since the epoch. ``encoder``: kind and shape
    parameters.

    ``seen_ms``: time of the newest event that was learned, or that decided when training ended: what may be judged on comes after
    it. None: nobody has said.
    """

    version: str
    kind: str
    dims: int
    items: int
    files: dict[str, str]
    trained: Trained
    created: int
    metrics: dict[str, float] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    encoder: dict[str, Any] | None = None
    seen_ms: int | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def newest_ms(self) -> int:
        """Time of the newest event that the version is known to have seen."""
        return self.trained.to_ms if self.seen_ms is None else self.seen_ms


@dataclass(frozen=True)
class Artefact:
    """A version as it lies on disk. ``vectors`` [items, dims] and ``bias`` [items] are memory-mapped, read-only."""

    folder: Path
    manifest: Manifest
    ids: list[str]
    vectors: Floats
    bias: Floats | None
    encoder: dict[str, Floats]


def write(
    folder: Path,
    *,
    kind: str,
    ids: Sequence[str],
    vectors: Floats,
    trained: Trained,
    created: int,
    bias: Floats | None = None,
    encoder: Mapping[str, Floats] | None = None,
    description: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
    libraries: Mapping[str, str] | None = None,
    git_commit: str | None = None,
    seen_ms: int | None = None,
) -> Manifest:
    """Write an artefact; ``folder`` appears under its name when all of it is on disk, or not at all.

    ``description`` says what the encoder is, ``encoder`` holds its weights. The version is ``kind-<end of training>-<hash>``:
    the same contents have the same version. Raises ArtefactError where the arrays do not fit or ``folder`` is there already.
    """
    if folder.exists():
        raise ArtefactError("a folder that is not there yet", str(folder), "name another one: versions never change")
    items = {"vectors": _floats("vectors", vectors, (len(ids), vectors.shape[-1]))}
    if bias is not None:
        items["bias"] = _floats("bias", bias, (len(ids),))
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        files = {
            ITEMS: _save(temporary / ITEMS, *_safetensors.encoded(items)),
            IDS: _save(temporary / IDS, json.dumps(list(ids)).encode()),
        }
        if encoder:
            weights = {name: _floats(name, array, array.shape) for name, array in encoder.items()}
            files[ENCODER] = _save(temporary / ENCODER, *_safetensors.encoded(weights))
        shown = dict(description) if description is not None else None
        digest = _content([kind, vectors.shape[1], shown, files])
        manifest = Manifest(
            version=f"{kind}-{trained.to_ms}-{digest[:12]}", kind=kind, dims=vectors.shape[1], items=len(ids), files=files,
            trained=trained, created=created, metrics=dict(metrics or {}), libraries=dict(libraries or {}),
            git_commit=git_commit, encoder=shown, seen_ms=seen_ms, sizes={n: (temporary / n).stat().st_size for n in files},
        )  # fmt: skip
        _save(temporary / MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True).encode() + b"\n")
        sync(temporary)
        temporary.rename(folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return manifest


def read_manifest(folder: Path, sha256: str | None = None) -> Manifest:
    """The manifest; ``sha256`` is what its bytes must hash to (the announcement says it). Raises ArtefactError."""
    try:
        raw = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise ArtefactError(f"an artefact at {folder}", f"no {MANIFEST} ({error.strerror})", _AGAIN) from error
    if sha256 is not None and sha256_of(raw) != sha256:
        raise ArtefactError(f"{MANIFEST} with sha256 {sha256}", sha256_of(raw), _AGAIN)
    return parse_manifest(raw, str(folder))


def parse_manifest(raw: bytes, where: str) -> Manifest:
    """The manifest in ``raw``; a newer schema, wrong types and names that lead elsewhere raise ArtefactError."""
    try:
        values = json.loads(raw)
        schema = values["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtefactError(f"a manifest in {where}", f"none that can be read ({error!r})", _AGAIN) from error
    if schema != SCHEMA:
        raise ArtefactError(f"an artefact of schema {SCHEMA}", f"schema {schema!r} in {where}", "upgrade Headrace")
    known = {f.name for f in fields(Manifest)}
    try:
        manifest = Manifest(
            **{k: v for k, v in values.items() if k in known} | {"trained": Trained(**values["trained"])}
        )
        _check_manifest(manifest)
    except (TypeError, KeyError, ValueError) as error:
        if isinstance(error, ArtefactError):
            raise
        raise ArtefactError(f"a manifest as documented in {where}", repr(error), _AGAIN) from error
    return manifest


def _check_manifest(m: Manifest) -> None:
    sizes = m.sizes.values() if isinstance(m.sizes, dict) else [m.sizes]
    numbers = (m.dims, m.items, m.created, m.trained.from_ms, m.trained.to_ms, m.trained.events, *sizes)
    if any(type(n) is not int or n < 0 for n in numbers) or m.dims == 0:
        raise ValueError(f"numbers {numbers}")
    if m.seen_ms is not None and (type(m.seen_ms) is not int or m.seen_ms < m.trained.to_ms):
        raise ValueError(f"seen_ms {m.seen_ms!r}, trained until {m.trained.to_ms}")
    if m.encoder is not None and not isinstance(m.encoder, dict):
        raise ValueError(f"encoder {m.encoder!r}")
    if not isinstance(m.version, str) or not m.version or set(m.version) & set("/\\\0") or m.version.startswith("."):
        raise ArtefactError("a version that can be a folder's name", repr(m.version), _AGAIN)
    if not isinstance(m.files, dict) or not FILES >= m.files.keys() >= {ITEMS, IDS}:
        raise ArtefactError(f"files out of {sorted(FILES)}", str(sorted(m.files)), "do not use this artefact")


def read(folder: Path, sha256: str | None = None, with_ids: bool = True) -> Artefact:
    """The artefact, its vectors memory-mapped. Shapes and offsets are checked, contents not: for that, `verify` first.

    A million ids take a while to parse; without them ``ids`` is empty.
    """
    manifest = read_manifest(folder, sha256)
    for name in manifest.files:
        _plain(folder / name)
    items = _safetensors.mapped(folder / ITEMS)
    _shape(items, "vectors", (manifest.items, manifest.dims), folder)
    if "bias" in items:
        _shape(items, "bias", (manifest.items,), folder)
    ids = _ids(folder / IDS, manifest.items) if with_ids else []
    encoder = _safetensors.mapped(folder / ENCODER) if ENCODER in manifest.files else {}
    return Artefact(folder, manifest, ids, items["vectors"], items.get("bias"), encoder)


def _ids(path: Path, items: int) -> list[str]:
    try:
        ids = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"a list of ids in {path}", str(error), _AGAIN) from error
    if not isinstance(ids, list) or len(ids) != items or any(not isinstance(i, str) for i in ids):
        raise ArtefactError(f"{items} ids in {path}", "something else", _AGAIN)
    return ids


def verify(folder: Path, sha256: str | None = None) -> Artefact:
    """The artefact after everything in it was checked: sha256 of each file, shapes, distinct ids, no NaN, no infinity, nothing
    so large that it could overflow.

    Raises ArtefactError for the first fault, and says what it is.
    """
    manifest = read_manifest(folder, sha256)
    for name, expected in manifest.files.items():
        actual = _sha256(_plain(folder / name))
        if actual != expected:
            raise ArtefactError(f"{name} with sha256 {expected}", actual, _AGAIN)
    artefact = read(folder, sha256)
    if len(set(artefact.ids)) != len(artefact.ids):
        raise ArtefactError("distinct item ids", "some twice", "train a new version")
    soundness.check(artefact.ids, artefact.vectors, artefact.bias, artefact.encoder)
    return artefact


def manifest_sha256(folder: Path) -> str:
    """sha256 (hex) of the manifest, and so, through the hashes in it, of the whole artefact."""
    return _sha256(folder / MANIFEST)


def sha256_of(raw: bytes) -> str:
    """sha256 of some bytes, in hex."""
    return hashlib.sha256(raw).hexdigest()


def _plain(path: Path) -> Path:
    if path.is_symlink() or not path.is_file():
        raise ArtefactError(f"a file at {path}", "a link" if path.is_symlink() else "none", _AGAIN)
    return path


def _floats(name: str, array: Floats, shape: tuple[int, ...]) -> Floats:
    if array.shape != shape:
        raise ArtefactError(f"{name} of shape {list(shape)}", str(list(array.shape)), "one row an id, in one order")
    return np.ascontiguousarray(array, np.float32).reshape(shape)


def _shape(arrays: Mapping[str, Floats], name: str, shape: tuple[int, ...], folder: Path) -> None:
    actual = arrays[name].shape if name in arrays else None
    if actual != shape:
        found = "none" if actual is None else str(list(actual))
        raise ArtefactError(f"{name} of shape {list(shape)} in {folder / ITEMS}", found, _AGAIN)


def _content(parts: Any) -> str:
    return sha256_of(json.dumps(parts, sort_keys=True).encode())


def _save(path: Path, *parts: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
            digest.update(part)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
