"""What ``headrace replay`` says beside its figures: what to be careful about, what is wrong, where the report is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from infra.cli import main
from infra.cli.replay import command
from tests.versions import artefact, vectors_of
from tests.worlds import shop_log


def write_log(path: Path, count: int, every: int) -> Path:
    """A log in which only each ``every``-th event is of a type with a weight."""
    types = ("kauf" if n % every else "click" for n in range(count))
    events = [msgspec.structs.replace(e, event_type=t) for e, t in zip(shop_log(count), types, strict=True)]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, events)) + b"\n")
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log.jsonl", 60, 3)


def replay(*args: object) -> Result:
    return CliRunner().invoke(command, [str(arg) for arg in args])


def error_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *args: object) -> str:
    monkeypatch.setattr(sys, "argv", ["headrace", "replay", *map(str, args)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    return capsys.readouterr().err


def test_types_without_a_weight_and_few_moments_are_named(log: Path, tmp_path: Path) -> None:
    result = replay(log, "--report", tmp_path / "r.json")
    words = " ".join(result.stdout.split())
    assert "event types without a weight: kauf (40)" in words
    assert 'table [pipeline.weights] with "kauf" = 1.0' in words
    assert "moments were judged: these figures say nothing" in words
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["unknown_types"] == {"kauf": 40}
    assert report["unknown_event_types"] == 40
    limited = json.loads(replay(log, "--limit", 3, "--json").stdout)
    assert limited["unknown_types"] == {"kauf": 2}
    assert limited["to_ms"] < report["to_ms"]
    assert limited["from_ms"] == report["from_ms"]


def test_nothing_is_said_where_nothing_is_wrong(tmp_path: Path) -> None:
    stdout = replay(write_log(tmp_path / "log.jsonl", 400, 1)).stdout
    assert "nothing" not in stdout
    assert stdout.rstrip().endswith("MB")


@pytest.mark.parametrize(("to_ms", "warned"), [(0, False), (2**41, True)])
def test_a_model_that_has_seen_the_log_is_named(tmp_path: Path, to_ms: int, warned: bool) -> None:
    ids = [f"i{n}" for n in range(10)]
    manifest = artefact(tmp_path / "model", ids, vectors_of([n % 2 for n in range(10)]), to_ms=to_ms)
    log = write_log(tmp_path / "log.jsonl", 400, 1)
    found = replay(log, "--model", tmp_path / "model", "--report", tmp_path / "report.json")
    assert (f"{manifest.version} has seen events until" in " ".join(found.stdout.split())) == warned
    assert json.loads((tmp_path / "report.json").read_bytes())["model"] == {
        "version": manifest.version,
        "seen_ms": to_ms,
    }


def test_says_where_report_and_page_are(log: Path, tmp_path: Path) -> None:
    result = replay(log, "--report", tmp_path / "r.json", "--json")
    assert result.stderr == f"report: {tmp_path}/r.json, page with the curves: {tmp_path}/r.html\n"
    assert json.loads(result.stdout) == json.loads((tmp_path / "r.json").read_text())
    assert (tmp_path / "r.html").is_file()


def test_a_report_that_cannot_stand_there_is_refused_first(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.cli.replay.Replay", None)
    error = error_of(capsys, monkeypatch, log, "--report", tmp_path / "no" / "r.json")
    assert error == (
        f"headrace: expected an existing folder for the report, got {tmp_path}/no; create it first, or choose another\n"
    )
    assert not (tmp_path / "no").exists()
    assert "choose another name" in error_of(capsys, monkeypatch, log, "--report", tmp_path)
    assert "choose another name" in error_of(capsys, monkeypatch, log, "--report", tmp_path / "r.html")


def test_a_log_that_is_none_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("time,visitor,sku\n" * 3_001)
    error = error_of(capsys, monkeypatch, path)
    assert error.count("\n") == 1
    assert f"none in {path}: 3,001 not_json (first: line 1); " in error
    assert f"`headrace import csv {path} -o log.jsonl.gz`" in error
    path.write_text("")
    assert "the file is empty" in error_of(capsys, monkeypatch, path)
    path.write_text('{"user_id": "u"}\n')
    assert "docs/records.md" in error_of(capsys, monkeypatch, path)


def test_a_page_for_every_log_names_what_to_be_careful_about(log: Path, tmp_path: Path) -> None:
    result = replay(log, "--report", tmp_path / "r.json", "--json")
    assert result.exit_code == 0
    text = (tmp_path / "r.html").read_text()
    assert "event types without a weight: kauf (40)" in text


def test_sources_that_named_nothing_have_no_row_of_zeros(tmp_path: Path) -> None:
    text = replay(write_log(tmp_path / "log.jsonl", 400, 1)).stdout
    assert "deep, rated: never named an item" in text
    assert not [line for line in text.splitlines() if line.strip(" │").startswith(("deep ", "rated "))]
