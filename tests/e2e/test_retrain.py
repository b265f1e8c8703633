"""The whole loop as an operator sees it: events teach, a model is trained on them, the workers take it over and give it back."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from infra.settings import Settings, load
from tests.integration.stream_support import START, Worker, await_answers, lists, publish, shop_events, until

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="training needs torch")

QUICK_TRIAL = """
[pipeline.trial]
compared = 1.0
users = 0.5
shadow = 40
most = 200
margin = 0.1
"""


@pytest.fixture
def settings(embedded_broker: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Settings:
    flags = {"broker": embedded_broker, "redis": redis_url, "web": "127.0.0.1:0", "topic_prefix": topic_prefix}
    return load(flags | {"data_dir": str(tmp_path / "data")}, environ={})


def headrace(settings: Settings, *arguments: str) -> str:
    """A command in a process of its own; what it says on stdout."""
    flags = ["--broker", settings.broker, "--redis", settings.redis, "--topic-prefix", settings.topic_prefix]
    flags += ["--data-dir", str(settings.data_dir)]
    done = subprocess.run(
        [sys.executable, "-c", START, *arguments, *flags], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout.strip()


def versions(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(headrace(settings, "models", "list", "--json"))
    return found


def test_a_model_trained_on_the_archive_answers_until_it_is_taken_back(settings: Settings, tmp_path: Path) -> None:
    headrace(settings, "topics", "create", "--partitions", "2")
    first = shop_events(2_500, seed=1)
    with Worker(settings, tmp_path, more=QUICK_TRIAL).ready() as worker:
        publish(settings, first)
        await_answers(settings, first, 120)
        assert {x["model"]["version"] for x in lists(settings)} == {"1"}

        assert "2,500" in headrace(settings, "archive", "--once")
        archive, model = str(settings.data_dir / f"{settings.topic_prefix}archive"), str(tmp_path / "model")
        small = ("--epochs", "2", "--device", "cpu", "--set", "dims=16", "--set", "tokens=512", "--set", "lr=0.02")
        assert headrace(settings, "train", "--log", archive, "--out", model, *small) == model
        verdict = json.loads(headrace(settings, "gate", model, "--log", archive, "--json"))
        version = json.loads(headrace(settings, "publish-model", model, "--json"))["version"]
        assert verdict["version"] == version

        on_trial(settings, worker, version)
        await_promotion(settings, worker, version)
        after = shop_events(100, seed=50)
        publish(settings, after)
        await_answers(settings, after)
        ids = {event["event_id"] for event in after}
        made = [x for x in lists(settings) if x["caused_by"]["event_id"] in ids]
        assert {x["model"]["version"] for x in made} == {f"1+{version}"}

        with_it = worker.get("/recommendations/user-1")[1]
        said = headrace(settings, "models", "rollback", "--reason", "the end of the story")
        assert said == f"{version}: rolled back; live from now on: none"
        until(lambda: answers(worker)["model"]["version"] == "1", 20, lambda: worker.output)
        without = answers(worker)
        assert with_it["model"]["version"] == f"1+{version}"
        assert scores(with_it) != scores(without), "the same list with and without the model"

        assert headrace(settings, "models", "promote", version) == f"{version}: promoted; live from now on: {version}"
        until(lambda: answers(worker)["model"]["version"] == f"1+{version}", 20, lambda: worker.output)
        assert worker.stop() == 0, worker.output
        assert "Traceback" not in worker.output


def on_trial(settings: Settings, worker: Worker, version: str) -> None:
    """Wait until the worker compares it."""

    def step() -> str:
        found = versions(settings)
        assert found["candidate"] == version
        assert [v["state"] for v in found["versions"]] == ["on trial"]
        return "".join(w["step"] for w in found["workers"] if w["candidate"] == version)

    until(lambda: step() == "shadow", 60, lambda: worker.output)


def await_promotion(settings: Settings, worker: Worker, version: str) -> None:
    """Let users go on until the trial is over."""
    for seed in range(2, 12):
        more = shop_events(300, seed=seed)
        publish(settings, more)
        await_answers(settings, more)
        if f'headrace_model_live{{version="{version}"}} 1.0' in worker.get("/metrics")[1]:
            break
    [found] = versions(settings)["versions"]
    assert found["state"] == "live", worker.output
    assert found["decision"]["by"] != "operator"
    assert found["decision"]["moments"] >= 80


def answers(worker: Worker) -> dict[str, Any]:
    status, found = worker.get("/recommendations/user-1")
    assert status == 200
    body: dict[str, Any] = found
    return body


def scores(recommendation: dict[str, Any]) -> list[tuple[str, float]]:
    return [(item["item_id"], item["score"]) for item in recommendation["items"]]
