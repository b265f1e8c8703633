"""Publish: an artefact to where workers can fetch it, whole or not at all; then the announcement, and only then old versions go.

On a local folder a version appears by a rename. An object store has none: there the manifest is written last, and nobody
takes a folder without one for an artefact.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fsspec
import msgspec

from online_models import embeddings
from online_models.embeddings import MANIFEST, Artefact
from online_models.errors import ArtefactError, InputError, ServiceError
from streams.contracts.models import Announcement, TrainedOn

KEEP = 5
"""Versions that stay, the newest ones."""


@dataclass(frozen=True)
class InUse:
    """What the workers are at: the version that is ``live``, those that were ``rejected`` (rolled back), and those that must
    stay where workers fetch them: live, on trial, or to come back if the live one is rolled back.

    ``busy``: what a newer announcement would put an end to, in words; empty where nothing is being compared.
    """

    live: Announcement | None = None
    rejected: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    busy: str = ""


def publish(
    folder: Path,
    to: str,
    announce: Callable[[Announcement], None] = lambda announcement: None,
    keep: int = KEEP,
    pinned: Collection[str] = (),
) -> Announcement:
    """Verify the artefact ``folder``, copy it to ``to`` (a local folder or any fsspec URL), announce it, drop old versions.

    The ``keep`` newest versions stay, and ``pinned`` ones. Publishing what is there already only announces it again. Raises
    ArtefactError for what is no sound artefact, ServiceError when the place does not take it: then nothing has been announced.
    """
    artefact = embeddings.verify(folder)
    if keep < 1:
        raise InputError("at least one version to keep", str(keep), "raise --keep")
    try:
        uri = (_to_store if "://" in to else _to_folder)(artefact, to)
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        remedy = "make room or correct --to; nothing was announced"
        raise ServiceError(f"{to} to take {artefact.manifest.version}", reason, remedy) from error
    announcement = announcement_of(artefact, uri)
    announce(announcement)
    prune(to, keep, {announcement.version, *pinned})
    return announcement


def announcement_of(artefact: Artefact, uri: str) -> Announcement:
    """What topic ``models`` is told of an artefact that lies at ``uri``."""
    m = artefact.manifest
    plain = {
        "version": m.version, "uri": uri, "sha256": embeddings.manifest_sha256(artefact.folder),
        "trained": TrainedOn(**asdict(m.trained)), "metrics": m.metrics, "created": m.created,
    }  # fmt: skip
    try:
        return msgspec.convert(plain, Announcement)
    except msgspec.ValidationError as error:
        raise ArtefactError("an artefact that can be announced", str(error), "train a new version") from error


def _to_folder(artefact: Artefact, to: str) -> str:
    target = Path(to).expanduser().absolute() / artefact.manifest.version
    if target.exists():
        _same(embeddings.manifest_sha256(target), artefact, str(target))
        return target.as_uri()
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        for name in (*artefact.manifest.files, MANIFEST):
            shutil.copyfile(artefact.folder / name, temporary / name)
            embeddings.sync(temporary / name)
        embeddings.sync(temporary)
        temporary.rename(target)
        embeddings.sync(target.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return target.as_uri()


def _to_store(artefact: Artefact, to: str) -> str:
    fs, root = _store(to)
    version = artefact.manifest.version
    target = f"{root}/{version}"
    if fs.exists(f"{target}/{MANIFEST}"):
        there = embeddings.sha256_of(fs.cat_file(f"{target}/{MANIFEST}"))
        _same(there, artefact, f"{to}/{version}")
    else:
        fs.makedirs(target, exist_ok=True)
        for name in (*artefact.manifest.files, MANIFEST):
            fs.put_file(str(artefact.folder / name), f"{target}/{name}")
            size = (artefact.folder / name).stat().st_size
            if fs.size(f"{target}/{name}") != size:
                raise OSError(f"{name} arrived with {fs.size(f'{target}/{name}')} of {size} bytes")
    return f"{to.rstrip('/')}/{version}"


def _same(there: str, artefact: Artefact, where: str) -> None:
    ours = embeddings.manifest_sha256(artefact.folder)
    if there != ours:
        raise ArtefactError(
            f"no other artefact at {where}",
            f"one whose manifest has sha256 {there}",
            "versions never change: publish another",
        )


def prune(to: str, keep: int, stay: Collection[str]) -> list[str]:
    """Remove all but the ``keep`` newest versions and those that ``stay``; returns the removed ones, oldest first.

    The manifest goes first, so that a folder half removed is no artefact. What cannot be removed stays for the next time.
    """
    fs, root = _store(to)
    found = []
    for path in fs.ls(root, detail=False):
        try:
            manifest = json.loads(fs.cat_file(f"{path}/{MANIFEST}"))
            found.append((int(manifest["created"]), str(manifest["version"]), str(path)))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # somebody else's, or one that is being written
    found.sort()
    removed = []
    for _, version, path in found[:-keep]:
        if version not in stay and path.rstrip("/").endswith(f"/{version}"):
            try:
                fs.rm_file(f"{path}/{MANIFEST}")
                fs.rm(path, recursive=True)
            except OSError:
                continue
            removed.append(version)
    return removed


def _store(to: str) -> tuple[Any, str]:
    try:
        fs, root = fsspec.core.url_to_fs(to if "://" in to else str(Path(to).expanduser().absolute()))
    except (ValueError, ImportError) as error:
        raise InputError(
            "a folder or an fsspec URL", f"{to!r} ({error})", "correct --to, or install what it needs"
        ) from error
    return fs, str(root).rstrip("/")
