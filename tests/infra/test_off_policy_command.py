"""``headrace experiment off-policy``: the tables, and its exit status as a gate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from infra.cli.experiment import command
from tests.streams.test_explored import world


def run(folder: Path, wanted: str, *more: str, n: int = 1_000) -> Result:
    names = []
    for name, lines in zip(("log", "published", "candidate"), world(n, wanted=wanted), strict=True):
        names.append(str(folder / f"{name}.jsonl"))
        Path(names[-1]).write_bytes(b"\n".join(lines) + b"\n")
    log, published, candidate = names
    return CliRunner().invoke(command, ["off-policy", log, "--published", published, "--candidate", candidate, *more])


def test_every_column_has_a_head_and_every_table_its_estimators(tmp_path: Path) -> None:
    text = run(tmp_path, "b", "--slate", "2").stdout
    heads = [line for line in text.splitlines() if "estimator" in line]
    assert len(heads) == 2
    for head in heads:
        assert all(cell.strip() for cell in head.strip("┃").split("┃"))
    assert "as logged, with exploration" in text
    assert "on_policy" not in text
    for name in ("switch_dr", "dros", "reward_interaction_ips", "cascade_dr", "independent_ips"):
        assert name in text
    assert "no estimate, the log could not have shown" in text
    assert "gate: pass" in text


@pytest.mark.parametrize(("wanted", "margin", "code"), [("b", "0", 0), ("d", "0", 1), ("d", "0.3", 0)])
def test_the_gate_is_the_exit_status(tmp_path: Path, wanted: str, margin: str, code: int) -> None:
    found = run(tmp_path, wanted, "--gate", "--margin", margin, "--json")
    assert found.exit_code == code
    told = json.loads(found.stdout)["gate"]
    assert told["passed"] is (code == 0)
    assert (told["reason"] in found.stderr) is (code == 1)
    assert run(tmp_path, wanted, "--json").exit_code == 0, "only where it is asked for"


def test_at_least_takes_the_worst_of_what_is_not_covered(tmp_path: Path) -> None:
    told = json.loads(run(tmp_path, "b", "--json").stdout)
    [dr] = [e for e in told["estimates"] if e["result"]["estimator"] == "switch_dr"]
    assert run(tmp_path, "b", "--at-least", str(dr["worst"] - 0.001)).exit_code == 0
    assert run(tmp_path, "b", "--at-least", str(dr["worst"] + 0.001)).exit_code == 1
