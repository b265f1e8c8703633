"""What has been opened is closed, whatever signal ends the program, and a second one does not cut that off."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.stream_support import until

PROGRAM = """
import signal, sys, tempfile, time
from pathlib import Path
{before}
import click
import infra.cli
from infra.cli.signals import unwinding

@click.command()
def command():
    with unwinding(), tempfile.TemporaryDirectory(dir=sys.argv[1]) as folder:
        try:
            Path(folder, "ready").touch()
            time.sleep(60)
        finally:
            Path(sys.argv[1], "closing").touch()
            time.sleep(0.5)

infra.cli.cli.get_command = lambda context, name: command
infra.cli.cli.resolve_command = lambda context, arguments: ("it", command, [])
infra.cli.main()
"""


@pytest.mark.parametrize(
    ("number", "before", "status"),
    [
        (signal.SIGINT, "", 130),
        (signal.SIGINT, "signal.signal(signal.SIGINT, signal.SIG_IGN)", 130),
        (signal.SIGTERM, "", 143),
        (signal.SIGHUP, "", 129),
    ],
    ids=["int", "int in the background of a script", "term", "hup"],
)
def test_a_signal_closes_what_is_open(number: signal.Signals, before: str, status: int, tmp_path: Path) -> None:
    code = PROGRAM.format(before=before)
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: bool(list(tmp_path.glob("*/ready"))), 30, lambda: "not begun")
        process.send_signal(number)
        until((tmp_path / "closing").exists, 30, lambda: "not closing")
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=30)[1]
    finally:
        process.kill()
    assert (process.returncode, "Traceback" in said) == (status, False), said
    assert [found.name for found in tmp_path.iterdir()] == ["closing"]


def test_nohup_is_kept_to(tmp_path: Path) -> None:
    code = PROGRAM.format(before="signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: bool(list(tmp_path.glob("*/ready"))), 30, lambda: "not begun")
        process.send_signal(signal.SIGHUP)
        assert not (tmp_path / "closing").exists()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 143
