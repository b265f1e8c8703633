"""``headrace experiment``: what needs no broker. Starting, ramping and stopping are in `tests/integration/test_experiments.py`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from infra.cli.experiment import command
from infra.experiment_shown import as_text
from infra.experiments import definition_of
from online_models.errors import InputError, ServiceError
from online_models.experiments.split import Split, allocate, counts
from streams.contracts.experiments import BlendChange, Guardrail, Variant
from streams.experiment_rules import alone, ramp

YAML = """
name: knn-off
unit: user
traffic: 0.5
start: 2026-01-01
end: "2026-02-01T12:00:00Z"
metric: ctr
guardrails:
  - metric: revenue
    margin: 0.02
variants:
  - name: control
    weight: 90
  - name: without
    weight: 10
    sources: [popular-100, following]
    blend: {add: {following: 0.5}}
"""


def test_a_definition_in_yaml():
    d = definition_of(YAML, "f.yaml")
    assert (d.start, d.end) == (1_767_225_600_000, 1_769_947_200_000)
    assert d.guardrails == (Guardrail(metric="revenue", margin=0.02),)
    sources, blend = ("popular-100", "following"), BlendChange(add={"following": 0.5})
    assert d.variants == (
        Variant(name="control", weight=90.0),
        Variant(name="without", weight=10.0, sources=sources, blend=blend),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "expected YAML.*line 1"),
        (YAML.replace("2026-01-01", "2030-13-01"), "month must be in 1..12"),
        (YAML.replace("2026-01-01", "soon"), "got 'soon' at start"),
    ],
)
def test_what_is_no_yaml_or_no_date_is_said(text: str, message: str):
    with pytest.raises(InputError, match=message):
        definition_of(text, "f.yaml")


def test_what_is_shown_says_how_it_stands_and_starts_again():
    e = ramp(alone(definition_of(YAML, "f.yaml"), 1_767_225_600_000), {"without": 30}, None, 1_767_225_601_000)
    text = as_text(msgspec.structs.replace(e, reason="fine so far"))
    assert text.splitlines()[:5] == [
        "# running; control 0.375, without 0.125; changed 2026-01-01 00:00:01Z by operator: fine so far",
        "# begun 2026-01-01 00:00:00Z",
        "# from 2026-01-01 00:00:00Z: control 0.45, without 0.05",
        "# salt 'knn-off' (the name); buckets 0 to 374999 control, 375000 to 499999 without, 500000 to 999999 -",
        "name: knn-off",
    ]
    assert definition_of(text, "f.yaml") == e.definition
    assert "exposure" not in text
    assert "start: '2026-01-01T00:00:00Z'" in text


def assign(*args: str, **more):
    return CliRunner().invoke(command, ["assign", "--salt", "s", *args], **more)


def test_assign_prints_a_line_a_unit_in_order(tmp_path: Path):
    units = [f"u{n}" for n in range(300)] + ["Zoë", "a b"]
    file = tmp_path / "units"
    file.write_bytes("\r\n".join([*units, ""]).encode())
    found = assign("--weights", "control=90,new=10", "--units", str(file))
    split = Split("s", allocate(counts({"control": 90, "new": 10})))
    assert found.stdout.splitlines() == [f"{u} {split.variant(u)}" for u in units]
    assert assign("--weights", "control=90,new=10", "--units", "-", input=file.read_bytes()).stdout == found.stdout


def test_assign_says_who_takes_no_part(tmp_path: Path):
    file = tmp_path / "units"
    file.write_text("".join(f"u{n}\n" for n in range(1_000)))
    found = assign("--weights", "a=1,b=1", "--traffic", "0.5", "--units", str(file)).stdout.split()[1::2]
    assert set(found) == {"a", "b", "-"}
    assert 400 < found.count("-") < 600


def test_a_unit_a_line_and_two_variants_at_least(tmp_path: Path):
    for text, line in (("u1\n\nu2\n", 2), ("u1\n  \n", 2), ("u1\nu2\n\r\n", 3)):
        found = assign("--weights", "a=1,b=1", "--units", "-", input=text)
        assert isinstance(found.exception, InputError)
        assert f"nothing in line {line} of -" in str(found.exception)
    found = assign("--weights", "a=1", "--units", "-", input="u\n")
    assert (found.exit_code, found.stdout) == (2, "")
    assert "two variants or more" in found.stderr


@pytest.mark.parametrize("weights", ["", "a", "a=", "a=x", "a=-1", "a=1,a=2", "=1", "a=inf", "a=nan"])
def test_weights_that_are_none_are_wrong_usage(weights: str):
    found = assign("--weights", weights, "--units", "-", input="u\n")
    assert found.exit_code == 2
    assert "control=90,new=10" in found.stderr


def test_units_that_cannot_be_read(tmp_path: Path):
    (tmp_path / "bad").write_bytes(b"ok\n\xff\n")
    for path, message in ((tmp_path / "bad", "line 2"), (tmp_path / "none", "No such file")):
        found = assign("--weights", "a=1,b=1", "--units", str(path))
        assert isinstance(found.exception, InputError)
        assert message in str(found.exception)


def plan(*args: str):
    return CliRunner().invoke(command, ["plan", *args])


def test_a_plan_and_its_inverse():
    needed = json.loads(plan("--rate", "0.05", "--effect", "0.1", "--daily", "2000", "--json").stdout)
    assert needed["days"] == -(-needed["units"] // 2000)
    back = json.loads(plan("--rate", "0.05", "--units", str(needed["units"]), "--json").stdout)
    assert back["effect"] == pytest.approx(0.1, rel=0.01)
    once = json.loads(plan("--rate", "0.05", "--effect", "0.1", "--once", "--json").stdout)
    assert once["units"] < needed["units"]
    tuned = json.loads(plan("--rate", "0.05", "--effect", "0.1", "--tuning", str(needed["units"]), "--json").stdout)
    assert once["units"] < tuned["units"] < needed["units"], "narrowest where it is to end"
    assert (once["tuning"], needed["tuning"], tuned["tuning"]) == (None, 5_000, needed["units"])
    assert "; read out with --tuning 5000. Plan again with " in plan("--rate", "0.05", "--effect", "0.1").stdout
    less = json.loads(plan("--mean", "3", "--sd", "9", "--correlation", "0.8", "--effect", "0.1", "--json").stdout)
    more = json.loads(plan("--mean", "3", "--sd", "9", "--effect", "0.1", "--json").stdout)
    assert less["units"] == pytest.approx(0.36 * more["units"], rel=0.2)
    assert "units in all, " in plan("--rate", "0.05", "--effect", "0.1", "--daily", "2000").stdout


def test_a_plan_says_to_plan_again_where_that_is_another_answer():
    for asked in (["--effect", "0.1"], ["--units", "40000"]):
        first = plan("--rate", "0.05", *asked).stdout
        told = re.search(r"Plan again with --tuning (\d+): (.*)\n", first)
        assert told is not None
        again = plan("--rate", "0.05", *asked, "--tuning", told[1]).stdout
        assert again.startswith(told[2])
        assert "Plan again" not in again
        assert "Plan again" not in plan("--rate", "0.05", *asked, "--once").stdout


@pytest.mark.parametrize("args", ["--rate 0.1", "--effect 0.1", "--mean 1 --effect 1", "--rate 1 --units 9"])
def test_a_plan_of_nothing_is_wrong_usage(args: str):
    assert plan(*args.split()).exit_code == 2


def test_a_read_out_of_another_log_is_refused(tmp_path: Path):
    (tmp_path / "x.yaml").write_text("name: x\nvariants: [{name: a}, {name: b}]\n")
    event = {"timestamp": 1_400_000_000_000, "user_id": "u", "item_id": "i", "event_type": "view", "event_id": "e"}
    (tmp_path / "log.jsonl").write_text(json.dumps(event) + "\n")
    made = {"request_id": "r", "user_id": "v", "timestamp": 1, "items": [], "caused_by": {"partition": 0, "offset": 0}}
    (tmp_path / "p.jsonl").write_text(json.dumps(made) + "\n")
    args = ["readout", "--file", "x.yaml", "--log", "log.jsonl", "--published", "p.jsonl"]
    found = CliRunner().invoke(command, [str(tmp_path / a) if "." in a else a for a in args])
    assert isinstance(found.exception, InputError)
    assert "0 of 1" in str(found.exception)


@pytest.mark.parametrize("more", ["", ", model: v7"])
def test_without_a_broker_a_dry_run_checks_the_definition_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
):
    monkeypatch.setattr("infra.topics.CONNECT_TIMEOUT_S", 0.0)
    file = tmp_path / "x.yaml"
    file.write_text(f"name: x\nvariants: [{{name: a}}, {{name: b, sources: [popular-100]{more}}}]\n")
    start = ["start", str(file), "--broker", "127.0.0.1:1"]
    checked = CliRunner().invoke(command, [*start, "--dry-run"])
    assert (checked.exit_code, checked.stdout) == (0, "x: valid by itself; a 0.5, b 0.5\n")
    assert "what runs could not be checked: expected a Kafka broker at 127.0.0.1:1, got no answer" in checked.stderr
    assert isinstance(CliRunner().invoke(command, start).exception, ServiceError), "to begin it, a broker is needed"
    file.write_text(file.read_text().replace("popular-100", "popular-99"))
    wrong = CliRunner().invoke(command, [*start, "--dry-run"])
    assert isinstance(wrong.exception, InputError)
    assert "popular-99" in str(wrong.exception)
