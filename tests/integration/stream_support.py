"""Workers as processes, events for them, and what they publish."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from infra.settings import Settings
from online_models.items import ItemTable
from streams import snapshots
from streams.contracts.interactions import Interaction
from streams.tailing import Tail, committed_offsets

QUICK = """
[worker]
commit_s = 0.2
idle_s = 0.5
snapshot_s = {snapshot_s}
session_timeout_s = 3.0
rebalance_timeout_s = 6.0
[pipeline.sources]
ratings = false
"""
START = "from infra.cli import main; main()"


class Worker:
    """``headrace worker`` in a process of its own; ``before`` is Python that runs in it first, ``more`` are further settings."""

    def __init__(
        self, settings: Settings, folder: Path, before: str = "", snapshot_s: float = 2.0, more: str = ""
    ) -> None:
        config = folder / "quick.toml"
        config.write_text(QUICK.format(snapshot_s=snapshot_s) + more)
        self.log = folder / f"worker-{time.monotonic_ns()}.log"
        flags = ["--broker", settings.broker, "--redis", settings.redis, "--web", settings.web, "--config", str(config)]
        flags += ["--data-dir", str(settings.data_dir), "--topic-prefix", settings.topic_prefix]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", f"{before}\n{START}", "worker", *flags], stdout=log, stderr=log, cwd=folder
            )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def ready(self, timeout_s: float = 60.0) -> Worker:
        """Wait until the worker says so."""
        until(lambda: " ready: " in self.output or self.process.poll() is not None, timeout_s, lambda: self.output)
        assert self.process.poll() is None, self.output
        return self

    def get(self, path: str) -> tuple[int, Any]:
        """Ask its HTTP; JSON is decoded."""
        found = re.search(r"http://\S+", self.output)
        assert found, self.output
        try:
            with urllib.request.urlopen(found[0] + path, timeout=10) as response:  # noqa: S310
                status, body = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        return status, json.loads(body) if body.startswith(b"{") else body.decode()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = 10.0, number: signal.Signals = signal.SIGTERM) -> int:
        """SIGTERM, or another signal; the exit status, which has to come in time."""
        self.process.send_signal(number)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 60.0) -> int:
        """The exit status."""
        return self.process.wait(timeout_s)


def until(condition: Callable[[], bool], timeout_s: float, told: Callable[[], str] = str) -> None:
    """Wait for a condition, or fail with what is ``told``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain: {told()}"
        time.sleep(0.05)


def shop_events(count: int, seed: int = 0, users: int = 40) -> list[dict[str, Any]]:
    """Events of a small shop whose users mostly walk from an item to its neighbour; some share a timestamp."""
    rng = random.Random(seed)
    at = {f"user-{n}": rng.randrange(60) for n in range(users)}
    timestamp, events = 1_700_000_000_000 + seed * 10**9, []
    for n in range(count):
        user = rng.choice(list(at))
        at[user] = (at[user] + 1) % 60 if rng.random() < 0.7 else rng.randrange(60)
        timestamp += rng.choice([0, 1, 1000])
        kind = rng.choice(["view", "view", "view", "click", "cart", "purchase"])
        events.append(
            {
                "event_id": f"{seed}-{n}",
                "timestamp": timestamp,
                "user_id": user,
                "item_id": f"i{at[user]}",
                "event_type": kind,
            }
        )
    return events


def publish(settings: Settings, events: Iterable[dict[str, Any]], per_second: float = 0.0) -> None:
    """Send events as a shop would, key = user."""

    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=settings.brokers, linger_ms=0 if per_second else 5)
        await producer.start()
        try:
            start = time.monotonic()
            for n, event in enumerate(events):
                if per_second:
                    await asyncio.sleep(max(0.0, start + n / per_second - time.monotonic()))
                await producer.send(settings.topics.events, json.dumps(event).encode(), key=event["user_id"].encode())
        finally:
            await producer.stop()

    asyncio.run(send())


def read(settings: Settings, topic: str) -> list[Any]:
    """All records of a topic."""

    async def collect() -> list[Any]:
        tail = Tail(settings.brokers, topic)
        await tail.start({})
        found: list[Any] = []
        try:
            ends = await tail.ends()
            while tail.behind(ends):
                for records in (await tail.fetch(0.2, 5000)).values():
                    found += records
        finally:
            await tail.stop()
        return found

    return asyncio.run(collect())


def lists(settings: Settings) -> list[dict[str, Any]]:
    """All recommendations that have been published."""
    return [json.loads(record.value) for record in read(settings, settings.topics.recommendations)]


def interactions(settings: Settings) -> list[Interaction]:
    """All interactions that have been published."""
    decode = msgspec.msgpack.Decoder(Interaction).decode
    return [decode(record.value) for record in read(settings, settings.topics.interactions)]


def committed(settings: Settings) -> int:
    """How many events the group has committed, on topics that start at 0."""
    group = settings.topics.prefix + settings.worker.group
    return sum(asyncio.run(committed_offsets(settings.brokers, group, settings.topics.events)).values())


def item_counts(settings: Settings) -> dict[str, int]:
    """Item → events counted, as the worker that stopped last in this data folder knew them."""
    [folder] = (settings.data_dir / "snapshots").iterdir()
    found = snapshots.load(folder)
    assert found is not None, f"no snapshot in {folder}"
    table = ItemTable()
    table.restore({name.removeprefix("items/"): part for name, part in found[0].items() if name.startswith("items/")})
    return dict(zip(table.ids, table.count.tolist(), strict=False))


def answered(settings: Settings) -> set[str]:
    """The events that have an answer."""
    return {x["caused_by"]["event_id"] for x in lists(settings)}


def await_answers(settings: Settings, events: Iterable[dict[str, Any]], timeout_s: float = 60.0) -> None:
    """Wait until every event has a list."""
    wanted = {event["event_id"] for event in events}
    until(lambda: wanted <= answered(settings), timeout_s, lambda: f"{len(wanted - answered(settings))} are missing")
