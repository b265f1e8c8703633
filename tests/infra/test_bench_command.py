"""``headrace bench quality`` as a person runs it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from infra.cli import cli
from infra.quality.ader import START_MS, STEP_MS
from online_models.errors import HeadraceError, InputError
from tests.infra.quality.worlds import walk, write_log, write_periods
from tests.versions import artefact, vectors_of
from tests.worlds import shop_log


def bench(*args: object) -> Result:
    return CliRunner().invoke(cli, ["bench", "quality", *map(str, args)])


@pytest.fixture
def log(tmp_path: Path) -> str:
    return write_log(tmp_path / "log.jsonl", shop_log(200))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    periods = [walk(150, 1), walk(100, 2, 1000), walk(100, 3, 2000)]
    write_periods(tmp_path / "DIGINETICA", periods)
    return tmp_path


def test_a_log_with_everything(log: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    (tmp_path / "small.toml").write_text("[pipeline.blend]\nunits = 2\n")
    result = bench("--set", log, "--ablate", "--lag", "0s,1d", "--json", out, "--config", tmp_path / "small.toml")
    assert result.exit_code == 0, result.output
    [found] = json.loads(out.read_bytes())["results"]
    assert found["set"] == "log"
    assert found["config"]["blend"]["units"] == 2
    assert list(found["tracks"]) == ["prequential"]
    metrics = found["tracks"]["prequential"]["metrics"]
    assert all(m["low"] <= m["mean"] <= m["high"] for m in metrics.values())
    names = [a["name"] for a in found["ablation"]]
    assert len(names) == len(set(names)) > 10
    now, later = found["lag"]
    assert now["models late"]["metrics"]["ndcg@20"]["mean"] == metrics["ndcg@20"]["mean"]
    assert later["everything late"]["difference"]["ndcg@20"]["mean"] < 0
    text = out.with_suffix(".md").read_text()
    assert text in result.output
    assert "| without knn |" in text
    assert not [row for row in text.splitlines() if row.startswith("|") and "" in map(str.strip, row.split("|")[1:-1])]
    assert ET.parse(out.with_suffix(".svg")).getroot().tag.endswith("svg")  # noqa: S314 (our own)


def test_one_part_alone(log: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    result = bench("--set", log, "--limit", 60, "--part", "knn", "--part", "units", "--json", out)
    assert result.exit_code == 0, result.output
    [found] = json.loads(out.read_bytes())["results"]
    assert [a["part"] for a in found["ablation"]] == ["knn", "units"]
    refused = bench("--set", log, "--part", "deep").exception
    assert "a part that takes part in log: popular, " in str(refused)


def test_with_a_catalogue(log: str, tmp_path: Path) -> None:
    items = [{"item_id": f"i{n}", "categories": [f"kind {n % 4}"], "price": 1.0 + n % 3} for n in range(60)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, items)))
    out = tmp_path / "out.json"
    result = bench(
        log, "--catalogue", tmp_path / "items.jsonl", "--part", "category", "--part", "catalogue", "--json", out
    )
    assert result.exit_code == 0, result.output
    [found] = json.loads(out.read_bytes())["results"]
    worth = {a["name"]: a["difference"]["prequential"] for a in found["ablation"]}
    assert {"without category", "without the catalogue"} <= worth.keys()
    assert bench(log, "--json", tmp_path / "plain.json").exit_code == 0
    [plain] = json.loads((tmp_path / "plain.json").read_bytes())["results"]
    means = [one["tracks"]["prequential"]["metrics"]["ndcg@20"]["mean"] for one in (found, plain)]
    assert means[0] != means[1]
    assert worth["without the catalogue"]["ndcg@20"]["mean"] == pytest.approx(means[1] - means[0], abs=2e-5)
    (tmp_path / "items.jsonl").write_text('{"item_id": 7}\n')
    refused = bench(log, "--catalogue", tmp_path / "items.jsonl")
    assert "record 1 of" in str(refused.exception)


def test_a_set_with_periods(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    result = bench("--set", "ader-diginetica", "--data", data, "--periods", 1, "--limit", 80, "--json", out)
    assert result.exit_code == 0, result.output
    [found] = json.loads(out.read_bytes())["results"]
    assert found["events"] == 160
    assert list(found["tracks"]) == ["frozen", "prequential"]
    assert list(found["tracks"]["frozen"]["periods"]) == []
    assert found["config"]["filters"]["repeats"]
    one = bench("--set", "ader-diginetica", "--data", data, "--limit", 80, "--track", "frozen")
    assert "| ader-diginetica | frozen |" in one.output
    assert "prequential" not in one.output


def items_artefact(folder: Path, names: list[str], to_ms: int) -> None:
    artefact(folder, names, vectors_of([n % 5 for n in range(len(names))]), to_ms=to_ms)


def refusal(*args: object) -> str:
    error = bench(*args).exception
    assert isinstance(error, InputError), error
    return str(error)


def test_each_tested_period_needs_an_older_artefact(data: Path, tmp_path: Path) -> None:
    """Periods begin at events 150 and 250; what an artefact may have seen last is the event before."""
    names, models, out = [str(n) for n in range(30)], tmp_path / "models", tmp_path / "out.json"
    args = ["--set", "ader-diginetica", "--data", data, "--model", models, "--json", out]
    items_artefact(models / "1", names, START_MS + 149 * STEP_MS)
    assert f"no manifest.json in {models / '2'}" in refusal(*args)
    items_artefact(models / "2", names, START_MS + 250 * STEP_MS)
    said = refusal(*args)
    assert f"asked about (at {START_MS + 250 * STEP_MS} ms)" in said
    assert f"until {START_MS + 250 * STEP_MS} ms in {models / '2'}" in said
    assert not out.exists()
    assert bench(*args, "--periods", 1, "--track", "prequential").exit_code == 0, "period 2 is not tested"
    (models / "2").rename(tmp_path / "late")
    items_artefact(models / "2", names, START_MS + 249 * STEP_MS)
    assert bench(*args, "--track", "prequential").exit_code == 0
    items_artefact(models / "0", names, START_MS + 200 * STEP_MS)
    assert str(models / "0") in refusal(*args)


def test_an_artefact_for_a_log_may_have_seen_what_is_not_judged(tmp_path: Path) -> None:
    """20 % of 200 events are learned only: event 40 is the first that may be judged."""
    events = shop_log(200)
    log = write_log(tmp_path / "log.jsonl", events)
    names = sorted({event.item_id for event in events})
    items_artefact(tmp_path / "old", names, events[39].timestamp)
    items_artefact(tmp_path / "new", names, events[60].timestamp)
    assert bench(log, "--model", tmp_path / "old").exit_code == 0
    assert f"until {events[60].timestamp} ms in {tmp_path / 'new'}" in refusal(log, "--model", tmp_path / "new")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "give --set"),
        (("--set", "ader-yoochoose"), "--data"),
        (("--set", "LOG", "--track", "frozen"), "set with periods"),
        (("--set", "ader-diginetica", "--data", "DATA", "--lag", "1s"), "log with times"),
        (("--set", "LOG", "--model", "DATA"), "manifest.json"),
        (("--set", "LOG", "--json", "DATA/no/out.json"), "existing folder"),
        (("--set", "nowhere.jsonl"), "recorded log"),
    ],
)
def test_what_cannot_be_done_is_said(args: tuple[str, ...], said: str, log: str, data: Path) -> None:
    result = bench(*(a.replace("LOG", log).replace("DATA", str(data)) for a in args))
    assert isinstance(result.exception, HeadraceError)
    assert said in str(result.exception)


def test_lags_are_lengths_of_time(log: str) -> None:
    result = bench("--set", log, "--lag", "1s,soon")
    assert result.exit_code == 2
    assert "soon" in result.output


def test_what_is_neither_a_set_nor_a_log_is_told_what_there_is(tmp_path: Path) -> None:
    unknown = str(bench("--set", "nosuch").exception)
    assert "expected a set (ader-diginetica, ader-yoochoose) or a recorded log, got 'nosuch'" in unknown
    assert "headrace import csv" in unknown
    table = tmp_path / "clicks.csv"
    table.write_text("visitor,sku,time\nu,i,1400000000\n")
    found = str(bench("--set", table).exception)
    assert f"got 0 valid events in {table}; make a log of other files first: `headrace import csv {table} -o" in found


@pytest.mark.parametrize("kept", ["DIGINETICA/period_1.txt.gz", "DIGINETICA/linked/notes", "models/1/vectors"])
def test_nothing_below_the_folders_that_it_reads_is_written_over(data: Path, tmp_path: Path, kept: str) -> None:
    (tmp_path / "models" / "1").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "DIGINETICA" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "DIGINETICA")
    (tmp_path / kept).write_bytes(b"of before")
    args = ("--set", "ader-diginetica", "--data", data, "--model", tmp_path / "models")
    assert "choose another name" in refusal(*args, "--json", tmp_path / kept)
    assert (tmp_path / kept).read_bytes() == b"of before"
