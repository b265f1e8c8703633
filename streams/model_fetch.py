"""A version on its way to this worker: fetched, prepared in a process of its own, and mapped. Nothing of it blocks the stream."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from online_models import embeddings, prepared, preparing
from online_models.embeddings import MANIFEST
from online_models.errors import ArtefactError, ServiceError
from online_models.prepared import Prepared

from .contracts.models import Announcement

_PREPARED = "prepared"
KEEP_S, KEEP_UNFINISHED_S = 600.0, 86_400.0
PIECE = 1 << 22
MANIFEST_BYTES, UNSTATED_BYTES = 1 << 20, 1 << 32
"""A manifest has so many bytes at most, and so has a file of which the manifest does not say the length."""


class Cache:
    """Copies of their own for the workers of a machine, ``folder/<version>/artefact`` and ``…/prepared``: a restart needs
    nobody, and what the publisher removes stays here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, version: str) -> bool:
        """Whether a copy of the artefact is here already."""
        return (self._folder / version / "artefact").exists()

    async def fetch(self, announcement: Announcement) -> Path:
        """The artefact's folder, copied unless it is there already. Raises ServiceError where it cannot be had now, and
        ArtefactError where what lies there is none."""
        target = self._folder / announcement.version / "artefact"
        if not target.exists():
            try:
                await asyncio.to_thread(_copy, announcement, target)
            except (OSError, ImportError) as error:
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                raise ServiceError(
                    f"version {announcement.version} at {announcement.uri}", reason, "it is tried again later"
                ) from error
        return target

    async def prepare(self, announcement: Announcement, folder: Path, restless_s: float = 0.0) -> Prepared:
        """What the stream maps; made in another process unless it is there already, one that rests for most of its time after
        ``restless_s``. Raises ServiceError where that cannot be done now (no room, no memory), and ArtefactError where the
        artefact is not in order: then the copy is gone."""
        out = folder.parent / _PREPARED
        if out.exists():
            with contextlib.suppress(ArtefactError):
                return await asyncio.to_thread(prepared.load, folder, out, announcement.sha256)
            await asyncio.to_thread(shutil.rmtree, out, ignore_errors=True)
        arguments = ("-m", "online_models.preparing", str(folder), announcement.sha256, str(out), str(restless_s))
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, said = await process.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            last = (said.decode("utf-8", "replace").strip().splitlines() or [f"exit status {process.returncode}"])[-1]
            if process.returncode != preparing.NOT_IN_ORDER:
                raise ServiceError(f"version {announcement.version} to be prepared", last, "it is tried again later")
            await asyncio.to_thread(shutil.rmtree, folder.parent, ignore_errors=True)
            raise ArtefactError(f"version {announcement.version} in order", last, "publish a sound one")
        return await asyncio.to_thread(prepared.load, folder, out, announcement.sha256)

    def drop_all_but(self, versions: Collection[str]) -> None:
        """Remove other versions, and what killed workers have left unfinished, but nothing that came lately: another worker
        of this machine may be about to use it."""
        unfinished = [(found, KEEP_UNFINISHED_S) for found in self._folder.glob("*/.*.tmp")]
        for found, age_s in [*((found, KEEP_S) for found in self._folder.glob("*")), *unfinished]:
            with contextlib.suppress(OSError):
                if found.name not in versions and time.time() - found.stat().st_mtime > age_s:
                    shutil.rmtree(found)


def _copy(announcement: Announcement, target: Path) -> None:
    """Copy the files that the manifest names, the manifest first: its hash says whether it is the announced one, and it says how
    long the others are."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir(parents=True)
    names, most = [MANIFEST], {MANIFEST: MANIFEST_BYTES}
    try:
        for name in names:
            with _source(announcement.uri, name) as file:
                _take(file, temporary / name, most[name])
            if name == MANIFEST:
                manifest = embeddings.read_manifest(temporary, announcement.sha256)
                most |= {name: manifest.sizes.get(name, UNSTATED_BYTES) for name in manifest.files}
                names += manifest.files
            embeddings.sync(temporary / name)
        prepared.put(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _source(uri: str, name: str) -> Any:
    place = urlsplit(uri)
    if place.scheme in ("", "file"):
        return (Path(unquote(place.path)) / name).open("rb")
    import fsspec

    return fsspec.open(f"{uri.rstrip('/')}/{name}", "rb")


def _take(source: Any, target: Path, most: int) -> None:
    """Copy what a file gives, and no more than ``most`` bytes: hashes are looked at when all is there. Raises ArtefactError where
    there is more."""
    with target.open("wb") as out:
        left = most
        while piece := source.read(min(left + 1, PIECE)):
            if len(piece) > left:
                raise ArtefactError(f"{target.name} of at most {most:,} bytes", "more", "do not use this artefact")
            left -= out.write(piece)
