"""A large model takes another's place while events flow: latency before and in it, the flip, the memory, and what is lost."""

from __future__ import annotations

import itertools
import re
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec
import numpy as np

from infra import demo, local, models
from infra.settings import Settings
from online_models import embeddings
from online_models.embeddings import Trained
from streams import recorded_log
from streams.contracts.models import Announcement, Decision, TrainedOn
from tests.bench.live import await_lists, one_worker, publish

PATIENCE_S = 300
QUIET_S = 15.0


def large(folder: Path, items: list[str], count: int, dims: int, seed: int) -> Announcement:
    """An artefact of ``count`` items, the log's among them, in clusters as trained vectors are."""
    rng = np.random.default_rng(seed)
    ids = items + [f"other-{n}" for n in range(count - len(items))]
    centres = rng.normal(size=(2_000, dims)).astype(np.float32)
    vectors = centres[rng.integers(0, len(centres), count)]
    vectors += 0.4 * rng.standard_normal((count, dims), np.float32)
    manifest = embeddings.write(
        folder, kind="bprmf", ids=ids, vectors=vectors, trained=Trained(0, 0, 1), created=seed,
        description={"kind": "bprmf", "config": {"length": 10, "decay": 0.8}},
    )  # fmt: skip
    return Announcement(
        version=manifest.version, uri=folder.as_uri(), sha256=embeddings.manifest_sha256(folder), metrics={}, created=seed,
        trained=TrainedOn(from_ms=0, to_ms=0, events=1),
    )  # fmt: skip


def python_of(service: local.Service) -> int:
    """Its process (a shell that guards it stands before it, in the same group)."""
    for found in Path("/proc").glob("[0-9]*/stat"):
        pid, rest = found.parent.name, found.read_text().rpartition(")")[2].split()
        if int(rest[2]) == service.process.pid and _is_worker(found.parent):
            return int(pid)
    raise click.ClickException("expected a worker's process, got none; see its log")


def _is_worker(process: Path) -> bool:
    program, *arguments = (process / "cmdline").read_text().split("\0")
    return "python" in program and "infra.cli" in arguments


class Memory:
    """The most that a process held, beside the pages of files that are mapped (`RssAnon`), and all of it (`VmRSS`)."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self.peak = 0.0

    def now(self) -> float:
        """Resident MB that are the process' own."""
        for line in self._status.read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024
        return 0.0

    def watch(self, stop: threading.Event) -> None:
        while not stop.wait(0.05):
            self.peak = max(self.peak, self.now())


def gauge(worker: local.Service, name: str) -> str:
    """The line of a metric on the worker's page; empty where there is none."""
    with urllib.request.urlopen(f"http://{worker.address}/metrics", timeout=10) as page:
        found = re.search(rf"(?m)^{name}(.*)$", page.read().decode())
    return found[1] if found else ""


def make_live(settings: Settings, worker: local.Service, announcement: Announcement, created: int) -> float:
    """Promote a version as an operator would; returns the seconds until it answers."""
    began = time.monotonic()
    models.write(settings, Decision(announcement=announcement, state="promoted", by="operator", created=created))
    while announcement.version not in gauge(worker, "headrace_model_live"):
        if time.monotonic() - began > PATIENCE_S or not worker.alive():
            raise click.ClickException(f"expected a swap, got none; {demo.last_line(worker.log)}")
        time.sleep(0.5)  # the page costs the worker time
    return time.monotonic() - began


@click.command()
@click.argument("log")
@click.option("--kafka", default=None, help="A script that starts Apache Kafka; else the embedded broker.")
@click.option("--items", default=1_000_000, show_default=True)
@click.option("--dims", default=64, show_default=True)
@click.option("--rate", default=1_000, show_default=True, help="Events per second.")
def command(log: str, kafka: str | None, items: int, dims: int, rate: int) -> None:
    """Swap one model of ITEMS x DIMS float32 for another while LOG flows to one worker."""
    lines = list(recorded_log.read(log))
    known = list(dict.fromkeys(str(msgspec.json.decode(line)["item_id"]) for line in lines))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-bench-")))
        versions = [large(folder / f"v{n}", known, items, dims, n) for n in (1, 2)]
        settings, worker, watch = one_worker(stack, folder, kafka)
        publish(settings, lines[:5_000], None)
        await_lists(watch, worker, 5_000)
        make_live(settings, worker, versions[0], 1)
        sent: list[bytes] = []
        over = threading.Event()
        flow = (sent.append(line) or line for line in itertools.takewhile(lambda _: not over.is_set(), lines[5_000:]))
        sender = threading.Thread(target=publish, args=(settings, flow, float(rate)))
        sender.start()
        time.sleep(QUIET_S / 3)
        watch.lap()
        time.sleep(QUIET_S)
        before = watch.latency(0.5), watch.latency(0.99)
        memory, done = Memory(python_of(worker)), threading.Event()
        held = memory.now()
        sampler = threading.Thread(target=memory.watch, args=(done,))
        sampler.start()
        watch.lap()
        took = make_live(settings, worker, versions[1], 2)
        within = watch.latency(0.5), watch.latency(0.99)
        flip = float(gauge(worker, "headrace_model_flip_seconds"))
        time.sleep(1.0)
        done.set()
        watch.lap()
        time.sleep(QUIET_S)
        after = watch.latency(0.5), watch.latency(0.99)
        over.set()
        sender.join()
        await_lists(watch, worker, 5_000 + len(sent))
        lists, copies, _ = watch.lists()
    table = items * dims * 4 / 2**20
    click.echo(f"{items:,} x {dims} float32 ({table:,.0f} MB), {rate:,} events/s")
    click.echo("| | p50 ms | p99 ms |\n|---|---|---|")
    for name, (half, most) in (("before", before), (f"in the swap ({took:.1f} s)", within), ("after", after)):
        click.echo(f"| {name} | {half:.1f} | {most:.1f} |")
    click.echo(f"p99 in the swap / before: {within[1] / before[1]:.2f}")
    click.echo(f"flip: {1000 * flip:.3f} ms")
    more = (memory.peak - held) / table
    click.echo(
        f"memory of the worker: {held:.0f} MB before, {memory.peak:.0f} MB at most in the swap: {more:.2f} x the table"
    )
    total = 5_000 + len(sent)
    click.echo(f"events {total:,}, lists {len(lists):,}, copies {copies:,}, dropped {total - len(lists):,}")
