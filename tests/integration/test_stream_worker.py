"""A worker between a real broker and a real Redis: events in, lists out, and a clean end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from infra import topics
from infra.settings import Settings
from tests.integration.stream_support import (
    Worker,
    await_answers,
    interactions,
    lists,
    publish,
    read,
    shop_events,
    until,
)


def test_events_become_lists_and_a_restart_goes_on(settings: Settings, tmp_path: Path) -> None:
    topics.create(settings, partitions=2)
    first, second = shop_events(300, seed=1), shop_events(100, seed=2)
    with Worker(settings, tmp_path).ready() as worker:
        publish(settings, [*first, {"event_id": "bad", "user_id": "ada", "item_id": "i", "event_type": "view"}])
        await_answers(settings, first)
        assert worker.get("/readyz") == (200, {"state": "ready"})
        status, body = worker.get("/recommendations/user-1?k=5")
        assert (status, body["user_id"], len(body["items"])) == (200, "user-1", 5)
        page = worker.get("/metrics")[1]
        assert "headrace_events_total 301.0" in page
        assert 'headrace_dead_letters_total{reason="missing_field"} 1.0' in page
        for partition in (0, 1):
            nothing_waits = f'headrace_consumer_lag{{partition="{partition}"}} 0.0'
            until(lambda line=nothing_waits: line in worker.get("/metrics")[1], 10, lambda: worker.get("/metrics")[1])
        started = time.monotonic()
        assert worker.stop() == 0, worker.output
        assert time.monotonic() - started < 10
        assert "ERROR" not in worker.output
        assert "Traceback" not in worker.output
    assert list((settings.data_dir / "snapshots").rglob("*.safetensors")), "no last snapshot"
    with Worker(settings, tmp_path).ready() as worker:
        publish(settings, second)
        await_answers(settings, second)
        assert worker.get("/recommendations/user-1")[1]["generic"] is None, "the first run is forgotten"
        assert worker.stop(number=signal.SIGINT) == 130, worker.output
        assert "Traceback" not in worker.output
    published = lists(settings)
    assert Counter(x["caused_by"]["event_id"] for x in published).most_common(1)[0][1] == 1, "an answer came twice"
    assert len(published) == 400
    assert len({(i.partition, i.offset) for i in interactions(settings)}) == len(interactions(settings)) == 400
    [letter] = read(settings, settings.topics.dead_letters)
    assert json.loads(letter.value)["reason"] == "missing_field"
    assert all(x["latency_ms"] > 0 and x["caused_by"]["topic"] == settings.topics.events for x in published)


@pytest.mark.slow
def test_one_partition_and_one_worker_publish_what_replay_gives(
    settings: Settings, tmp_path: Path, broker: str
) -> None:
    """Whatever happens on the way: killed twice, stopped once, a snapshot now and then."""
    topics.create(settings, partitions=1)
    events = shop_events(1500, seed=3)
    log, out = tmp_path / "log.jsonl", tmp_path / "published.jsonl"
    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    config = tmp_path / "replay.toml"
    config.write_text("[pipeline.sources]\nratings = false\n")
    replay = ["replay", str(log), "--published", str(out), "--json", "--config", str(config)]
    subprocess.run(
        [sys.executable, "-c", "from infra.cli import main; main()", *replay], check=True, capture_output=True
    )
    wanted = {x["request_id"]: x for x in map(json.loads, out.read_text().splitlines())}

    publish(settings, events[:600])
    for end, more in (("kill", events[600:900]), ("kill", events[900:1200]), ("stop", events[1200:])):
        with Worker(settings, tmp_path, snapshot_s=0.5).ready() as worker:
            before = len(lists(settings))
            publish(settings, more)
            until(lambda: len(lists(settings)) > before + 50, 30)  # noqa: B023
            if end == "kill":
                worker.kill()
            else:
                assert worker.stop() == 0, worker.output
    with Worker(settings, tmp_path).ready():
        await_answers(settings, events)
    for found in lists(settings):
        want = wanted[found["request_id"]]
        assert found["items"] == want["items"], found["caused_by"]
        assert found["caused_by"]["offset"] == want["caused_by"]["offset"]
    assert len(interactions(settings)) == len(events), "an interaction was published twice or lost"


@pytest.mark.parametrize("missing", ["topics", "broker", "redis", "port"])
def test_what_is_missing_is_told_in_one_line(
    embedded_broker: str, redis_url: str, topic_prefix: str, tmp_path: Path, missing: str
) -> None:
    web = "127.0.0.1:0"
    settings = Settings(
        broker="127.0.0.1:1" if missing == "broker" else embedded_broker,
        redis="redis://:wrong@127.0.0.1:1/0" if missing == "redis" else redis_url,
        web=redis_url.removeprefix("redis://").removesuffix("/0") if missing == "port" else web,
        data_dir=tmp_path / "data",
        topic_prefix=topic_prefix,
    )
    if missing == "redis":
        topics.create(settings, partitions=1)
    before = "import streams.app.agents as a; a.REDIS_PATIENCE_S = 0.5"
    with Worker(settings, tmp_path, before) as worker:
        assert worker.wait() == 1
    [line] = [line for line in worker.output.splitlines() if line.startswith("headrace: ")]
    expected = {"topics": "headrace topics create", "broker": "--broker", "redis": "--redis", "port": "--web"}
    assert expected[missing] in line
    assert "Traceback" not in worker.output
    assert ("http://" in worker.output) == (missing == "redis"), "an address that was never any good"
