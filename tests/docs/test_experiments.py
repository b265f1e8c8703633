"""docs/experiments.md: the definitions can be started, and what commands are said to print is what they print."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from infra.cli import experiment, readout_text
from infra.experiments import definition_of, lists_of
from infra.settings import load
from streams.contracts.experiments import Guardrail
from streams.experiment_checks import check
from streams.experiment_rules import alone
from streams.readout.result import read_out
from tests.docs.markdown import code_blocks, sections
from tests.streams.readout_tape import definition
from tests.streams.test_readout_result import world

TEXT = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text("utf-8")
PARTS = dict(sections(TEXT, "##"))
DEFINITIONS = code_blocks(TEXT, "yaml")


@pytest.mark.parametrize("text", DEFINITIONS, ids=lambda text: text.partition("\n")[0])
def test_a_definition_can_be_started(text: str) -> None:
    check(definition_of(text, "docs/experiments.md"), lists_of(load(environ={})), ())


def test_there_is_a_split_and_a_bandit() -> None:
    assert [definition_of(text, "docs").method for text in DEFINITIONS] == ["ab", "bandit"]


def test_the_read_out_that_is_shown_is_what_80_columns_show(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(readout_text, "console", lambda: console)
    of = alone(definition(guardrails=(Guardrail(metric="hr@20", margin=0.1),)), 0)
    readout_text.show(read_out(of, world(0.5).tally()), watched=False)
    [shown] = code_blocks(PARTS["What it shows, and what to do"], "text")
    assert shown.splitlines() == [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_plan_prints_what_is_shown() -> None:
    lines = [line.strip() for line in PARTS["Planning"].splitlines() if line.startswith("    ")]
    commands = [line.partition("#")[0].split() for line in lines if line.startswith("headrace")]
    printed = [CliRunner().invoke(experiment.command, words[2:]).stdout.rstrip() for words in commands]
    assert [line for line in lines if not line.startswith("headrace")] == printed
    assert len(printed) == 2
