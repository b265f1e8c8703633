"""One worker, a broker and a Redis on this machine: events/s, latency at half of it, and whether the lists are replay's."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec

from infra import demo, local, publishing, topics
from infra.settings import Settings
from streams import recorded_log
from streams.contracts.recommendations import Recommendation

PATIENCE_S = 300

_decode = msgspec.json.Decoder(Recommendation).decode


class Collector(demo.Watch):
    """Keeps every list by source offset, copies too."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.raw: list[bytes] = []

    def _take(self, records: list) -> None:
        super()._take(records)
        self.raw.extend(record.value for record in records)

    def lists(self) -> tuple[dict[int, list], int, int]:
        """Offset → (item, score) pairs; how many copies there were; how many of them differed from the first."""
        out: dict[int, list] = {}
        copies = differ = 0
        for raw in self.raw:
            r = _decode(raw)
            found = [(i.item_id, i.score) for i in r.items]
            if r.caused_by.offset in out:
                copies += 1
                differ += out[r.caused_by.offset] != found
            out[r.caused_by.offset] = found
        return out, copies, differ


def publish(settings: Settings, lines: list[bytes], rate: float | None) -> None:
    """At full speed, or at ``rate`` events/s in bursts of some 5 ms."""

    def paced():
        began = time.monotonic()
        for n, raw in enumerate(lines):
            if rate:
                wait = began + n / rate - time.monotonic()
                if wait > 0.005:
                    time.sleep(wait)
            yield raw

    publishing.publish_log(settings, paced(), publishing.Pace(None), linger_ms=0 if rate else 20)


def await_lists(watch: Collector, worker: local.Service, count: int) -> None:
    """Until so many lists have come out."""
    deadline = time.monotonic() + PATIENCE_S
    while watch.published < count:
        if time.monotonic() > deadline or not worker.alive():
            raise click.ClickException(f"expected {count} lists, got {watch.published}; {demo.last_line(worker.log)}")
        time.sleep(0.02)


def one_worker(stack: ExitStack, folder: Path, kafka: str | None) -> tuple[Settings, local.Service, Collector]:
    """A broker with one partition, a Redis, a worker that is ready, and what comes out of it; they end with the stack."""
    broker = local.start_kafka(Path(kafka), folder / "kafka") if kafka else local.start_broker(folder)
    stack.enter_context(broker)
    redis = stack.enter_context(local.start_redis(folder))
    settings = Settings(broker=broker.address, redis=f"redis://{redis.address}/0", data_dir=folder / "data")
    topics.create(settings, 1)
    worker = stack.enter_context(demo.start_worker(settings, folder, 0))
    demo.await_ready([worker])
    watch = Collector(settings)
    stack.enter_context(watch.running())
    return settings, worker, watch


@click.command()
@click.argument("log")
@click.option(
    "--kafka", default=lambda: os.environ.get("HEADRACE_TEST_KAFKA"), help="A script that starts Apache Kafka."
)
@click.option("--events", default=20_000, show_default=True)
@click.option("--kills", default=0, show_default=True, help="Kill the worker (SIGKILL) so often in mid-stream.")
def command(log: str, kafka: str | None, events: int, kills: int) -> None:
    """Play the first EVENTS of LOG to one worker on one partition: 3/4 at full speed, the rest at half of what it reached."""
    lines = list(itertools.islice(recorded_log.read(log), events))
    first = len(lines) * 3 // 4
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-bench-")))
        settings, worker, watch = one_worker(stack, folder, kafka)
        sender = threading.Thread(target=publish, args=(settings, lines[:first], None))
        sender.start()
        for n in range(kills):
            await_lists(watch, worker, first * (n + 1) // (kills + 1))
            worker.stop()
            worker = stack.enter_context(demo.start_worker(settings, folder, n + 1))
        while len({_decode(raw).caused_by.offset for raw in watch.raw}) < first if kills else watch.published < first:
            await_lists(watch, worker, 0)
            time.sleep(0.5 if kills else 0.02)
        sender.join()
        speed = watch.rate
        watch.lap()
        total = watch.published
        publish(settings, lines[first:], speed / 2)
        await_lists(watch, worker, total + len(lines) - first)
        where = "Apache Kafka" if kafka else "embedded broker"
        click.echo(
            f"{where}: {speed:,.0f} events/s learned, each with a list published"
            + (f" ({kills} kills)" if kills else "")
        )
        click.echo(
            f"at {watch.rate:,.0f} events/s: event read → published p50 {watch.latency(0.5):.1f} ms, "
            f"p99 {watch.latency(0.99):.1f} ms"
        )
        lists, copies, differ = watch.lists()
        path, out = folder / "log.jsonl", folder / "published.jsonl"
        path.write_bytes(b"\n".join(lines) + b"\n")
        args = [sys.executable, "-m", "infra.cli", "replay", str(path), "--published", str(out)]
        subprocess.run(args, check=True, capture_output=True)
        replayed = [json.loads(line) for line in out.read_bytes().splitlines()]
        same = sum(
            lists.get(r["caused_by"]["offset"]) == [(i["item_id"], i["score"]) for i in r["items"]] for r in replayed
        )
        click.echo(
            f"lists equal to replay's: {same:,} of {len(replayed):,}; {copies:,} copies, {differ:,} of them different"
        )
