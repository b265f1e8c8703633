"""Workers and their surroundings die and come back: every event is answered, and learned exactly once.

Each test holds a known trouble of stream workers: recovery that hangs, gaps after a rebalance, offsets committed too
early or never again.
"""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra import local, topics
from infra.settings import Settings, load
from tests.integration.stream_support import (
    Worker,
    answered,
    await_answers,
    committed,
    interactions,
    item_counts,
    lists,
    publish,
    shop_events,
    until,
)

pytestmark = pytest.mark.slow


class Traffic:
    """Events that come in while the test does its worst."""

    def __init__(self, settings: Settings, events: list[dict[str, Any]], per_second: float) -> None:
        self._thread = threading.Thread(target=publish, args=(settings, events, per_second))

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def learned_once(settings: Settings, events: list[dict[str, Any]]) -> None:
    sources = Counter((i.partition, i.offset) for i in interactions(settings))
    assert sum(sources.values()) == len(sources) == len(events)


def test_two_workers_killed_in_turn(settings: Settings, tmp_path: Path) -> None:
    topics.create(settings, partitions=4)
    events = shop_events(1600, seed=5)
    workers = [Worker(settings, tmp_path) for _ in range(2)]
    for worker in workers:
        worker.ready()
    with Traffic(settings, events, per_second=120):
        for n in (0, 1):
            until(lambda: len(answered(settings)) > 100, 30)
            workers[n].kill()
            workers[n] = Worker(settings, tmp_path).ready()
    await_answers(settings, events)
    learned_once(settings, events)
    assert [worker.stop() for worker in workers] == [0, 0]
    assert item_counts(settings) == Counter(event["item_id"] for event in events)


def test_partitions_move_without_a_gap_and_without_a_copy(settings: Settings, tmp_path: Path) -> None:
    """Workers come and go by SIGTERM: the batch in flight is finished and committed before its partitions move."""
    topics.create(settings, partitions=4)
    events = shop_events(1200, seed=6)
    with Worker(settings, tmp_path).ready() as first, Traffic(settings, events, per_second=100):
        second = Worker(settings, tmp_path).ready()
        until(lambda: "2 of 4" in second.output or "ready: 4" in second.output, 30)
        assert second.stop() == 0, second.output
        with Worker(settings, tmp_path).ready() as third:
            assert first.stop() == 0, first.output
            await_answers(settings, events)
            until(lambda: third.get("/readyz")[0] == 200, 30)
            assert third.stop() == 0, third.output
    learned_once(settings, events)
    assert Counter(x["request_id"] for x in lists(settings)).most_common(1)[0][1] == 1


def known(worker: Worker) -> float:
    """How many interactions a worker has learned: its own and those of others."""
    page = worker.get("/metrics")[1]
    numbers = re.findall(r"(?m)^(?:headrace_interactions_total|headrace_interaction_log_learned) (.*)", page)
    return sum(map(float, numbers))


def test_two_workers_know_the_same(settings: Settings, tmp_path: Path) -> None:
    topics.create(settings, partitions=2)
    events = shop_events(300, seed=7)
    places = [msgspec.structs.replace(settings, data_dir=settings.data_dir / name) for name in ("first", "second")]
    with Worker(places[0], tmp_path).ready() as first, Worker(places[1], tmp_path).ready() as second:
        publish(settings, events)
        await_answers(settings, events)
        workers = (first, second)
        for worker in workers:
            until(lambda worker=worker: known(worker) == len(events), 20)
        until(lambda: committed(settings) == len(events), 20)
        for user in ("user-1", "user-2", "user-3", "nobody"):
            # Whoever is asked: the user's state comes from Redis where the user is another worker's.
            [(_, one), (_, other)] = (worker.get(f"/recommendations/{user}?k=10") for worker in workers)
            assert len(one["items"]) == len(other["items"]) == 10
            assert (one["request_id"], one["timestamp"], one["intent"] is None, one["generic"]) == (
                other["request_id"], other["timestamp"], other["intent"] is None, other["generic"],
            )  # fmt: skip
            assert (one["generic"] is None) == (user != "nobody")
        assert first.stop() == 0, first.output
        until(lambda: second.get("/metrics")[1].count("headrace_consumer_lag{") == 2, 30)
        until(lambda: second.get("/readyz")[0] == 200, 30)
        assert second.stop() == 0, second.output
    truth = Counter(event["item_id"] for event in events)
    assert [item_counts(place) for place in places] == [truth, truth]


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisOfOurs]:
    with RedisOfOurs(tmp_path) as redis:
        yield redis


@pytest.fixture
def on_embedded(embedded_broker: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Settings:
    """Settings for what need not run against both brokers."""
    flags = {"broker": embedded_broker, "redis": redis_url, "web": "127.0.0.1:0", "data_dir": str(tmp_path / "data")}
    return load(flags | {"topic_prefix": topic_prefix}, environ={})


class RedisOfOurs:
    """A Redis that keeps its data and its port over a restart."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, local.free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def __enter__(self) -> RedisOfOurs:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--appendonly", "yes"]
        self.process = subprocess.Popen([local._redis_program(), *options], stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def test_redis_restarts_in_mid_stream(on_embedded: Settings, own_redis: RedisOfOurs, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(on_embedded, redis=own_redis.url)
    topics.create(settings, partitions=2)
    events = shop_events(800, seed=8)
    with Worker(settings, tmp_path).ready() as worker, Traffic(settings, events, per_second=150):
        until(lambda: len(answered(settings)) > 100, 30)
        own_redis.kill()
        until(lambda: "Redis is away" in worker.output, 20)
        status, body = worker.get("/recommendations/somebody-new")
        assert (status, "Redis" in body["error"]) == (503, True)
        own_redis.start()
        await_answers(settings, events)
        assert "Redis is back" in worker.output
        assert worker.stop() == 0, worker.output
    learned_once(settings, events)
    assert len(lists(settings)) == len(events)


def test_sigterm_while_redis_is_away(on_embedded: Settings, own_redis: RedisOfOurs, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(on_embedded, redis=own_redis.url)
    topics.create(settings, partitions=1)
    events = shop_events(400, seed=9)
    with Worker(settings, tmp_path).ready() as worker:
        publish(settings, events[:200])
        await_answers(settings, events[:200])
        own_redis.process.send_signal(signal.SIGSTOP)
        publish(settings, events[200:])
        until(lambda: "Redis is away" in worker.output, 20)
        assert worker.stop(timeout_s=10) == 0, worker.output
        own_redis.process.send_signal(signal.SIGCONT)
    with Worker(settings, tmp_path).ready():
        await_answers(settings, events)
    learned_once(settings, events)


def test_the_broker_is_killed_and_comes_back(
    kafka_script: Path, on_embedded: Settings, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, port = tmp_path_factory.mktemp("killed-broker"), local.free_port()
    settings = msgspec.structs.replace(on_embedded, broker=f"127.0.0.1:{port}")
    events = shop_events(900, seed=10)
    with local.start_kafka(kafka_script, folder, port):
        topics.create(settings, partitions=3)
        worker = Worker(settings, tmp_path).ready()
        publish(settings, events[:300])
        await_answers(settings, events[:300])
        subprocess.run(["/bin/kill", "-9", (folder / "pid").read_text().strip()], check=True)
    with worker, local.start_kafka(kafka_script, folder, port):
        publish(settings, events[300:])
        await_answers(settings, events)
        assert worker.stop() == 0, worker.output
        learned_once(settings, events)


def test_a_fault_of_ours_ends_the_worker_and_loses_nothing(on_embedded: Settings, tmp_path: Path) -> None:
    """Faust would start the agent again and go on behind the events that it had in hand."""
    settings = on_embedded
    topics.create(settings, partitions=2)
    events = shop_events(200, seed=11)
    bug = """
from streams.pipeline import Pipeline
process, seen = Pipeline.process, []
def faulty(self, batch):
    seen.extend(batch)
    if len(seen) > 80:
        raise ZeroDivisionError("a bug of ours")
    return process(self, batch)
Pipeline.process = faulty
"""
    publish(settings, events)
    with Worker(settings, tmp_path, before=bug) as worker:
        assert worker.wait() == 1
        assert "ZeroDivisionError: a bug of ours" in worker.output
    assert len(answered(settings)) < len(events)
    with Worker(settings, tmp_path).ready():
        await_answers(settings, events)
    learned_once(settings, events)


def test_topics_made_anew_are_told_from_the_old_ones(on_embedded: Settings, tmp_path: Path) -> None:
    """Offsets start again, so what has been learned by offset would hide the new events."""
    for life in (1, 2):
        folder = tmp_path / f"broker-{life}"
        folder.mkdir()
        with local.start_broker(folder) as broker:
            ours = msgspec.structs.replace(on_embedded, broker=broker.address)
            topics.create(ours, partitions=1)
            if life == 1:
                with Worker(ours, tmp_path).ready() as worker:
                    events = shop_events(50, seed=12)
                    publish(ours, events)
                    await_answers(ours, events)
                    until(lambda: committed(ours) == len(events), 20)  # noqa: B023
                    assert worker.stop() == 0, worker.output
                assert item_counts(ours) == Counter(event["item_id"] for event in events)
            else:
                with Worker(ours, tmp_path) as worker:
                    assert worker.wait() == 1
                    assert "made anew" in worker.output
