"""Prometheus metrics of a worker. What the pipeline knows of itself comes through its ``metrics()``, read on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LATENCIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
STAGES = ("validate", "load", "process", "interactions", "store", "recommendations")

Numbers = Mapping[str, float | Mapping[str, float]]


class WorkerMetrics:
    """All metrics of one worker, in a registry of its own.

    >>> metrics = WorkerMetrics()
    >>> metrics.events.inc(3)
    >>> b"headrace_events_total 3.0" in metrics.page()
    True
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.events = Counter("headrace_events", "Events read.", registry=registry)
        self.recommendations = Counter("headrace_recommendations", "Lists published.", registry=registry)
        self.interactions = Counter("headrace_interactions", "Interactions published.", registry=registry)
        self.dead_letters = Counter(
            "headrace_dead_letters", "Records refused, by reason.", ["reason"], registry=registry
        )
        self.items_refused = Counter(
            "headrace_items_refused", "Records of the catalogue that are no item, left out.", registry=registry
        )
        self.latency = Histogram(
            "headrace_latency_seconds", "Event read to list handed to the producer.", buckets=LATENCIES,
            registry=registry,
        )  # fmt: skip
        stage = Histogram(
            "headrace_stage_seconds", "A micro-batch's time by stage.", ["stage"], buckets=LATENCIES, registry=registry
        )
        self.stages = {name: stage.labels(name) for name in STAGES}
        self.batch = Histogram("headrace_batch_events", "Events of a micro-batch.", buckets=SIZES, registry=registry)
        self.assignments = Counter("headrace_assignments", "Times that partitions were assigned.", registry=registry)
        self.snapshots = Counter("headrace_snapshots", "Snapshots written.", registry=registry)
        self.snapshot_created = Gauge(
            "headrace_snapshot_created_seconds", "When the newest snapshot was written (Unix time).", registry=registry
        )
        self.requests = Counter("headrace_requests", "HTTP requests, by status.", ["status"], registry=registry)
        self.request_seconds = Histogram(
            "headrace_request_seconds",
            "Time to answer /recommendations and /explain.",
            buckets=LATENCIES,
            registry=registry,
        )

        self.asked = Counter(
            "headrace_asked",
            "Lists over HTTP made under an experiment, by what became of them.",
            ["what"],
            registry=registry,
        )

    def read(self, prefix: str, label: str, numbers: Callable[[], Numbers]) -> None:
        """Add what ``numbers()`` says when the page is read: a gauge a name, by ``label`` where it is a mapping."""
        self.registry.register(_OnDemand(prefix, label, numbers))

    def page(self) -> bytes:
        """The text of ``/metrics``."""
        return generate_latest(self.registry)


class _OnDemand(Collector):
    def __init__(self, prefix: str, label: str, numbers: Callable[[], Numbers]) -> None:
        self._prefix, self._label, self._numbers = prefix, label, numbers

    def describe(self) -> Iterable[Metric]:
        return []  # so that registering does not ask for the numbers

    def collect(self) -> Iterable[Metric]:
        for name, value in self._numbers().items():
            if isinstance(value, Mapping):
                family = GaugeMetricFamily(f"{self._prefix}{name}", name, labels=[self._label])
                for key, number in value.items():
                    family.add_metric([str(key)], number)
            else:
                family = GaugeMetricFamily(f"{self._prefix}{name}", name, value=value)
            yield family
