"""``headrace replay`` as a person runs it: in a terminal, with Ctrl-C, under a topic prefix."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from infra.cli import cli
from online_models.errors import InputError
from tests.integration.stream_support import until
from tests.streams.test_drift_in_the_path import laps
from tests.worlds import shop_log

SCRIPT = "from infra.cli import main; main()"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join(msgspec.json.encode(event) for event in shop_log(1200)) + b"\n")
    return path


class Terminal:
    """A command in a terminal of its own; ``text`` is what it showed there."""

    def __init__(self, *args: object) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *map(str, args)],
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        )
        os.close(theirs)
        self.text = ""
        self.seen = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._ours, 1 << 16)
            except OSError:  # Linux's way to say that the other end is closed
                break
            self.text += chunk.decode("utf-8", "replace")
            if "replaying" in self.text:
                self.seen.set()
        os.close(self._ours)

    def wait(self) -> int:
        status = self.process.wait(60)
        self._reader.join()
        return status


def test_in_a_terminal_there_is_progress_and_a_table(log: Path, tmp_path: Path) -> None:
    terminal = Terminal("replay", log, "--report", tmp_path / "report.json")
    assert terminal.wait() == 0, terminal.text
    assert "events/s" in terminal.text
    assert "moments judged" in terminal.text
    assert json.loads((tmp_path / "report.json").read_bytes())["events"] == 1200
    assert "<html" in (tmp_path / "report.html").read_text()


def test_ctrl_c_ends_it_at_once(log: Path) -> None:
    terminal = Terminal("replay", log)
    assert terminal.seen.wait(60)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.wait() == 130
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize("before", [None, b"of another day"])
def test_sigterm_in_the_middle_leaves_no_half_of_a_file(tmp_path: Path, before: bytes | None) -> None:
    log, out = tmp_path / "log.jsonl", tmp_path / "out" / "lists.jsonl"
    log.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in shop_log(20_000)))
    out.parent.mkdir()
    if before is not None:
        out.write_bytes(before)
    args = ["replay", str(log), "--recs-out", str(out)]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, *args], stderr=subprocess.PIPE, text=True)
    try:
        until(
            lambda: any(p.stat().st_size for p in out.parent.glob(".lists.jsonl.*")), 120, lambda: "nothing is written"
        )
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert (process.returncode, said) == (128 + signal.SIGTERM, "")
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == ({out.name: before} if before else {})


def test_published_records_name_the_topic_of_the_settings(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "published.jsonl"
    args = ["replay", str(log), "--published", str(out), "--topic-prefix", "shop."]
    subprocess.run([sys.executable, "-c", SCRIPT, *args], check=True, capture_output=True)
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert {record["caused_by"]["topic"] for record in records} == {"shop.events"}


def test_a_drift_is_in_the_report_and_not_on_the_screen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Everybody goes round the same items, then each on ways of their own."""
    events = laps(users=5, n=1_500)
    wild = np.random.default_rng(0).integers(1_000, 9_000, 500)
    events[1_000:] = [
        msgspec.structs.replace(e, item_id=f"w{item}") for e, item in zip(events[1_000:], wild.tolist(), strict=True)
    ]
    path = tmp_path / "laps.jsonl"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, events)) + b"\n")
    done = CliRunner().invoke(cli, ["replay", str(path), "--json"])
    assert any(drift["worse"] for drift in json.loads(done.stdout)["drifts"])
    assert "drift" not in done.stderr + caplog.text


def test_other_warnings_are_on_the_screen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log, catalogue, config = tmp_path / "log.jsonl", tmp_path / "items.jsonl", tmp_path / "c.toml"
    log.write_bytes(b"".join(msgspec.json.encode(e) + b"\n" for e in shop_log(60)))
    catalogue.write_text("".join(f'{{"item_id": "c{n}", "title": "t{n}"}}\n' for n in range(300)))
    config.write_text("[pipeline]\nmax_items = 256\n")
    done = CliRunner().invoke(cli, ["replay", str(log), "--catalogue", str(catalogue), "--config", str(config)])
    assert done.exit_code == 0
    assert "the catalogue has more than 256 titles" in caplog.text
    table, _, below = done.stdout.partition("└")
    assert table.startswith("log.jsonl: ")
    assert below.count("\n") == 1 + 4, "a sentence a line"
    assert not any(line.endswith(" ") for line in done.stdout.splitlines())


@pytest.mark.parametrize("option", ["--published", "--recs-out", "--report"])
def test_a_log_is_not_replaced_by_what_comes_of_it(log: Path, option: str) -> None:
    before = log.read_bytes()
    for command in (["replay", str(log), option, str(log)], ["bench", "quality", str(log), "--json", str(log)]):
        done = CliRunner().invoke(cli, command)
        assert isinstance(done.exception, InputError)
        assert "choose another name" in str(done.exception)
    assert log.read_bytes() == before


def test_settings_and_sums_are_not_written_over_either(log: Path, tmp_path: Path) -> None:
    config, data = tmp_path / "c.toml", tmp_path / "data"
    config.write_text("")
    data.mkdir()
    log.rename(data / "log2.jsonl")
    inside = str(data / "log2.jsonl")
    before = (data / "log2.jsonl").read_bytes()
    for command in (
        ["replay", inside, "--config", str(config), "--recs-out", str(config)],
        ["bench", "quality", "log2.jsonl", "--data", str(data), "--json", inside],
        ["experiment", "readout", "--file", "e", "--log", inside, "--published", "p", "--save", inside],
        ["experiment", "readout", "--file", "e", "--log", inside, "--published", str(config), "--html", str(config)],
    ):
        done = CliRunner().invoke(cli, command)
        assert "choose another name" in str(done.exception), command
    assert (config.read_text(), (data / "log2.jsonl").read_bytes()) == ("", before)


@pytest.mark.parametrize("kept", ["items.jsonl", "x.yaml", "model/manifest.json", "model/linked/vectors"])
def test_nothing_else_that_a_replay_reads_is_written_over(log: Path, tmp_path: Path, kept: str) -> None:
    for folder in ("model", "elsewhere"):
        (tmp_path / folder).mkdir()
    (tmp_path / "model" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "model")
    (tmp_path / kept).write_bytes(b"of before")
    inputs = {"--catalogue": "items.jsonl", "--experiment": "x.yaml", "--model": "model"}
    given = [word for option, name in inputs.items() for word in (option, str(tmp_path / name))]
    for option in ("--recs-out", "--published", "--report"):
        done = CliRunner().invoke(cli, ["replay", str(log), *given, option, str(tmp_path / kept)])
        assert f"{tmp_path / kept}; choose another name" in str(done.exception), option
    assert (tmp_path / kept).read_bytes() == b"of before"
