"""``headrace train`` as its user meets it: what is wrong is said before anything is read, and a training that was cut off can go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from infra.cli import cli
from online_models.errors import InputError
from tests.integration.stream_support import until

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="training needs torch")

START = 1_700_000_000_000


def log_of(path: Path, events: int = 3_000) -> Path:
    with path.open("wb") as file:
        for n in range(events):
            event = {"event_id": f"e{n}", "timestamp": START + n * 1_000, "user_id": f"u{n % 50}"}
            file.write(
                msgspec.json.encode(event | {"item_id": f"i{(n // 50 + n % 50) % 40}", "event_type": "view"}) + b"\n"
            )
    return path


def refused(*arguments: str) -> str:
    done: Result = CliRunner().invoke(cli, list(arguments))
    assert isinstance(done.exception, InputError), done.output
    return str(done.exception)


@pytest.mark.parametrize("name", ["train", "offline"])
def test_what_cannot_be_is_refused_before_anything_is_read(name: str, tmp_path: Path) -> None:
    """The log is not there: were it read first, that would be the complaint."""
    shared = [name, "--log", str(tmp_path / "none"), "--data-dir", str(tmp_path / "data")]
    assert refused(*shared, "--model", "foo").startswith("expected one of gru4rec, sasrec")
    unknown = refused(*shared, "--model", "gru4rec", "--set", "dimms=8")
    assert unknown.startswith("expected one of the settings dims, length, dropout")
    assert "(of gru4rec), epochs, patience" in unknown
    assert unknown.endswith("got 'dimms'; correct --set")
    wrong = refused(*shared, "--model", "gru4rec", "--set", "dims=many")
    assert "settings of gru4rec as documented, got Expected `int`" in wrong
    assert not (tmp_path / "data").exists()


def test_an_output_folder_that_is_there_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    found = refused("train", "--log", str(tmp_path / "none"), "--out", str(tmp_path))
    assert found.startswith("expected an output folder that is not there yet")


def test_a_training_that_was_interrupted_says_how_it_goes_on_and_from_where_it_does(tmp_path: Path) -> None:
    out, checkpoint = tmp_path / "m", tmp_path / "m.checkpoint"
    shared = ["train", "--log", str(log_of(tmp_path / "log.jsonl")), "--out", str(out), "--device", "cpu"]
    shared += [f"--set={each}" for each in ("dims=8", "tokens=64", "negatives=16", "threads=1", "patience=100000")]
    command = [sys.executable, "-m", "infra.cli", *shared, "--epochs", "100000", "--set", "check_s=0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"}
    )
    try:
        until(checkpoint.exists, 120, lambda: "no checkpoint")
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, printed) == (130, ""), said
    assert f"headrace: the same command with --resume goes on from {checkpoint}" in said
    assert "Traceback" not in said
    process = subprocess.Popen([*command, "--resume"], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
    finally:
        process.kill()
        process.communicate()
    assert first.startswith("headrace: goes on in epoch ")
    assert first.endswith(f"steps are done: {checkpoint}\n")


def test_a_resume_without_a_checkpoint_says_that_it_begins_anew(tmp_path: Path) -> None:
    shared = ["train", "--log", str(log_of(tmp_path / "log.jsonl")), "--out", str(tmp_path / "m"), "--device", "cpu"]
    done = CliRunner().invoke(cli, [*shared, "--resume", "--epochs", "1", "--set", "dims=8"], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stderr.startswith(f"headrace: no checkpoint at {tmp_path / 'm.checkpoint'}: the training begins")
