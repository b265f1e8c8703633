"""``headrace tune`` as a person runs it: it writes settings that a replay reads, goes on after kill -9, and leaves nobody behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from infra import settings
from infra.cli import cli
from infra.cli.tune import show
from infra.tuning.run import Found
from infra.tuning.search import Result as Trial
from infra.tuning.state import State, alone
from infra.tuning.trial import Judged, Part, Slice
from online_models.errors import InputError
from online_models.metrics import NAMES
from tests.infra.tuning.test_search import SPACE
from tests.integration.stream_support import until
from tests.worlds import shop_log

SCRIPT = "from infra.cli import main; main()"
TRIALS = 6


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_bytes(b"\n".join(msgspec.json.encode(event) for event in shop_log(1_200)) + b"\n")
    return path


def arguments(log: Path, out: Path, *more: object) -> list[str]:
    return ["tune", str(log), "--share", "0.5", "--trials", str(TRIALS), "--out", str(out), *map(str, more)]


def tune(log: Path, out: Path, *more: object) -> Result:
    return CliRunner().invoke(cli, arguments(log, out, *more))


def trials(text: str) -> list[tuple[object, ...]]:
    """What a run's JSON says of its trials, without their times."""
    found = json.loads(text)
    judged = [trial["judged"] for trial in found["trials"]]
    return [
        (t["number"], t["changes"], j["rungs"], j["fit"], j["validation"])
        for t, j in zip(found["trials"], judged, strict=True)
    ]


@pytest.fixture(scope="module")
def whole(log: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An undisturbed run: the file that it wrote, and its JSON."""
    out = tmp_path_factory.mktemp("whole") / "tuned.toml"
    done = tune(log, out, "--json")
    assert done.exit_code == 0, done.output
    return out, done.stdout


def test_it_writes_settings_that_are_no_worse_than_the_default(whole: tuple[Path, str], log: Path) -> None:
    out, text = whole
    found = json.loads(text)
    for which in ("fit", "validation"):
        assert found["tuned"][which]["means"]["ndcg@20"] >= found["default"][which]["means"]["ndcg@20"]
    assert len(found["trials"]) == TRIALS + 1
    loaded = json.loads(msgspec.json.encode(settings.load(config=out, environ={}).pipeline))
    for path, value in found["changes"].items():
        at = loaded
        for key in path.split("."):
            at = at[key]
        assert at == value
    replayed = CliRunner().invoke(cli, ["replay", str(log), "--limit", "600", "--config", str(out), "--json"])
    config = json.loads(replayed.stdout)
    assert config["config"] == loaded
    n = [found["tuned"][which]["moments"] for which in ("fit", "validation")]
    means = [found["tuned"][which]["means"]["ndcg@20"] for which in ("fit", "validation")]
    assert (n[0] * means[0] + n[1] * means[1]) / sum(n) == pytest.approx(config["metrics"]["ndcg@20"], abs=1e-9)


def test_two_processes_come_to_the_same(whole: tuple[Path, str], log: Path, tmp_path: Path) -> None:
    done = tune(log, tmp_path / "tuned.toml", "--jobs", 2, "--json")
    assert done.exit_code == 0, done.output
    assert trials(done.stdout) == trials(whole[1])
    assert (tmp_path / "tuned.toml").read_bytes() == whole[0].read_bytes()


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(each) for each in found.stdout.split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_cut_off_goes_on_and_leaves_nobody_behind(
    whole: tuple[Path, str], log: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "tuned.toml"
    state = tmp_path / "tuned.toml.tuning"
    errors = tmp_path / "errors"
    with errors.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments(log, out)], stderr=file)
    until(lambda: state.exists() and len(kept(state).results) >= 2, 120)
    below = children(process.pid)
    assert below
    process.send_signal(number)
    status = process.wait(30)
    said = errors.read_bytes()
    assert status == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[number], said
    assert b"Traceback" not in said
    assert (b"the same command goes on there" in said) == (number != signal.SIGKILL)
    until(lambda: not any(map(alive, below)), 20)
    before = kept(state).results
    assert not out.exists()
    done = tune(log, out, "--json")
    assert done.exit_code == 0, done.output
    assert trials(done.stdout) == trials(whole[1])
    assert kept(state).results[: len(before)] == before, "what had been done was not done again"


def kept(state: Path) -> State:
    return msgspec.json.decode(state.read_bytes(), type=State)


def test_a_search_that_is_over_is_not_done_again_and_more_trials_go_on(
    whole: tuple[Path, str], log: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tuned.toml"
    for name in ("tuned.toml", "tuned.toml.tuning"):
        (tmp_path / name).write_bytes(whole[0].with_name(name).read_bytes())
    before = kept(tmp_path / "tuned.toml.tuning").results
    assert trials(tune(log, out, "--json").stdout) == trials(whole[1])
    assert kept(tmp_path / "tuned.toml.tuning").results == before
    more = tune(log, out, "--trials", TRIALS + 1, "--json")
    assert trials(more.stdout)[: TRIALS + 1] == trials(whole[1])
    assert len(trials(more.stdout)) == TRIALS + 2
    kept_in = tmp_path / "tuned.toml.tuning"
    assert f"{TRIALS + 1} of the trials are of an earlier run, kept in {kept_in}; their time counts" in more.stderr
    assert not kept_in.with_name("tuned.toml.tuning.lock").exists()


def test_a_state_of_another_search_is_refused(whole: tuple[Path, str], log: Path) -> None:
    done = tune(log, whole[0], "--seed", 1)
    assert isinstance(done.exception, InputError)
    assert "remove it to start anew, or name another --out" in str(done.exception)


def test_two_searches_do_not_write_one_state(log: Path, tmp_path: Path) -> None:
    with alone(tmp_path / "t.toml.tuning"):
        done = tune(log, tmp_path / "t.toml")
    assert "one search on" in str(done.exception)
    assert not (tmp_path / "t.toml").exists()


def test_the_tables_say_what_was_tried_and_what_is_different(whole: tuple[Path, str], log: Path) -> None:
    done = tune(log, whole[0])
    assert f"{TRIALS + 1} trials on 600 events" in done.stdout
    assert "chosen" in done.stdout
    assert not any(line.endswith(" ") for line in done.stdout.splitlines())
    changes = json.loads(whole[1])["changes"]
    assert ("what it is worth there" in done.stdout) == bool(changes)
    assert ("headrace replay" in done.stderr) == bool(changes)
    assert ("is the best: NDCG@20" in done.stdout.splitlines()[-1]) == bool(changes)


def test_of_many_trials_the_best_ten_are_shown_and_the_conclusion_last(capsys: pytest.CaptureFixture[str]) -> None:
    results = []
    for n in range(60):
        means = dict.fromkeys(NAMES, (50 - n) / 100 if n else 0.1)
        slices = (None, None) if n % 2 else (Slice(500, means), Slice(500, means))
        point = (n % 2, *SPACE.start[1:])
        results.append(Trial(n, point if n else SPACE.start, "made up", Judged([0.1], *slices, 1.0)))
    found = Found(SPACE, Part("log", 600), results, results[0], 1.0, True)
    show(found, "ndcg@20")
    text = capsys.readouterr().out
    rows = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    assert [row for row in rows if row] == list(map(str, range(0, 22, 2)))
    assert "49 more in --json" in " ".join(text.split())
    assert " ".join(text.split()).endswith("the settings stay as they are")
    show(replace(found, chosen=results[40]), "ndcg@20")
    assert "│    40 │" in capsys.readouterr().out


def test_the_default_is_judged_however_short_the_budget(log: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli, ["tune", str(log), "--share", "0.5", "--budget", "1ms", "--out", str(tmp_path / "t.toml"), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert [trial[0] for trial in trials(done.stdout)] == [0]
    assert settings.load(config=tmp_path / "t.toml", environ={}).pipeline == settings.Settings().pipeline


def test_a_part_that_is_too_short_is_refused(log: Path, tmp_path: Path) -> None:
    done = tune(log, tmp_path / "t.toml", "--share", "0.1")
    assert "at least 50 moments judged in each of the two slices" in str(done.exception)
    assert not (tmp_path / "t.toml").exists()


def test_a_file_of_somebody_elses_is_not_overwritten(log: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[pipeline]\nk = 10\n")
    assert "a file that headrace tune has written, or none" in str(tune(log, mine).exception)
    assert "another file to write" in str(tune(log, mine, "--config", mine).exception)
    assert "existing folder" in str(tune(log, tmp_path / "no" / "t.toml").exception)
    assert mine.read_text() == "[pipeline]\nk = 10\n"


@pytest.mark.parametrize(("text", "told"), [("a,b\n1,2\n", "headrace import csv"), ("", "headrace import csv")])
def test_what_is_no_log_is_said_at_once(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text(text)
    done = CliRunner().invoke(cli, ["tune", str(path), "--trials", "1", "--out", str(tmp_path / "t.toml")])
    assert isinstance(done.exception, InputError)
    assert told in str(done.exception)
    assert [p.name for p in tmp_path.iterdir()] == ["clicks.csv"]
