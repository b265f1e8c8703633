"""The command: usage, exit status, what is printed where, what stays on the disk."""

from __future__ import annotations

import gzip
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from infra.cli import main
from infra.cli.import_log import command

CSV = "user_id,item_id,timestamp\n1,2,1511544071\n1,2,soon\n1,2,1511544070\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text(CSV)
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(command, [str(arg) for arg in args])


def test_closing_count(source: Path, tmp_path: Path) -> None:
    result = run("csv", source, "-o", tmp_path / "log.jsonl", "--event-type", "view")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [
        f"3 rows read, 2 kept, 1 dropped → {tmp_path}/log.jsonl",
        "  kept     2  view",
        f"  dropped  1  bad_time (first at {source}:3: soon)",
        "  from 2017-11-24 17:21 UTC to 2017-11-24 17:21 UTC",
    ]


@pytest.mark.parametrize(
    "args",
    [
        ["nosuch", "in.csv", "-o", "log"],
        ["csv", "-o", "log"],
        ["csv", "in.csv"],
        ["completejourney", "in.csv", "-o", "log"],
        ["csv", "in.csv", "-o", "log", "--map", "visitor=user_id"],
        ["csv", "in.csv", "-o", "log", "--map", "user_id"],
        ["csv", "in.csv", "-o", "log", "--map", "user_id="],
        ["csv", "in.csv", "-o", "log", "--map", "user_id=a", "--map", "user_id=b"],
        ["csv", "in.csv", "-o", "log", "--time-format", "stardate"],
        ["csv", "in.csv", "-o", "log", "--event-type", "w" * 65],
        ["csv", "in.csv", "-o", "log", "--since", "soon"],
        ["csv", "in.csv", "-o", "log", "--item", "artist"],
        ["movielens", "in.csv", "-o", "log", "--map", "user_id=a"],
        ["lastfm-1k", "in.csv", "-o", "log", "--item", "album"],
    ],
)
def test_wrong_usage_is_2(args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert "Error" in result.stderr
    assert not Path("log").exists()


def test_a_wrong_field_is_answered_with_the_fields() -> None:
    result = run("csv", "in.csv", "-o", "log", "--map", "user=visitor")
    assert "did you mean user_id=visitor?" in result.stderr
    for text in (result.stderr, run("--help").stdout, run("csv", "--help").stdout):
        words = " ".join(text.split())
        assert "timestamp, user_id, item_id, event_type, event_id, session_id, value, request_id, context" in words
    assert "mapped twice" in run("csv", "in.csv", "-o", "log", "--map", "value=a", "--map", "value=b").stderr


def test_help_shows_the_options_of_the_format() -> None:
    every, csv, movielens = (run(*args, "--help").stdout for args in ((), ("csv",), ("movielens",)))
    assert "[lastfm-1k]" in every
    assert "[csv, jsonl, parquet]" in " ".join(every.split())
    assert "--map" in csv
    assert "--delimiter" in csv
    assert "--item" not in csv
    assert "--map" not in movielens
    assert "--since" in movielens
    assert "PATH" not in run("completejourney", "--help").stdout.splitlines()[0]


def test_failed_work_is_1_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["headrace", "import", "csv", str(tmp_path / "no.csv"), "-o", str(tmp_path / "log")]
    )
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (1, "")
    assert err == f"headrace: expected a file or folder, got nothing at {tmp_path}/no.csv; check the path\n"


def test_mapping_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("visitorid;sku;day\n7;B00;24.11.2017\n")
    mapping = ["--map", "user_id=visitorid", "--map", "item_id=sku", "--map", "timestamp=day"]
    result = run(
        "csv", tmp_path / "in", "-o", tmp_path / "log", *mapping, "--event-type", "view", "--time-format", "%d.%m.%Y"
    )
    assert result.exit_code == 0
    assert '"timestamp":1511481600000,"user_id":"7","item_id":"B00"' in (tmp_path / "log").read_text()


def test_columns_and_delimiter_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("7\tB00\t1511481600\n")
    names = ["--columns", "user_id, item_id, timestamp", "--delimiter", "\\t", "--event-type", "view"]
    assert run("csv", tmp_path / "in", "-o", tmp_path / "log", *names).exit_code == 0
    assert '"user_id":"7","item_id":"B00"' in (tmp_path / "log").read_text()


def test_only_the_time_that_is_asked_for(source: Path, tmp_path: Path) -> None:
    window = ["--since", "2017-11-24T17:21:10Z", "--until", "2017-11-24T17:21:11Z"]
    result = run("csv", source, "-o", tmp_path / "log", "--event-type", "view", *window)
    assert (tmp_path / "log").read_text().count("\n") == 1
    assert "1  timestamp_out_of_range" in result.stderr


def test_packed_in_and_out_and_again_the_same_bytes(source: Path, tmp_path: Path) -> None:
    packed = tmp_path / "in.csv.gz"
    packed.write_bytes(gzip.compress(CSV.encode()))
    logs = [tmp_path / name for name in ("a.jsonl.gz", "b.jsonl.gz", "c.jsonl")]
    for log, path in zip(logs, (source, packed, packed), strict=True):
        assert run("csv", path, "-o", log, "--event-type", "view").exit_code == 0
    assert logs[0].read_bytes() == logs[1].read_bytes()
    assert gzip.decompress(logs[0].read_bytes()) == logs[2].read_bytes()
    assert logs[2].read_text().count("\n") == 2
    first = logs[2].read_bytes()
    run("csv", source, "-o", logs[2], "--event-type", "view")
    assert logs[2].read_bytes() == first


@pytest.mark.parametrize("seen", [True, False])
def test_progress_is_for_a_terminal(source: Path, tmp_path: Path, seen: bool) -> None:
    args = ["import", "csv", str(source), "-o", str(tmp_path / "log"), "--event-type", "view"]
    ours, theirs = pty.openpty() if seen else os.pipe()
    script = "from infra.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, *args],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
        check=True,
    )
    os.close(theirs)
    text = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.stdout == b""
    assert ("\x1b[" in text) is seen
    assert "2 kept" in text


def test_a_source_is_not_written_over(source: Path, tmp_path: Path) -> None:
    result = run("csv", source, "-o", source, "--event-type", "view")
    assert "one of them" in str(result.exception)
    assert source.read_text() == CSV


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    """Broken off while the reader waits in the middle of the file, with runs on the disk."""
    source, log = tmp_path / "in.csv", tmp_path / "log.jsonl"
    with source.open("w") as out:
        out.write("user_id,item_id,timestamp\n")
        out.writelines(f"{n},{n},{1511544070 + n % 1000}\n" for n in range(300_000))
    script = (
        "import infra.importers.sources as s, time, infra.cli\n"
        "read = s.split_lines\n"
        "def slow(blocks):\n"
        "    for number, line in enumerate(read(blocks)):\n"
        "        if number == 200_000:\n"
        "            print('deep inside', flush=True); time.sleep(60)\n"
        "        yield line\n"
        "s.split_lines = slow\n"
        "infra.cli.main()\n"
    )
    args = ["import", "csv", str(source), "-o", str(log), "--event-type", "view"]
    with subprocess.Popen(
        [sys.executable, "-c", script, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "deep inside\n"
        assert any(path.name.startswith(".log") for path in tmp_path.iterdir())
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert err.strip() == "headrace: interrupted"
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
