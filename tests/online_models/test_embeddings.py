"""The artefact: what is written is read, and whatever is wrong with it is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from online_models import embeddings
from online_models.embeddings import ENCODER, IDS, ITEMS, MANIFEST, Trained
from online_models.errors import ArtefactError

IDS_OF_ALL_KINDS = ["a", "b/../c", 'quote"', "new\nline", "Ä 日本", "\ud800", ""]
N, D = len(IDS_OF_ALL_KINDS), 4


def made(folder: Path, **changes: Any) -> embeddings.Manifest:
    rng = np.random.default_rng(1)
    arguments: dict[str, Any] = {
        "kind": "gru4rec",
        "ids": IDS_OF_ALL_KINDS,
        "vectors": rng.normal(size=(N, D)).astype(np.float32),
        "bias": rng.normal(size=N).astype(np.float32),
        "encoder": {"w": rng.normal(size=(3, D)).astype(np.float32), "b": np.ones(3, np.float32)},
        "description": {"kind": "gru", "length": 20},
        "trained": Trained(1_000, 2_000, 77),
        "created": 3_000,
        "metrics": {"mrr@20": 0.25},
        "libraries": {"numpy": "2"},
        "seen_ms": 2_500,
    }
    return embeddings.write(folder, **arguments | changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made(tmp_path / "v1")
    return tmp_path / "v1"


def test_what_is_written_is_read(folder: Path) -> None:
    artefact = embeddings.verify(folder, embeddings.manifest_sha256(folder))
    again = made(folder.parent / "v2")
    assert artefact.manifest == again
    assert artefact.ids == IDS_OF_ALL_KINDS
    assert artefact.manifest.trained == Trained(1_000, 2_000, 77)
    assert artefact.manifest.seen_ms == 2_500
    assert artefact.manifest.sizes == {name: (folder / name).stat().st_size for name in (ITEMS, IDS, ENCODER)}
    assert artefact.manifest.encoder == {"kind": "gru", "length": 20}
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(artefact.vectors, rng.normal(size=(N, D)).astype(np.float32))
    np.testing.assert_array_equal(artefact.bias, rng.normal(size=N).astype(np.float32))
    np.testing.assert_array_equal(artefact.encoder["b"], np.ones(3))
    assert isinstance(artefact.vectors, np.memmap)
    assert not artefact.vectors.flags.writeable


def test_bias_and_encoder_may_be_left_out(tmp_path: Path) -> None:
    made(tmp_path / "v", bias=None, encoder=None, description=None)
    artefact = embeddings.verify(tmp_path / "v")
    assert (artefact.bias, artefact.encoder, artefact.manifest.encoder) == (None, {}, None)
    assert not (tmp_path / "v" / ENCODER).exists()


def test_the_arrays_are_safetensors(folder: Path) -> None:
    theirs = load_file(folder / ITEMS)
    np.testing.assert_array_equal(theirs["vectors"], embeddings.read(folder).vectors)
    assert theirs.keys() == {"vectors", "bias"}


def test_the_version_is_that_of_the_contents(tmp_path: Path) -> None:
    first = made(tmp_path / "a")
    assert made(tmp_path / "b", created=9_999, metrics={}, git_commit="f00").version == first.version
    assert made(tmp_path / "c", ids=[*IDS_OF_ALL_KINDS[1:], "z"]).version != first.version
    assert made(tmp_path / "d", description={"kind": "mean"}).version != first.version


def test_writing_never_leaves_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        made(tmp_path / "v")
    assert list(tmp_path.iterdir()) == []


def test_a_version_is_never_overwritten(folder: Path) -> None:
    with pytest.raises(ArtefactError, match="not there yet"):
        made(folder)


@pytest.mark.parametrize(
    "wrong", [{"bias": np.ones(N + 1, np.float32)}, {"ids": ["a"]}, {"vectors": np.ones((N + 1, D), np.float32)}]
)
def test_arrays_that_do_not_fit_are_not_written(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="of shape"):
        made(tmp_path / "v", **wrong)
    assert list(tmp_path.iterdir()) == []


def edited(folder: Path, **changes: Any) -> None:
    values = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(values | changes))


def rehashed(folder: Path) -> None:
    """The manifest says the truth about files that were changed: only what is in them can give them away."""
    files = json.loads((folder / MANIFEST).read_text())["files"]
    edited(folder, files={n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in files})


def truncate(folder: Path) -> None:
    (folder / ITEMS).write_bytes((folder / ITEMS).read_bytes()[:-4])


def flip(folder: Path) -> None:
    raw = bytearray((folder / ITEMS).read_bytes())
    raw[-1] ^= 1
    (folder / ITEMS).write_bytes(bytes(raw))


def save(folder: Path, **arrays: Any) -> None:
    save_file(dict(load_file(folder / ITEMS)) | arrays, folder / ITEMS)
    rehashed(folder)


def rows_with(value: float) -> Any:
    vectors = np.ones((N, D), np.float32)
    vectors[2, 1] = value
    return vectors


def twice(folder: Path) -> None:
    (folder / IDS).write_text(json.dumps(["a"] * N))
    rehashed(folder)


def short_ids(folder: Path) -> None:
    (folder / IDS).write_text(json.dumps(IDS_OF_ALL_KINDS[:-1]))
    rehashed(folder)


def escape(folder: Path) -> None:
    (folder.parent / "outside").write_bytes((folder / ENCODER).read_bytes())
    files = json.loads((folder / MANIFEST).read_text())["files"]
    edited(folder, files=files | {"../outside": files[ENCODER]})


def link(folder: Path) -> None:
    shutil.move(folder / ITEMS, folder.parent / ITEMS)
    (folder / ITEMS).symlink_to(folder.parent / ITEMS)


def offsets_beyond_the_file(folder: Path) -> None:
    header = {"vectors": {"dtype": "F32", "shape": [N, D], "data_offsets": [0, 4 * N * D]}}
    text = json.dumps(header).encode()
    (folder / ITEMS).write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 8)
    rehashed(folder)


def deep_header(folder: Path) -> None:
    (folder / ITEMS).write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000)
    rehashed(folder)


def encoder_nan(folder: Path) -> None:
    save_file({"w": np.full((3, D), np.nan, np.float32)}, folder / ENCODER)
    rehashed(folder)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, "sha256"),
    "truncated, hash made to fit": (lambda f: (truncate(f), rehashed(f)), "float32 arrays inside"),
    "a bit flipped": (flip, "items.safetensors with sha256"),
    "a file missing": (lambda f: (f / ITEMS).unlink(), "a file at"),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "no manifest.json"),
    "manifest is no JSON": (lambda f: (f / MANIFEST).write_text("{"), "none that can be read"),
    "manifest is deeply nested": (lambda f: (f / MANIFEST).write_text("[" * 200_000), "none that can be read"),
    "ids are deeply nested": (lambda f: ((f / IDS).write_text("[" * 200_000), rehashed(f)), "a list of ids"),
    "a header deeply nested": (deep_header, "float32 arrays inside"),
    "manifest is a list": (lambda f: (f / MANIFEST).write_text("[]"), "none that can be read"),
    "newer schema": (lambda f: edited(f, schema=2), "schema 1, got schema 2"),
    "dims of the manifest": (lambda f: edited(f, dims=D + 1), "of shape"),
    "dims no number": (lambda f: edited(f, dims="4"), "as documented"),
    "seen less than learned": (lambda f: edited(f, seen_ms=1_999), "seen_ms 1999, trained until 2000"),
    "seen no number": (lambda f: edited(f, seen_ms="2500"), "seen_ms '2500'"),
    "sizes below nothing": (lambda f: edited(f, sizes={ITEMS: -1}), "as documented"),
    "sizes no table": (lambda f: edited(f, sizes=[7]), "as documented"),
    "encoder no table": (lambda f: edited(f, encoder="gru4rec"), "as documented .*encoder 'gru4rec'"),
    "encoder a list": (lambda f: edited(f, encoder=["gru4rec"]), "as documented"),
    "no training range": (lambda f: edited(f, trained={}), "as documented"),
    "dims of the file": (lambda f: save(f, vectors=np.ones((N, D + 1), np.float32)), "of shape"),
    "bias too short": (lambda f: save(f, bias=np.ones(2, np.float32)), "bias of shape"),
    "float64": (lambda f: save(f, vectors=np.ones((N, D))), "float32 arrays"),
    "NaN row": (lambda f: save(f, vectors=rows_with(np.nan)), "NaN or infinity in 1 rows, first 'quote"),
    "infinite row": (lambda f: save(f, vectors=rows_with(-np.inf)), "NaN or infinity in 1 rows"),
    "NaN bias": (lambda f: save(f, bias=np.full(N, np.nan, np.float32)), f"infinity in {N} rows"),
    "a row that is too long": (
        lambda f: save(f, vectors=rows_with(1.1e9)),
        "no longer than 1e.09.* in 1 rows, first 'quote",
    ),
    "a row whose square is no float32": (lambda f: save(f, vectors=rows_with(-3e38)), "larger ones in 1 rows"),
    "a bias that is too large": (lambda f: save(f, bias=np.full(N, -2e18, np.float32)), f"larger ones in {N} rows"),
    "NaN in the encoder": (encoder_nan, "encoder weights"),
    "an id twice": (twice, "distinct item ids"),
    "an id missing": (short_ids, f"{N} ids"),
    "a file name that leads out": (escape, "files out of"),
    "a link": (link, "a link"),
    "a version that leads out": (lambda f: edited(f, version="../v"), "folder's name"),
    "offsets beyond the file": (offsets_beyond_the_file, "float32 arrays inside"),
    "a header longer than the file": (lambda f: ((f / ITEMS).write_bytes(b"\xff" * 64), rehashed(f)), "a header of"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_artefact_is_refused(name: str, folder: Path) -> None:
    damage, message = BROKEN[name]
    damage(folder)
    with pytest.raises(ArtefactError, match=message) as refusal:
        embeddings.verify(folder)
    assert "\n" not in str(refusal.value)


def test_a_manifest_other_than_announced_is_refused(folder: Path) -> None:
    announced = embeddings.manifest_sha256(folder)
    edited(folder, metrics={"mrr@20": 0.99})
    embeddings.verify(folder)
    with pytest.raises(ArtefactError, match=f"sha256 {announced}"):
        embeddings.verify(folder, announced)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_no_manifest(raw: bytes) -> None:
    with pytest.raises(ArtefactError):
        embeddings.parse_manifest(raw, "x")
