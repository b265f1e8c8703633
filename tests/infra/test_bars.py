"""Progress of long commands is for people: on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

SCRIPT = """
from rich.progress import BarColumn
from infra.cli.bars import Bars

with Bars("replaying", BarColumn(), "{task.fields[rate]:,.0f} events/s") as bar:
    bar.update(bar.add_task("replay", total=2, rate=0.0), completed=1, rate=1234.4, refresh=True)
"""


def test_a_terminal_gets_a_bar_on_stderr() -> None:
    ours, theirs = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=theirs, env=environ, check=True
    )
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.stdout == b""
    assert "replaying" in shown
    assert "1,234 events/s" in shown


def test_a_file_gets_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
