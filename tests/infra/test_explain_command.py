"""``headrace explain`` as a person runs it: after a log, and asking a worker over a socket."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from infra.cli import cli
from streams.contracts.events import Source
from streams.metrics import WorkerMetrics
from streams.pipeline import Pipeline
from streams.stores import MemoryStore
from streams.web import WebServer
from tests.worlds import shop_log

LOG = shop_log(400)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_bytes(b"\n".join(msgspec.json.encode(event) for event in LOG) + b"\n")
    return path


def pipeline_after(n: int) -> Pipeline:
    pipeline = Pipeline()
    pipeline.process([(event, Source(0, line)) for line, event in enumerate(LOG[:n])])
    return pipeline


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["explain", *map(str, arguments)])


@pytest.mark.parametrize("limit", [150, 400])
def test_after_a_log_it_is_the_list_of_that_moment(log: Path, limit: int) -> None:
    listed = pipeline_after(limit).recommend("u1", 20)
    for place in (1, 12):
        item = listed.items[place - 1]
        done = run("u1", item.item_id, "--log", log, "--limit", limit, "--json")
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert (found["rank"], found["source"], found["reason"]) == (place, item.source, item.reason)
        assert math.isclose(sum(g["contribution"] for g in found["groups"]), item.score, abs_tol=1e-5)


def test_the_tables_name_place_sources_features_and_contexts(log: Path) -> None:
    item = pipeline_after(400).recommend("u1", 1).items[0]
    done = run("u1", item.item_id, "--log", log, "--top", 3)
    assert done.exit_code == 0, done.output
    assert f"{item.item_id} for u1: place 1 of " in done.stdout
    assert item.reason in done.stdout
    assert "contexts: always " in done.stdout
    assert " above the mean " in done.stdout
    assert not any(line.endswith(" ") for line in done.stdout.splitlines())
    assert done.stdout.count(" in combination ") == 2, "a column of both tables"
    assert "\nin combination: the part of what a feature adds that depends on other features too (" in done.stdout
    assert sum(".log_rank" in line for line in done.stdout.splitlines()) <= 3
    assert "not known" in run("u1", "i-none", "--log", log).stdout


@pytest.fixture
def worker() -> Iterator[str]:
    """The address of a worker's HTTP, in a thread of its own."""
    loop, pipeline, store = asyncio.new_event_loop(), pipeline_after(400), MemoryStore()
    server = WebServer(("127.0.0.1", 0), lambda: "ready", WorkerMetrics())
    server.serve(pipeline, store)
    address = loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield address
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(server.stop())
    loop.close()


def test_a_worker_says_the_same_as_its_log(worker: str, log: Path) -> None:
    by_log = run("u1", "i3", "--log", log, "--json")
    for where in (("--url", f"http://{worker}/"), ("--url", worker), ("--web", worker)):
        done = run("u1", "i3", *where, "--json")
        assert done.exit_code == 0, done.output
        assert done.stdout == by_log.stdout


def test_an_id_with_any_characters_reaches_the_worker(worker: str) -> None:
    done = run("a/b?c#d", "x&y=%2F", "--url", worker, "--json")
    assert (json.loads(done.stdout)["user_id"], json.loads(done.stdout)["item_id"]) == ("a/b?c#d", "x&y=%2F")


def test_where_nobody_answers_the_remedy_is_told() -> None:
    done = run("u1", "i3", "--url", "http://127.0.0.1:1")
    assert "start a worker, or name its address with --url; --log explains without one" in str(done.exception)
    assert "correct --url" in str(run("u1", "i3", "--url", "file:///etc/passwd").exception)


@pytest.mark.parametrize("more", [("--log", "a", "--url", "b"), ("--limit", "3"), ("--model", "m")])
def test_what_does_not_go_together_is_refused(more: tuple[str, ...]) -> None:
    assert run("u1", "i3", *more).exit_code == 2
