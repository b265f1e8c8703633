"""Snapshots: what is written comes back, a half or damaged one never does."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest

from online_models._safetensors import encoded
from streams import snapshots
from streams.interaction_log import Position

POSITIONS = {0: Position(7, 1234), 3: Position(0)}


def parts(seed: int = 0) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    return {
        "vectors": rng.random((5, 4)).astype(np.float32),
        "empty": np.zeros((0, 64), np.float32),
        "scalar": np.array(seed, np.int64),
        "flags": np.array([True, False]),
        "hashes": rng.integers(0, 2**63, 9, dtype=np.uint64),
        "turned": np.arange(6).reshape(2, 3).T,
        "bytes": b"\x00any",
        "none": b"",
    }


def same(found: dict[str, object], wanted: dict[str, object]) -> bool:
    return found.keys() == wanted.keys() and all(
        np.array_equal(found[name], value) and found[name].dtype == value.dtype and found[name].shape == value.shape
        if isinstance(value, np.ndarray)
        else found[name] == value
        for name, value in wanted.items()
    )


def test_all_kinds_of_parts_come_back(tmp_path: Path) -> None:
    snapshots.save(tmp_path / "new" / "folder", parts(), POSITIONS, "w1")
    found = snapshots.load(tmp_path / "new" / "folder")
    assert found is not None
    assert same(found[0], parts())
    assert found[1].positions == POSITIONS


def test_an_empty_or_missing_folder_has_none(tmp_path: Path) -> None:
    assert snapshots.load(tmp_path) is None
    assert snapshots.load(tmp_path / "missing") is None


def save_some(folder: Path, count: int) -> list[Path]:
    paths = []
    for seed in range(count):
        paths.append(snapshots.save(folder, parts(seed), POSITIONS, f"w{seed % 2}"))
        time.sleep(0.002)
    return paths


def test_the_newest_two_stay_whoever_wrote_them(tmp_path: Path) -> None:
    paths = save_some(tmp_path, 5)
    assert sorted(tmp_path.glob("*.json")) == paths[-2:]
    assert len(list(tmp_path.iterdir())) == 4
    found = snapshots.load(tmp_path)
    assert found is not None
    assert same(found[0], parts(4))


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "meta", "format"])
def test_a_broken_newest_falls_back_to_the_older(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    _, newest = save_some(tmp_path, 2)
    data = newest.with_suffix(".safetensors")
    raw = bytearray(data.read_bytes())
    if damage == "flip":
        raw[-3] ^= 1
        data.write_bytes(raw)
    elif damage == "cut":
        data.write_bytes(raw[:-8])
    elif damage == "gone":
        data.unlink()
    elif damage == "meta":
        newest.write_bytes(newest.read_bytes()[:-20])
    else:
        newest.write_bytes(newest.read_bytes().replace(b'"format":1', b'"format":99'))
    found = snapshots.load(tmp_path)
    assert found is not None
    assert same(found[0], parts(0))
    assert "is broken" in caplog.text


def test_a_crash_before_the_json_leaves_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_some(tmp_path, 1)

    def die(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(snapshots.msgspec.json, "encode", die)
        with pytest.raises(OSError, match="disk full"):
            snapshots.save(tmp_path, parts(1), POSITIONS, "w1")
    found = snapshots.load(tmp_path)
    assert found is not None
    assert same(found[0], parts(0))
    assert not list(tmp_path.glob("*.tmp"))


def test_left_overs_go_when_they_are_old(tmp_path: Path) -> None:
    young, old = tmp_path / "000-a.safetensors.tmp", tmp_path / "000-b.safetensors"
    for path in (young, old):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    save_some(tmp_path, 1)
    assert (young.exists(), old.exists()) == (True, False)


def test_a_type_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"part 'words': expected one of .*, got <U3"):
        snapshots.save(tmp_path, {"words": np.array(["abc"])}, POSITIONS, "w1")


def test_the_file_is_what_every_release_writes(tmp_path: Path) -> None:
    """A worker of another release reads it, byte by byte the same; its writer is that of the artefacts."""
    arrays = {
        "vectors": np.arange(20, dtype=np.float32).reshape(5, 4), "empty": np.zeros((0, 64), np.float32),
        "scalar": np.array(7, np.int64), "flags": np.array([True, False]), "bytes": b"\x00any",
    }  # fmt: skip
    raw = snapshots.save(tmp_path, arrays, {}, "w").with_suffix(".safetensors").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == "2cd697f524dd6f31c5455ca6e8a46deea2301484ffed44c5053703791214aca8"
    assert raw == b"".join(encoded({name: snapshots._as_array(name, value) for name, value in arrays.items()}))
