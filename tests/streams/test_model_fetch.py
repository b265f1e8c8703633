"""What is fetched is bounded before its hash can be looked at: a store that is wrong, or hostile, does not fill the disk."""

from __future__ import annotations

from pathlib import Path

import fsspec
import msgspec
import pytest

from online_models.embeddings import ENCODER, ITEMS, MANIFEST, manifest_sha256
from online_models.errors import ArtefactError
from streams import model_fetch
from streams.contracts.models import Announcement
from streams.model_fetch import Cache
from tests.disks import no_room
from tests.streams.model_bench import Bench
from tests.streams.test_hotswap import GROUPS
from tests.versions import vectors_of

ENDLESS = 1 << 40
"""Bytes of a file with holes: it takes no room where it is."""


@pytest.fixture
def announced(tmp_path: Path) -> Announcement:
    return Bench(tmp_path).made("a", vectors_of(GROUPS))


def stored(announcement: Announcement) -> Path:
    return Path(announcement.uri.removeprefix("file://"))


async def test_what_is_longer_than_the_manifest_says_is_refused_before_it_is_here(
    announced: Announcement, tmp_path: Path
) -> None:
    size = (stored(announced) / ITEMS).stat().st_size
    with (stored(announced) / ITEMS).open("r+b") as file:
        file.truncate(ENDLESS)
    with no_room(beyond=size), pytest.raises(ArtefactError, match=f"{ITEMS} of at most {size:,} bytes, got more"):
        await Cache(tmp_path / "cache").fetch(announced)
    assert list((tmp_path / "cache").glob("*/*")) == [], "nothing is left behind"


async def test_a_manifest_is_bounded_whatever_its_hash_is(announced: Announcement, tmp_path: Path) -> None:
    with (stored(announced) / MANIFEST).open("ab") as file:
        file.write(b" " * model_fetch.MANIFEST_BYTES)
    announced = msgspec.structs.replace(announced, sha256=manifest_sha256(stored(announced)))
    with pytest.raises(ArtefactError, match=f"{MANIFEST} of at most 1,048,576 bytes"):
        await Cache(tmp_path / "cache").fetch(announced)


async def test_a_file_whose_length_the_manifest_does_not_say_is_bounded_too(
    announced: Announcement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = stored(announced) / MANIFEST
    plain = msgspec.json.decode(manifest.read_bytes())
    manifest.write_bytes(msgspec.json.encode({**plain, "sizes": {}}))
    announced = msgspec.structs.replace(announced, sha256=manifest_sha256(stored(announced)))
    assert (await Cache(tmp_path / "cache").fetch(announced)).exists()
    monkeypatch.setattr(model_fetch, "UNSTATED_BYTES", 100)
    with pytest.raises(ArtefactError, match="of at most 100 bytes"):
        await Cache(tmp_path / "another").fetch(announced)


async def test_a_store_is_read_as_a_folder_is(announced: Announcement, tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    store.put(str(stored(announced)), "memory://fetched/a", recursive=True)
    there = msgspec.structs.replace(announced, uri="memory://fetched/a/")
    found = await Cache(tmp_path / "cache").fetch(there)
    names = {path.name for path in stored(announced).iterdir()}
    assert {path.name: path.read_bytes() for path in found.iterdir()} == {
        name: (stored(announced) / name).read_bytes() for name in names
    }
    assert ENCODER not in names
    store.pipe_file("memory://fetched/a/" + ITEMS, b"x" * 100_000)
    with pytest.raises(ArtefactError, match=f"{ITEMS} of at most"):
        await Cache(tmp_path / "another").fetch(there)
