"""Prometheus and Grafana ask for metrics that a worker has, by labels that they have, at services that there are."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from infra.settings import load
from infra.worker import build
from streams.contracts.events import Source
from streams.contracts.experiments import Definition, Variant
from streams.experiment_rules import alone
from streams.pipeline import Pipeline
from tests.docs.markdown import sections
from tests.versions import vectors_of, version
from tests.worlds import shop_log

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
PROMETHEUS = yaml.safe_load((ROOT / "infra" / "prometheus" / "prometheus.yml").read_text("utf-8"))
ALERTS = yaml.safe_load((ROOT / "infra" / "prometheus" / "alerts.yml").read_text("utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
GRAFANA = ROOT / "infra" / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "headrace.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SCRAPED = {"job", "instance"}
"""Labels that Prometheus puts on everything that it scrapes."""

EXPRESSIONS = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
EXPRESSIONS += [(rule["alert"], rule["expr"]) for rule in RULES]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Metric → labels, as on the page of a worker that has seen a few events."""
    return asyncio.run(metrics_of_a_worker(tmp_path_factory.mktemp("data")))


async def metrics_of_a_worker(folder: Path) -> dict[str, set[str]]:
    app: Any = build(load({"data_dir": str(folder)}, environ={}))
    pipeline = Pipeline()
    variants = (Variant(name="control"), Variant(name="new", explore=0.1))
    pipeline.experiments.run([alone(Definition(name="x", variants=variants), 0)])
    pipeline.process([(event, Source(0, offset)) for offset, event in enumerate(shop_log(40))])
    for name in ("live", "candidate"):
        items = pipeline.knowledge.items
        made = version(folder / name, items, items.ids, vectors_of([0] * len(items)), created=len(name))
        (pipeline.versions.install if name == "live" else pipeline.versions.begin)(made)
    app._rim = SimpleNamespace(done={0: 1})
    app.consumer = SimpleNamespace(highwater=lambda _: 2)
    app._log = SimpleNamespace(learned=1, skipped=1, refused=0, counts={"learned": 1, "own": 1, "refused": 0})
    app._watch(pipeline)
    app.metrics.dead_letters.labels("empty")
    app.metrics.requests.labels("200")
    app.metrics.asked.labels("published")
    found: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(app.metrics.page().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    await app.store.close()
    return found


def asked_for(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics of an expression, each with the labels that it is selected and grouped by."""
    plain = re.sub(r'"[^"]*"', '""', expression)
    grouped = {
        label.strip() for group in re.findall(r"\bby \(([^)]*)\)", plain) for label in group.split(",") if label.strip()
    }
    for name, selector in re.findall(r"\b(up|headrace_[a-z0-9_]+)\b(?:\{([^}]*)\})?", plain):
        yield name, {matcher.strip().rstrip('=~!"') for matcher in selector.split(",") if matcher} | grouped


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[f"{i} {w}" for i, (w, _) in enumerate(EXPRESSIONS)])
def test_the_metrics_and_labels_exist(where: str, expression: str, known: dict[str, set[str]]) -> None:
    asked = list(asked_for(expression))
    assert asked
    for name, labels in asked:
        assert name in known, f"{where}: no metric {name}"
        assert labels <= known[name] | SCRAPED, f"{where}: {name} has no label {labels - known[name] - SCRAPED}"


def test_an_unknown_metric_or_label_is_seen() -> None:
    expression = 'sum by (le, stage) (rate(headrace_a_bucket{name="x, y", job=~"b"}[5m])) / up == 1'
    assert list(asked_for(expression)) == [
        ("headrace_a_bucket", {"le", "stage", "name", "job"}),
        ("up", {"le", "stage"}),
    ]


def test_the_dashboard_shows_what_matters() -> None:
    shown = {name for _, expression in EXPRESSIONS for name, _ in asked_for(expression)}
    assert shown >= {
        "headrace_events_total",
        "headrace_recommendations_total",
        "headrace_latency_seconds_bucket",
        "headrace_stage_seconds_bucket",
        "headrace_consumer_lag",
        "headrace_dead_letters_total",
        "headrace_pipeline_hr_at_20",
        "headrace_pipeline_mrr_at_20",
        "headrace_pipeline_model_bytes",
        "headrace_pipeline_blend_updates",
        "headrace_model_live",
        "headrace_model_trial_difference",
        "headrace_experiment_hr_at_20",
    }


def test_panels_are_told_apart_and_do_not_overlap() -> None:
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert len({panel["title"] for panel in everything}) == len(everything)
    assert all(panel["description"] for panel in PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_panel_asks_the_provisioned_source() -> None:
    [source] = provisioned("datasources/prometheus.yml")["datasources"]
    host, _, port = source["url"].removeprefix("http://").partition(":")
    assert COMPOSE[host]["ports"][0].endswith(f":{port}")
    uids = {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]}
    uids |= {panel["datasource"]["uid"] for panel in PANELS}
    uids |= {variable["datasource"]["uid"] for variable in DASHBOARD["templating"]["list"]}
    assert uids == {source["uid"]}


def test_the_dashboard_is_where_grafana_looks_for_it() -> None:
    [provider] = provisioned("dashboards/headrace.yml")["providers"]
    grafana = COMPOSE["grafana"]
    mounts = {volume.split(":")[1]: volume.split(":")[0] for volume in grafana["volumes"]}
    folder = provider["options"]["path"]
    assert (ROOT / mounts[folder] / "headrace.json").is_file()
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == f"{folder}/headrace.json"
    assert (ROOT / mounts["/etc/grafana/provisioning"]).samefile(GRAFANA / "provisioning")


def provisioned(path: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((GRAFANA / "provisioning" / path).read_text("utf-8"))
    return loaded


def test_prometheus_scrapes_every_worker() -> None:
    [job] = PROMETHEUS["scrape_configs"]
    assert job["job_name"] == "headrace"
    [discovery] = job["dns_sd_configs"]
    assert discovery["names"] == ["worker"]
    assert COMPOSE.keys() >= set(discovery["names"])
    assert load(environ=COMPOSE["worker"]["environment"]).web_address[1] == discovery["port"]


def test_prometheus_finds_its_rules() -> None:
    mounts = {volume.split(":")[1]: volume.split(":")[0] for volume in COMPOSE["prometheus"]["volumes"]}
    for path in PROMETHEUS["rule_files"]:
        assert (ROOT / mounts[path]).is_file()


def test_the_metrics_that_are_documented_exist(known: dict[str, set[str]]) -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    rows = dict(sections(text, "##"))["Metrics"]
    families = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in known} | known.keys()
    documented = re.findall(r"`(headrace_[a-z0-9_]+)`(?: by `(\w+)`)?", rows)
    assert len(documented) > 15
    for name, label in documented:
        assert name in families
        assert not label or label in known.get(name, set()) | known.get(f"{name}_bucket", set())


def test_every_alert_says_what_is_wrong_and_is_documented() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for rule in RULES:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert f"| `{rule['alert']}` |" in operations


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool (it comes with Prometheus)")
def test_alerts_fire_when_they_must() -> None:
    worlds = ROOT / "tests" / "infra" / "alerts.test.yml"
    done = subprocess.run(["promtool", "test", "rules", worlds], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_worlds() -> None:
    worlds = yaml.safe_load((ROOT / "tests" / "infra" / "alerts.test.yml").read_text("utf-8"))["tests"]
    tried = [(test["alertname"], bool(test.get("exp_alerts"))) for world in worlds for test in world["alert_rule_test"]]
    names = {rule["alert"] for rule in RULES}
    assert {name for name, fires in tried if fires} == names
    assert {name for name, fires in tried if not fires} == names
