"""Progress of long commands, on a terminal and in a log file."""

from __future__ import annotations

import pytest
from rich.progress import BarColumn, MofNCompleteColumn

from infra.cli.bars import Bars


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_file_gets_a_line_now_and_then(capfd: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Bars("replaying", BarColumn(), MofNCompleteColumn(), "{task.fields[rate]:,.0f} events/s", clock=clock) as bar:
        task = bar.add_task("replay", total=100, rate=0.0)
        for second in range(1, 76):
            clock.now = float(second)
            bar.update(task, completed=second, rate=1234.4)
    out, err = capfd.readouterr()
    assert out == ""
    lines = ["headrace: replaying,  30/100, 1,234 events/s", "headrace: replaying,  60/100, 1,234 events/s"]
    assert [line.replace(",  ", ", ") for line in err.splitlines()] == [line.replace(",  ", ", ") for line in lines]


def test_what_is_done_soon_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with Bars("replaying", BarColumn()) as bar:
        bar.update(bar.add_task("replay", total=2), completed=2)
    assert capfd.readouterr() == ("", "")
