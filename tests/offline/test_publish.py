"""Publishing: whole or not at all, announced only when it is there, old versions gone only after that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from infra.cli.publish_model import command
from offline.publish import publish
from online_models import embeddings
from online_models.embeddings import MANIFEST, Trained
from online_models.errors import ArtefactError, InputError, ServiceError
from streams.contracts.models import Announcement
from tests.disks import no_room


def made(folder: Path, created: int = 1, seed: int = 0) -> Path:
    vectors = np.random.default_rng(seed).normal(size=(5, 3)).astype(np.float32)
    embeddings.write(
        folder, kind="gru4rec", ids=list("abcde"), vectors=vectors, trained=Trained(10, 20, 30), created=created,
        encoder={"w": vectors}, metrics={"mrr@20": 0.5},
    )  # fmt: skip
    return folder


def emptied() -> Any:
    """fsspec's file system in memory, without what other tests have left there."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    return fs


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "published")
    emptied()
    return "memory://bucket/models"


def fetched(uri: str, into: Path) -> embeddings.Artefact:
    fs, path = fsspec.core.url_to_fs(uri)
    into.mkdir()
    for name in fs.ls(path, detail=False):
        fs.get_file(name, str(into / Path(name).name))
    return embeddings.verify(into)


def versions(place: str) -> list[str]:
    fs, root = fsspec.core.url_to_fs(place)
    return sorted(Path(p).name for p in fs.ls(root, detail=False))


def test_what_is_announced_can_be_fetched(place: str, tmp_path: Path) -> None:
    told: list[Announcement] = []
    folder = made(tmp_path / "a")
    announcement = publish(folder, place, told.append)
    assert told == [announcement]
    again = fetched(announcement.uri, tmp_path / "fetched")
    assert again.manifest == embeddings.read_manifest(folder, announcement.sha256)
    assert (announcement.trained.to_ms, announcement.metrics, announcement.created) == (20, {"mrr@20": 0.5}, 1)
    assert announcement.uri.endswith(f"/{announcement.version}")
    assert msgspec.json.decode(msgspec.json.encode(announcement), type=Announcement) == announcement


def test_publishing_twice_is_harmless(place: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "a")
    assert publish(folder, place) == publish(folder, place)
    assert len(versions(place)) == 1


def test_another_artefact_of_the_same_name_is_refused(place: str, tmp_path: Path) -> None:
    publish(made(tmp_path / "a", created=1), place)
    with pytest.raises(ArtefactError, match="no other artefact"):
        publish(made(tmp_path / "b", created=2), place)


def test_a_broken_artefact_is_not_announced(place: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "a")
    (folder / embeddings.ITEMS).write_bytes(b"x")
    told: list[Announcement] = []
    with pytest.raises(ArtefactError):
        publish(folder, place, told.append)
    assert told == []


def test_the_newest_and_the_pinned_stay(place: str, tmp_path: Path) -> None:
    names = [publish(made(tmp_path / str(n), n, n), place, keep=9).version for n in range(1, 6)]
    last = publish(made(tmp_path / "6", 6, 6), place, keep=2, pinned={names[1]}).version
    assert set(versions(place)) == {names[1], names[4], last}
    old = publish(made(tmp_path / "0", 0, 99), place, keep=1, pinned=[names[1]]).version
    assert set(versions(place)) == {names[1], last, old}, "what was just announced stays, however old it is"


def test_old_versions_stay_until_the_new_one_is_announced(place: str, tmp_path: Path) -> None:
    first = publish(made(tmp_path / "1", 1, 1), place).version

    def fail(announcement: Announcement) -> None:
        raise ServiceError("a broker", "none", "start one")

    with pytest.raises(ServiceError):
        publish(made(tmp_path / "2", 2, 2), place, fail, keep=1)
    assert first in versions(place)


def test_strangers_in_the_place_are_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "p"
    (place / "notes").mkdir(parents=True)
    (place / "notes" / "a.txt").write_text("x")
    (place / "odd").mkdir()
    (place / "odd" / MANIFEST).write_text(json.dumps({"created": 0, "version": "../p"}))
    for n in (1, 2):
        publish(made(tmp_path / str(n), n, n), str(place), keep=1)
    assert (place / "notes" / "a.txt").exists()
    assert (place / "odd").exists()
    assert len(versions(str(place))) == 3


@pytest.mark.parametrize("room", [0, 1_000], ids=["from the first file on", "in the middle"])
def test_a_full_disk_leaves_nothing_and_announces_nothing(room: int, tmp_path: Path) -> None:
    """The items take 800 bytes or so, the encoder more than 1,000."""
    folder = tmp_path / "a"
    vectors = np.zeros((50, 3), np.float32)
    embeddings.write(
        folder, kind="gru4rec", ids=[str(n) for n in range(50)], vectors=vectors, trained=Trained(10, 20, 30), created=1,
        encoder={"w": np.zeros((100, 3), np.float32)},
    )  # fmt: skip
    told: list[Announcement] = []
    with no_room(beyond=room), pytest.raises(ServiceError, match="File too large; make room"):
        publish(folder, str(tmp_path / "p"), told.append)
    assert (told, list((tmp_path / "p").iterdir())) == ([], [])
    publish(folder, str(tmp_path / "p"), told.append)
    assert len(told) == 1


def test_a_store_that_fails_half_way_has_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = emptied()
    put = type(fs).put_file

    def full(self: Any, source: str, target: str, **more: Any) -> Any:
        if target.endswith(embeddings.IDS):
            raise OSError(28, "No space left on device")
        return put(self, source, target, **more)

    folder = made(tmp_path / "a")
    with monkeypatch.context() as patch:
        patch.setattr(type(fs), "put_file", full)
        with pytest.raises(ServiceError):
            publish(folder, "memory://m")
    assert fs.find("/m")
    assert not [name for name in fs.find("/m") if name.endswith(MANIFEST)]
    fetched(publish(folder, "memory://m").uri, tmp_path / "fetched")


def test_a_copy_that_arrives_short_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = emptied()
    monkeypatch.setattr(type(fs), "size", lambda self, path: 1)
    with pytest.raises(ServiceError, match="arrived with 1 of"):
        publish(made(tmp_path / "a"), "memory://m")


def test_a_url_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an fsspec URL"):
        publish(made(tmp_path / "a"), "nonsense://x")


def test_the_command_publishes_without_a_broker_when_told_so(tmp_path: Path) -> None:
    args = [str(made(tmp_path / "a")), "--to", str(tmp_path / "p"), "--no-announce"]
    done = CliRunner().invoke(command, [*args, "--json"], catch_exceptions=False)
    found = msgspec.json.decode(done.stdout, type=Announcement)
    assert (tmp_path / "p" / found.version / MANIFEST).exists()
    told = CliRunner().invoke(command, args, catch_exceptions=False)
    assert told.stdout == f"{found.version}: copied to {found.uri}, not announced\n"
