"""Replay a recorded log through the pipeline: the same path as production, with no broker, no Redis and no clock.

The log is read twice: once to know its length, its faults and its largest rating (which the metrics need, and only they),
once to play it.
"""

from __future__ import annotations

import gzip
import io
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import IO, Any

import msgspec
import numpy as np

from online_models.deep import Version
from online_models.errors import InputError
from online_models.prepared import prepare

from . import recorded_catalogue, recorded_log
from .config import PipelineConfig
from .contracts.events import Event, Source
from .contracts.experiments import Experiment
from .pipeline import Outcome, Pipeline
from .prequential import FRESH, SERVED, Prequential
from .validate import Rejection, validate

WARM_UP = 0.2
"""Share of a log that is learned before anything is judged."""

CURVE_POINTS = 100

_encode = msgspec.json.Encoder().encode


@dataclass
class Scan:
    """What the first reading found: valid events, faults by reason (with the first line of each), the largest rating."""

    events: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first_line: dict[str, int] = field(default_factory=dict)
    rating_max: float | None = None
    unsorted: int = 0


@dataclass
class Replay:
    """A replay of ``path``: where its outputs go, and how it is cut. Run it with `run`."""

    path: str
    config: PipelineConfig
    recs_out: str | None = None
    published: str | None = None
    limit: int | None = None
    batch: int = 1
    progress: Callable[[int, int], None] = lambda done, total: None
    topic: str = "events"
    model: Path | None = None
    """Folder of an artefact of the deep model that answers from the start; it learns newcomers, and nothing takes its place."""
    experiments: tuple[Experiment, ...] = ()
    catalogue: str | None = None
    """File of the catalogue, which is known from the start."""

    def __post_init__(self) -> None:
        self.pipeline = Pipeline(self.config, self.topic)
        for item in recorded_catalogue.read(self.catalogue) if self.catalogue is not None else ():
            self.pipeline.catalogue_update(item.item_id, item)
        if self.model is not None:
            self.pipeline.versions.install(Version(prepare(self.model), self.pipeline.knowledge.items))
        self.pipeline.run_experiments(self.experiments)

    def _events(self, scan: Scan | None = None) -> Iterator[tuple[Event, Source]]:
        kept = 0
        for line, raw in enumerate(recorded_log.read(self.path)):
            event = validate(raw, None, event_id=str(line + 1))
            if isinstance(event, Rejection):
                if scan is not None:
                    scan.rejected[event.reason.value] += 1
                    scan.first_line.setdefault(event.reason.value, line + 1)
                continue
            yield event, Source(0, line)
            kept += 1
            if self.limit is not None and kept >= self.limit:
                return

    def scan(self) -> Scan:
        """Read the log once, without playing it."""
        scan = Scan()
        last = 0
        for event, _ in self._events(scan):
            scan.events += 1
            scan.unsorted += event.timestamp < last
            last = max(last, event.timestamp)
            if event.event_type == "rating" and event.value is not None:
                scan.rating_max = max(event.value, scan.rating_max or 0.0)
        return scan

    def run(self) -> dict[str, Any]:
        """Play the log; returns the report."""
        scan = self.scan()
        pipeline = self.pipeline
        pipeline.prequential = Prequential(
            pipeline.knowledge.lists,
            first=int(np.ceil(WARM_UP * scan.events)),
            curve_every=max(scan.events // CURVE_POINTS, 1),
        )
        pipeline.rating_max = scan.rating_max
        latency = np.zeros(scan.events)
        rss: dict[str, float] = {}
        done = recommendations = 0
        started = time.perf_counter()
        with ExitStack() as stack:
            recs = stack.enter_context(_output(self.recs_out)) if self.recs_out else None
            published = stack.enter_context(_output(self.published)) if self.published else None
            for batch in _batches(self._events(), self.batch):
                before = time.perf_counter()
                outcomes = pipeline.process(batch)
                latency[done : done + len(batch)] = (time.perf_counter() - before) / len(batch)
                recommendations += _write(outcomes, recs, published)
                for quarter in (25, 50, 75):
                    if done * 100 < quarter * scan.events <= (done + len(batch)) * 100:
                        rss[str(quarter)] = round(_rss_mb(), 1)
                done += len(batch)
                self.progress(done, scan.events)
            pipeline.finish()
        elapsed = max(time.perf_counter() - started, 1e-9)
        rss["100"] = round(_rss_mb(), 1)
        return self._report(scan, done, recommendations, elapsed, latency, rss)

    def _report(
        self,
        scan: Scan,
        events: int,
        recommendations: int,
        elapsed: float,
        latency: np.ndarray[Any, Any],
        rss: dict[str, float],
    ) -> dict[str, Any]:
        p = self.pipeline
        q = p.prequential
        by_list = q.metrics(len(p.knowledge.items))
        quantiles = np.quantile(latency, (0.5, 0.95, 0.99)) if events else np.zeros(3)
        return {
            "v": 1,
            "log": Path(self.path).name,
            "events": events,
            "scored": q.scored,
            "metrics": by_list[FRESH],
            "served": by_list[SERVED],
            "by_source": {name: by_list[name] for name in q.names if name not in (FRESH, SERVED)},
            "by_arm": q.arms(),
            "events_per_s": round(events / elapsed, 1),
            "recommendations_per_s": round(recommendations / elapsed, 1),
            "latency_ms": {k: round(float(v) * 1000, 4) for k, v in zip(("p50", "p95", "p99"), quantiles, strict=True)},
            "peak_rss_mb": round(_peak_rss_mb(), 1),
            "rss_mb_at_percent": rss,
            "unseen_target_share": q.unseen / max(q.scored, 1),
            "users": len(p.sessions),
            "items": len(p.knowledge.items),
            "duplicates": p.counts["duplicates"],
            "late": p.counts["late"],
            "unknown_event_types": p.counts["unknown_type"],
            "rejected": dict(sorted(scan.rejected.items())),
            "rejected_first_line": dict(sorted(scan.first_line.items())),
            "model_bytes": p.knowledge.memory(),
            "drifts": [msgspec.to_builtins(drift) for drift in p.watch.take()],
            "blend": p.knowledge.blend_report(),
            "curve": [
                {
                    "event": number,
                    "scored": n,
                    **{name: [round(v, 5) for v in sums[i].tolist()] for i, name in enumerate(q.names)},
                }
                for number, n, sums in q.curve
            ],
            "config": msgspec.to_builtins(self.config),
        }


def _batches(events: Iterator[tuple[Event, Source]], size: int) -> Iterator[list[tuple[Event, Source]]]:
    batch: list[tuple[Event, Source]] = []
    for pair in events:
        batch.append(pair)
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def _write(outcomes: list[Outcome], recs: IO[bytes] | None, published: IO[bytes] | None) -> int:
    made = 0
    for o in outcomes:
        if o.duplicate:
            continue
        if recs is not None:
            recs.write(_encode({"event_id": o.event.event_id, "items": o.fresh}) + b"\n")
        if o.recommendation is not None:
            made += 1
            if published is not None:
                published.write(_encode(o.recommendation) + b"\n")
    return made


@contextmanager
def _output(path: str) -> Iterator[IO[bytes]]:
    """A file for bytes that is there once it is whole; ``.gz`` is compressed, without a time stamp so that equal content gives equal files.
    ``-`` and what is no file (a pipe) is written to as it goes."""
    given, packs = Path(path), path.endswith(".gz")
    if path == "-":
        yield sys.stdout.buffer
    elif given.exists() and not given.is_file():
        with _writer(given, packs, given) as file:
            yield file
    else:
        target = given.resolve()  # behind a link, which stays one
        part = target.with_name(f".{target.name}.{token_hex(8)}.tmp")
        file = _writer(part, packs, given)
        try:
            with file:
                yield file
            if target.exists():
                part.chmod(target.stat().st_mode & 0o777)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def _writer(path: Path, packs: bool, given: Path) -> IO[bytes]:
    """Raises InputError where ``given``, which ``path`` is or stands for, cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = path.open("wb" if path == given else "xb")
    except OSError as error:
        raise InputError("a file that can be written", f"{given} ({error.strerror})", "choose another name") from None
    if not packs:
        return raw
    packed: Any = gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0)
    packed.myfileobj = raw  # closed together
    return io.BufferedWriter(packed, 1 << 20)


def _rss_mb() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return _peak_rss_mb()
    return pages * 4096 / 1e6


def _peak_rss_mb() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3
