"""What is said of an encoder in a manifest, and what no encoder can be made of: refused once, not tried for ever."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from online_models.embeddings import MANIFEST
from online_models.encoder import MOST_EVENTS
from online_models.errors import ArtefactError
from online_models.prepared import prepare
from online_models.preparing import NOT_IN_ORDER
from tests.versions import artefact, vectors_of

IDS = [f"i{n}" for n in range(40)]


def described(folder: Path, encoder: Any) -> Path:
    artefact(folder, IDS, vectors_of([n % 4 for n in range(40)]))
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"encoder": encoder}))
    return folder


def bprmf(**config: Any) -> dict[str, Any]:
    return {"kind": "bprmf", "config": {"length": 5, "decay": 0.8} | config}


ODD: dict[str, tuple[Any, str]] = {
    "text": ("gru4rec", "a manifest as documented"),
    "list": (["gru4rec"], "a manifest as documented"),
    "no kind": ({}, "a kind out of gru4rec"),
    "a kind that is a list": ({"kind": ["bprmf"], "config": {}}, "a kind out of gru4rec"),
    "no settings": ({"kind": "bprmf"}, "settings and the weights of a bprmf encoder"),
    "settings that are a number": ({"kind": "bprmf", "config": 7}, "settings and the weights"),
    "settings that are a list": ({"kind": "bprmf", "config": [["length", 5], ["decay", 0.8]]}, "settings and the weights"),
    "NaN": (bprmf(decay=float("nan")), "decay.: nan"),
    "infinity": (bprmf(decay=-float("inf")), "decay.: -inf"),
    "a table": (bprmf(decay={}), "decay.: {}"),
    "no number": (bprmf(decay="half"), "could not convert"),
    "too large for a float": ({"kind": "ials", "config": {"length": 5, "reg": 10**400}}, "settings and the weights"),
    "no events": (bprmf(length=0), "'length': 0}, a length is from 1 to"),
    "too many events": (bprmf(length=MOST_EVENTS + 1), "a length is from 1 to"),
    "events in words": (bprmf(length="99999999999999999999"), "a length is from 1 to"),
    "a power that overflows": (bprmf(decay=1e30), "a query no longer than 1e.09 for a session of 5 events, got one of length nan"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_an_odd_encoder_is_refused(tmp_path: Path, name: str) -> None:
    encoder, message = ODD[name]
    with pytest.raises(ArtefactError, match=message):
        prepare(described(tmp_path / "a", encoder))


def test_an_encoder_that_cannot_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("online_models._histories.MeanEncoder._query", lambda encoder, mean: 1 / 0)
    with pytest.raises(ArtefactError, match="a query for a session of 1 events, got ZeroDivisionError"):
        prepare(described(tmp_path / "a", bprmf()))


def test_the_preparing_process_says_that_it_is_refused(tmp_path: Path) -> None:
    folder = described(tmp_path / "a", "gru4rec")
    arguments = ("-m", "online_models.preparing", str(folder), "", str(tmp_path / "out"))
    process = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert process.returncode == NOT_IN_ORDER
    assert process.stderr.startswith("expected a manifest as documented")
    assert not (tmp_path / "out").exists()


def test_one_that_is_in_order_is_not(tmp_path: Path) -> None:
    assert prepare(described(tmp_path / "a", bprmf(length=MOST_EVENTS))).encoder.length == MOST_EVENTS
