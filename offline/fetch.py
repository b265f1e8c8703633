"""A version that was announced, from where that was said: what is live need not have been published by this service."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import fsspec

from online_models import embeddings
from online_models.embeddings import MANIFEST
from online_models.errors import ArtefactError, ServiceError
from streams.contracts.models import Announcement


def fetched(announcement: Announcement, folder: Path) -> Path:
    """The announced artefact: where it lies, or of a remote place a copy in ``folder``, which is there only once it is in order.

    A copy that is damaged is fetched again. Raises ServiceError where it cannot be had, ArtefactError where what is there
    is not what was announced.
    """
    place = urlsplit(announcement.uri)
    if place.scheme in ("", "file"):
        found = Path(unquote(place.path))
        embeddings.verify(found, announcement.sha256)
        return found
    found = folder / f"candidate-{announcement.version}"
    if found.exists():
        try:
            embeddings.verify(found, announcement.sha256)
            return found
        except ArtefactError:
            shutil.rmtree(found)
    temporary = found.with_name(f"{found.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _copy(announcement, temporary)
        embeddings.verify(temporary, announcement.sha256)
        temporary.rename(found)
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, ArtefactError):
            raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        remedy = "make it reachable from here, or make another version live (`headrace models promote`)"
        raise ServiceError(f"version {announcement.version} at {announcement.uri}", reason, remedy) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return found


def _copy(announcement: Announcement, to: Path) -> None:
    """The manifest first: its hash says whether it is the announced one, and it names the other files."""
    fs, root = fsspec.core.url_to_fs(announcement.uri)
    root = str(root).rstrip("/")
    fs.get_file(f"{root}/{MANIFEST}", str(to / MANIFEST))
    for name in embeddings.read_manifest(to, announcement.sha256).files:
        fs.get_file(f"{root}/{name}", str(to / name))
