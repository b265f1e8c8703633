"""What a person sees of a read-out and of the list of experiments: whole on a terminal of 80 columns, a row a line in a pipe."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from infra import experiments
from infra.cli import experiment, readout_text
from online_models.experiments.srm import Mismatch
from streams.contracts.experiments import Experiment, Guardrail, Variant
from streams.experiment_rules import alone, ramp, stop
from streams.readout.result import Result, read_out
from tests.infra.test_experiment_readout import arguments
from tests.streams.readout_tape import Tape, definition
from tests.streams.test_readout_result import world


def on_a_terminal(columns: int, *args: str) -> list[str]:
    """What the command prints, line by line without colours."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm"}
    command = subprocess.Popen(
        [sys.executable, "-m", "infra.cli", "experiment", *args], stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    out = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so that nobody writes any more.
            break
        if not part:
            break
        out += part
    os.close(ours)
    assert command.wait() == 0, out
    return re.sub(r"\x1b\[[0-9;]*m", "", out.decode()).splitlines()


@pytest.fixture(scope="module")
def found() -> Result:
    return read_out(alone(definition(guardrails=(Guardrail(metric="hr@20", margin=0.1),)), 0), world(0.5).tally())


def shown(result: Result, monkeypatch: pytest.MonkeyPatch, columns: int | None = None) -> str:
    """As a terminal of so many columns shows it; without a number, as a pipe gets it."""
    out = io.StringIO()
    console = Console(file=out, width=columns or 100_000, force_terminal=columns is not None, color_system=None)
    monkeypatch.setattr(readout_text, "console", lambda: console)
    readout_text.show(result, watched=False)
    return out.getvalue()


def test_a_terminal_of_80_columns_breaks_no_word(tmp_path: Path) -> None:
    lines = on_a_terminal(80, *arguments(tmp_path))
    assert max(map(len, lines)) <= 80
    for metric in ("ctr *", "conversion", "revenue", "hr@20"):
        assert sum(line.startswith(f"{metric} ") and "new" in line for line in lines) == 1


@pytest.mark.parametrize(("columns", "once"), [(80, False), (120, True), (None, True)])
def test_each_metric_is_one_row_with_its_interval(
    found: Result, monkeypatch: pytest.MonkeyPatch, columns: int | None, once: bool
) -> None:
    text = shown(found, monkeypatch, columns)
    [c] = found.metrics[0].variants
    assert c.always is not None
    assert c.fixed is not None
    [row] = [line for line in text.splitlines() if line.startswith("ctr *")]
    assert f"{c.always.low:+.1%} to {c.always.high:+.1%}  " in row
    assert (f"{c.fixed.low:+.1%} to {c.fixed.high:+.1%}" in row) == once
    assert row.rstrip().endswith("<0.0001"), "no p is 0"
    assert ("\n(from 110 columns on, and in a pipe: 95% interval, fixed horizon)\n" in text) != once
    [guard] = [line for line in text.splitlines() if line.startswith("guardrail")]
    g = found.guardrails[0].found
    assert guard == f"guardrail hr@20 of new (margin 10.0%): holds, at {g.low:+.1%} to {g.high:+.1%}"


def test_a_mark_is_explained_where_it_stands(found: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(found, monkeypatch)
    assert "* decides: the `metric` of the definition" in text
    assert "shares, ramp 0 (as begun): match (p > 0.9999 at any look)" in text
    assert not any(mark in text for mark in ("–:", "p: adjusted", "unattributed"))
    [split] = found.splits
    ramped = replace(found, unattributed=7, splits=(replace(split, ramp=2, always=Mismatch(0.03124, False)),))
    text = shown(ramped, monkeypatch)
    assert "shares, ramp 2 (change 2 of shares): match (p = 0.0312 at any look)" in text
    assert "7 clicks and conversions count for no list (unattributed)" in text
    three = definition(variants=(Variant(name="control"), Variant(name="new"), Variant(name="third")))
    text = shown(read_out(alone(three, 0), Tape().play(variants=three.variants).tally()), monkeypatch)
    assert "–: nothing has been counted yet" in text
    assert "p: adjusted for the number of variants (holm)" in text


def known() -> dict[str, Experiment]:
    e = ramp(alone(definition(name="knn-off"), 0), {"new": 3.0}, None, 1, reason="fine so far")
    long = definition(name="a-name-that-is-rather-long-for-an-experiment", layer="home")
    return {
        "knn-off": e,
        "long": stop(alone(long, 0), 1, by="readout", reason="new harms ctr: -20.1% at most, the margin is -5.0%"),
    }


def test_the_list_fits_a_narrow_terminal_and_is_a_line_each_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "read", lambda settings: known())
    piped = CliRunner().invoke(experiment.command, ["list"]).stdout
    [row] = [line for line in piped.splitlines() if "rather-long" in line]
    assert "control 0.5, new 0.5" in row
    assert "new harms ctr: -20.1% at most, the margin is -5.0%" in row
    assert "home" in row
    out = io.StringIO()
    monkeypatch.setattr(
        experiment, "console", lambda: Console(file=out, width=80, force_terminal=True, color_system=None)
    )
    assert CliRunner().invoke(experiment.command, ["list"]).exit_code == 0
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    at = next(n for n, line in enumerate(lines) if line.startswith("knn-off  "))
    assert "control 0.25," in lines[at]
    assert "1970-01-01 00:00:00Z" in lines[at]
    assert "new 0.75" in lines[at + 1]
    assert "unit, layer, begun" in lines[-1]
