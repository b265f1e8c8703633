"""An experiment on real workers: started, ramped, through the death of a worker, stopped; and read out while that happens."""

from __future__ import annotations

import json
import shutil
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from infra import experiments, topic_reading, topics
from infra.cli import cli
from infra.settings import Settings
from online_models.errors import InputError
from online_models.experiments.split import Split, allocate, counts
from streams import experiment_rules, snapshots
from streams.contracts.experiments import Experiment
from streams.contracts.interactions import Interaction
from streams.experiment_feed import fold
from tests.integration.stream_support import Worker, answered, await_answers, lists, publish, shop_events, until

DEFINITION = """
name: x
traffic: 0.5
metric: ctr
clicks: [view, click, cart]
guardrails: [{metric: hr@20, margin: 1.0}]
variants:
  - name: control
  - name: new
    sources: [popular-100]
"""


def experiment(settings: Settings, *arguments: str) -> str:
    shared = ["--broker", settings.broker, "--topic-prefix", settings.topic_prefix]
    result = CliRunner().invoke(cli, ["experiment", *arguments, *shared], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def readout(settings: Settings, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(experiment(settings, "readout", "x", "--json", *arguments))
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.yaml"
    path.write_text(DEFINITION)
    return path


@pytest.mark.slow
def test_assignments_and_counts_survive_a_ramp_and_the_death_of_a_worker(
    settings: Settings, tmp_path: Path, file: Path
) -> None:
    topics.create(settings, partitions=4)
    events = shop_events(1_300, users=60, seed=9)
    assert experiment(settings, "start", str(file)) == "x: runs; control 0.25, new 0.25\n"
    workers = [Worker(settings, tmp_path).ready() for _ in range(2)]
    traffic = threading.Thread(target=publish, args=(settings, events[:1_000], 100))
    traffic.start()
    until(lambda: len(answered(settings)) > 250, 60)
    assert experiment(settings, "ramp", "x", "--traffic", "1") == "x: control 0.5, new 0.5\n"
    until(lambda: len(answered(settings)) > 500, 60)
    workers[0].kill()
    workers[0] = Worker(settings, tmp_path).ready()
    traffic.join()
    await_answers(settings, events[:1_000])
    before = {x["request_id"]: x for x in lists(settings)}
    assert experiment(settings, "stop", "x", "--reason", "enough") == "x: stopped\n"
    until(lambda: all("x: stopped by operator" in w.output for w in workers), 10, lambda: workers[0].output)
    publish(settings, events[1_000:])
    await_answers(settings, events)
    assert [worker.stop() for worker in workers] == [0, 0]

    half = allocate(counts({"control": 1, "new": 1}, 0.5))
    whole = Split("x", allocate(counts({"control": 1, "new": 1}, 1.0), half))
    seen = defaultdict(set)
    for made in before.values():
        seen[made["user_id"]] |= {e["variant"] for e in made["experiments"]}
    assert all(found <= {whole.variant(user)} for user, found in seen.items())
    exposed = {user for user, found in seen.items() if found}
    assert {e.get("ramp", 0) for m in before.values() for e in m["experiments"]} == {0, 1}
    after = [x for x in lists(settings) if x["request_id"] not in before]
    assert len(after) == 300
    assert not any(x["experiments"] or x["experiment"] for x in after)

    found = readout(settings)
    assert (found["lists"], found["events"], found["mixed"]) == (1_300, 1_300, 0)
    assert sum(found["units"].values()) == len(exposed)
    assert [s["ramp"] for s in found["splits"]] == [0, 1]
    [ctr] = [m for m in found["metrics"] if m["metric"] == "ctr"]
    assert ctr["units"] + ctr["variants"][0]["units"] == len(exposed)
    parts = []
    for n in range(4):
        parts += ["--merge", str(tmp_path / f"{n}.json")]
        readout(settings, "--partition", str(n), "--save", str(tmp_path / f"{n}.json"))
    assert readout(settings, *parts) == found


def test_what_is_asked_for_over_http_is_an_exposure(settings: Settings, tmp_path: Path, file: Path) -> None:
    """With lists that count when they are seen. The second is longer, the third asked for by who only looks."""
    topics.create(settings, partitions=2)
    file.write_text(DEFINITION.replace("traffic: 0.5", "traffic: 1\nexposure: impression"))
    experiment(settings, "start", str(file))
    events = shop_events(60, users=12, seed=4)
    user = events[-1]["user_id"]
    with Worker(settings, tmp_path).ready() as worker:
        publish(settings, events)
        await_answers(settings, events)
        shown, *_ = (worker.get(f"/recommendations/{user}?k={k}")[1] for k in ("5", "7&expose=false", "6"))
        until(lambda: 'headrace_asked_total{what="published"} 2.0' in worker.get("/metrics")[1], 10)
        assert sorted(len(x["items"]) for x in lists(settings) if x["caused_by"] is None) == [5, 6]
        assert shown["after"]["offset"] >= 0
        seen = dict(events[-1], request_id=shown["request_id"])
        later = [
            seen | {"event_id": "seen", "event_type": "impression", "timestamp": seen["timestamp"] + 1},
            seen | {"event_id": "hit", "event_type": "view", "item_id": shown["items"][0]["item_id"], "timestamp": seen["timestamp"] + 2},
        ]  # fmt: skip
        publish(settings, later)
        until(lambda: sum(x["caused_by"] is not None for x in lists(settings)) == 62, 30)
        assert worker.stop() == 0
    saved = tmp_path / "sums.json"
    found = readout(settings, "--save", str(saved))
    assert (found["events"], sum(found["units"].values())) == (62, 1)
    [cell] = json.loads(saved.read_text())["cells"]
    assert [int(n) >> 32 for n in cell["sums"]["ctr"]["totals"][:2]] == [1, 1]


def test_what_an_operator_sees(settings: Settings, file: Path) -> None:
    topics.create(settings, 2)
    assert "no experiment is known" in experiment(settings, "list")
    assert experiment(settings, "start", str(file), "--dry-run").startswith("x: would run")
    assert json.loads(experiment(settings, "list", "--json")) == []
    experiment(settings, "start", str(file))
    experiment(settings, "ramp", "x", "--weights", "new=3", "--reason", "fine so far")
    shown = experiment(settings, "show", "x")
    assert shown.startswith("# running; control 0.125, new 0.375; changed ")
    assert "fine so far" in shown
    assert "sources:\n  - popular-100" in shown
    assert "exposure" not in shown
    assert "control 0.125, new 0.375" in experiment(settings, "list")
    [told] = json.loads(experiment(settings, "list", "--json"))
    assert [r["number"] for r in told["ramps"]] == [0, 1]
    assert "no result yet" in experiment(settings, "readout", "x")
    shared = ["--broker", settings.broker, "--topic-prefix", settings.topic_prefix]
    refused = CliRunner().invoke(cli, ["experiment", "delete", "x", *shared])
    assert refused.exit_code != 0
    assert [e["state"] for e in json.loads(experiment(settings, "list", "--json"))] == ["running"]
    experiment(settings, "stop", "x")
    assert experiment(settings, "delete", "x") == "x: forgotten\n"
    assert json.loads(experiment(settings, "list", "--json")) == []
    assert experiment(settings, "start", str(file)).startswith("x: runs")


def test_a_stop_holds_against_who_read_before_it(settings: Settings, file: Path) -> None:
    """Of all records compaction leaves the last: that is to be the stop, whoever wrote after it."""
    topics.create(settings, 1)
    experiment(settings, "start", str(file))
    read_before = experiments.read(settings)["x"]
    experiment(settings, "stop", "x")
    late = experiment_rules.ramp(read_before, {"new": 3.0}, None, experiments.now_ms())
    assert experiments.write(settings, late).state == "stopped"
    assert experiments.read(settings)["x"].state == "stopped"
    records = list(topic_reading.records(settings, settings.topics.experiments))
    assert [msgspec.json.decode(r.value)["state"] for r in records] == ["running", "stopped", "running", "stopped"]
    compacted: dict[str, Experiment] = {}
    fold(compacted, records[-1].key, records[-1].value)
    assert compacted["x"].state == "stopped", "what a worker reads that begins after compaction"
    with pytest.raises(InputError, match="an experiment that runs, got x, which was stopped"):
        experiment_rules.ramp(compacted["x"], {"new": 3.0}, None, experiments.now_ms())


def test_what_was_deleted_is_not_brought_back_by_a_change(settings: Settings, file: Path) -> None:
    topics.create(settings, 1)
    experiment(settings, "start", str(file))
    read_before = experiments.read(settings)["x"]
    for deleted in (["stop", "x"], ["delete", "x"]):
        experiment(settings, *deleted)
    late = experiment_rules.ramp(read_before, {"new": 3.0}, None, experiments.now_ms())
    with pytest.raises(InputError, match="x as it was read, got that it was deleted meanwhile;"):
        experiments.write(settings, late)
    assert experiments.read(settings) == {}
    experiment(settings, "start", str(file))
    with pytest.raises(InputError, match="deleted meanwhile, and another one begun"):
        experiments.write(settings, experiment_rules.stop(read_before, experiments.now_ms()))
    assert experiments.read(settings)["x"].state == "running"


def test_arms_that_learn_apart_are_made_while_a_worker_works(settings: Settings, tmp_path: Path, file: Path) -> None:
    topics.create(settings, 1)
    file.write_text(DEFINITION.replace("traffic: 0.5", "learning: isolated"))
    events = shop_events(9_000, users=60, seed=5)
    with Worker(settings, tmp_path).ready() as worker:
        publish(settings, events[:600])
        await_answers(settings, events[:600])
        experiment(settings, "start", str(file))
        at = 600
        while at < len(events) and not lists(settings)[-1]["experiments"]:
            publish(settings, events[at : at + 50])  # one part of an arm is copied between two micro-batches
            at += 50
            await_answers(settings, events[:at])
        assert lists(settings)[-1]["experiments"]
        assert worker.stop() == 0
    found = [
        msgspec.msgpack.decode(r.value, type=Interaction)
        for r in topic_reading.records(settings, settings.topics.interactions)
    ]
    apart = [i for i in found if i.variant is not None]
    assert {i.variant.partition("@")[0] for i in apart} <= {"x/control", "x/new"}
    assert all("apart/mf" in i.deltas and "mf" in i.deltas for i in apart if i.weight > 0)
    assert apart


def test_arms_come_up_as_they_were_without_a_snapshot(settings: Settings, tmp_path: Path, file: Path) -> None:
    """Bit for bit: nothing happened while they were made, and all that was learned is in the topic."""
    topics.create(settings, 1)
    file.write_text(DEFINITION.replace("traffic: 0.5", "learning: isolated"))
    events = shop_events(500, users=30, seed=5)
    with Worker(settings, tmp_path).ready() as worker:
        publish(settings, events[:300])
        await_answers(settings, events[:300])
        experiment(settings, "start", str(file))
        figures = ("headrace_experiment_running 1.0", "headrace_experiment_waiting 0.0")
        until(lambda: all(figure in worker.get("/metrics")[1] for figure in figures), 30)
        publish(settings, events[300:])
        await_answers(settings, events)
        assert worker.stop() == 0
    before = arms(settings)
    shutil.rmtree(settings.data_dir / "snapshots")
    with Worker(settings, tmp_path).ready() as worker:
        assert "restored no snapshot and 500 interactions" in worker.output
        assert worker.stop() == 0
    after = arms(settings)
    assert len(before) > 20
    assert before.keys() == after.keys()
    assert all(np.array_equal(array, after[name]) for name, array in before.items())


def arms(settings: Settings) -> dict[str, Any]:
    """The models of all arms in the latest snapshot."""
    [folder] = (settings.data_dir / "snapshots").iterdir()
    found = snapshots.load(folder)
    assert found is not None
    return {name: array for name, array in found[0].items() if name.startswith("arm")}


@pytest.mark.slow
def test_harm_stops_the_experiment(settings: Settings, tmp_path: Path) -> None:
    """The variant lists nothing that anybody wants: the watcher sees the guardrail breached and stops it, once."""
    topics.create(settings, partitions=1)
    file = tmp_path / "x.yaml"
    file.write_text(DEFINITION.replace("traffic: 0.5", "traffic: 1").replace("margin: 1.0", "margin: 0.02"))
    text = file.read_text().replace(
        "sources: [popular-100]", "filters: {deny_items: [" + ", ".join(f"i{n}" for n in range(200)) + "]}"
    )
    file.write_text(text)
    experiment(settings, "start", str(file))
    events = shop_events(3_000, users=300, seed=2)
    with Worker(settings, tmp_path).ready() as worker:
        publish(settings, events)
        await_answers(settings, events, 120)
        found = readout(settings, "--act", "--units", "50")
        assert found["decision"] == "harm"
        until(lambda: "x: stopped by readout" in worker.output, 10, lambda: worker.output)
        assert worker.stop() == 0
    [told] = json.loads(experiment(settings, "list", "--json"))
    assert (told["state"], told["by"]) == ("stopped", "readout")
    assert told["reason"].startswith("new harms hr@20")
    assert readout(settings, "--act", "--units", "50")["state"] == "stopped"


@pytest.mark.slow
def test_a_bandit_moves_its_shares_to_what_is_best(settings: Settings, tmp_path: Path) -> None:
    topics.create(settings, partitions=1)
    file = tmp_path / "x.yaml"
    denied = ", ".join(f"i{n}" for n in range(200))
    text = DEFINITION.replace("traffic: 0.5", "traffic: 1\nunit: session\nmethod: bandit")
    file.write_text(
        text.replace("sources: [popular-100]", f"filters: {{deny_items: [{denied}]}}").replace(
            "guardrails", "# guardrails"
        )
    )
    experiment(settings, "start", str(file))
    with Worker(settings, tmp_path).ready() as worker:
        events = shop_events(800, users=100, seed=3)
        publish(settings, events)
        await_answers(settings, events)
        readout(settings, "--act")
        [told] = json.loads(experiment(settings, "list", "--json"))
        control, new = (v["weight"] for v in told["definition"]["variants"])
        assert (told["state"], told["by"]) == ("running", "readout")
        assert new == 0.02
        assert control == 0.98
        until(lambda: "x: running by readout, Thompson sampling" in worker.output, 10, lambda: worker.output)
        assert worker.stop() == 0
