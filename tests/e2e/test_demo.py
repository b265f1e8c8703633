"""The demo as its user sees it: a model is tried and an experiment read out while events flow, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.integration.stream_support import START, until

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="training needs torch")

LENIENT = "from infra import demo_retrain; demo_retrain.MARGIN = 1.0; "
"""So few events are not enough to be better than popularity."""


def start(folder: Path, *arguments: str, before: str = "") -> subprocess.Popen[bytes]:
    """The demo in a process of its own, after Python that runs ``before``; what it says goes to a file."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    environ |= {"TMPDIR": str(folder), "COLUMNS": "160"}
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-c", before + START, "demo", *arguments], stdout=output, stderr=output, env=environ
        )


def said(folder: Path) -> str:
    return (folder / "output").read_text("utf-8", "replace")


def processes() -> dict[int, tuple[int, str]]:
    """Process → its parent and its command line."""
    out = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(None, 2) for line in out.splitlines())
    return {int(pid): (int(parent), " ".join(rest)) for pid, parent, *rest in rows}


def descendants(root: int) -> dict[int, str]:
    """All that a process has started, and what that has."""
    found, known = processes(), {root}
    while more := {pid for pid, (parent, _) in found.items() if parent in known} - known:
        known |= more
    return {pid: found[pid][1] for pid in known - {root} if pid in found}


def test_a_model_is_tried_and_an_experiment_read_out_while_events_flow(tmp_path: Path) -> None:
    process = start(tmp_path, "--events", "8000", before=LENIENT)
    assert process.wait(240) == 0, said(tmp_path)
    rows = {
        cells[1].strip(): cells[2].strip()
        for cells in (line.split("│") for line in said(tmp_path).splitlines())
        if len(cells) == 4
    }
    assert rows["deep model"].startswith("gru4rec-"), said(tmp_path)
    assert "events in" in rows["trained on"]
    assert "moments of one worker" in rows["trial"]
    assert "NDCG@20" in rows["lists without it (version none)"]
    assert rows["events published, events with a list"] == "8,000, 8,000"
    assert rows["events dropped"] == "0"
    assert "experiment repeats begun: as-usual for 75% of the households, only-new for 25%" in said(tmp_path)
    assert "Each counted once: 8,000 events, 8,000 lists." in said(tmp_path)
    [households] = [line.split("│") for line in said(tmp_path).splitlines() if line.startswith("│ households")]
    usual, new = (int(cell.replace(",", "")) for cell in households[2:4])
    assert 2 * new < usual < 4 * new
    assert households[5].strip() == "match"


def test_ctrl_c_while_it_trains_leaves_no_process_behind(tmp_path: Path) -> None:
    process = start(tmp_path, "--events", "2000")
    try:
        until(lambda: any(" train " in line for line in descendants(process.pid).values()), 120, lambda: said(tmp_path))
        time.sleep(1)
        started = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130, said(tmp_path)
        left = {pid: line for pid, line in started.items() if processes().get(pid, (0, ""))[1] == line}
        assert not left
        assert any(" train " in line for line in started.values())
    finally:
        process.kill()
    assert not list(tmp_path.glob("headrace-demo-*")), "its folder is gone"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_it_plays_leaves_nothing_behind(number: signal.Signals, status: int, tmp_path: Path) -> None:
    """SIGINT also where it is ignored at the start, as for a job in the background of a script."""
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    process = start(tmp_path, "--events", "20000", "--keep", before=ignored)
    try:
        until(lambda: "workers ready" in said(tmp_path), 120, lambda: said(tmp_path))
        time.sleep(4)
        started = descendants(process.pid)
        process.send_signal(number)
        assert process.wait(20) == status, said(tmp_path)
        left = {pid: line for pid, line in started.items() if processes().get(pid, (0, ""))[1] == line}
        assert not left
    finally:
        process.kill()
    assert "Traceback" not in said(tmp_path)
    assert not list(tmp_path.glob("headrace-demo-*")), "its folder is gone"
