"""Fetching what was announced: from there, the announced bytes, and nothing that is damaged stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import msgspec
import pytest

from offline.fetch import fetched
from offline.publish import publish
from online_models import embeddings
from online_models.errors import ArtefactError, ServiceError
from tests.offline.test_publish import made, place

__all__ = ["place"]


def stored(uri: str, name: str) -> tuple[Any, str]:
    fs, root = fsspec.core.url_to_fs(uri)
    return fs, f"{root}/{name}"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_what_is_announced_is_found_where_it_was_announced(place: str, work: Path, tmp_path: Path) -> None:
    announcement = publish(made(tmp_path / "1"), place)
    for _ in range(2):
        found = fetched(announcement, work)
        assert embeddings.verify(found, announcement.sha256).manifest.version == announcement.version
    assert [p.name for p in work.iterdir()] == ["candidate-" + announcement.version] * ("://" in place)
    nowhere = msgspec.structs.replace(announcement, version="none-1", uri=f"{place}/none-1")
    with pytest.raises((ServiceError, ArtefactError), match="none-1"):
        fetched(nowhere, work)


def test_what_is_not_what_was_announced_is_refused(place: str, work: Path, tmp_path: Path) -> None:
    announcement = publish(made(tmp_path / "1"), place)
    other = publish(made(tmp_path / "2", seed=2), place + "-other")
    with pytest.raises(ArtefactError, match="with sha256"):
        fetched(msgspec.structs.replace(announcement, uri=other.uri), work)
    assert list(work.iterdir()) == []


def test_a_damaged_download_does_not_stay(work: Path, tmp_path: Path) -> None:
    announcement = publish(made(tmp_path / "1"), "memory://damaged")
    fs, file = stored(announcement.uri, embeddings.ITEMS)
    whole = fs.cat_file(file)
    fs.pipe_file(file, whole[:-10])
    with pytest.raises(ArtefactError, match="sha256"):
        fetched(announcement, work)
    assert list(work.iterdir()) == []
    fs.pipe_file(file, whole)
    found = fetched(announcement, work)
    (found / embeddings.ITEMS).write_bytes(whole[:-10])
    assert embeddings.verify(fetched(announcement, work)).manifest.version == announcement.version, "fetched again"


def test_a_store_that_is_away_is_told_with_its_place(work: Path, tmp_path: Path) -> None:
    announcement = publish(made(tmp_path / "1"), "memory://away")
    stored(announcement.uri, "")[0].rm("/away", recursive=True)
    with pytest.raises(ServiceError, match=rf"{announcement.version} at memory://away.*headrace models promote"):
        fetched(announcement, work)
    strange = msgspec.structs.replace(announcement, uri="nonsense://x")
    with pytest.raises(ServiceError, match="nonsense://x"):
        fetched(strange, work)
    assert list(work.iterdir()) == []
