"""One micro-batch, from raw records to published lists: the order of steps that makes at-least-once exact.

Validate, load the users' states, process, publish the interactions, write the states, publish lists and dead letters,
acknowledge. A crash between any two steps leaves a state from which the redelivered events give the same again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from online_models.errors import ServiceError
from streams.contracts.dead_letters import DeadLetter
from streams.contracts.events import Event, Source
from streams.contracts.topics import Topics
from streams.metrics import WorkerMetrics
from streams.pipeline import Outcome, Pipeline
from streams.stores import SessionStore
from streams.validate import Rejection, validate, wrong_key

from .backlog import Arrival
from .publisher import Outgoing, Publisher

log = logging.getLogger("headrace")

SLICE = 16
"""Events between two looks at the event loop: HTTP requests wait no longer than these take."""

RAW_LIMIT, KEY_LIMIT = 512 * 1024, 4 * 1024
"""Most bytes of a refused record that are kept: as base64 they have to fit into a broker's default message size, 1 MiB."""

REPORT_EVERY_S = 10.0


class Rim:
    """Runs micro-batches, one at a time.

    ``processed``: next offset of each of our partitions that the pipeline has not seen; ``done``: the same for what has
    also been published and written. ``partitions`` is the number of partitions of topic ``events``. Whoever runs it keeps
    ``awake_at`` at the present: after ``patience_s`` of standstill the partitions may be somebody else's.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: SessionStore,
        publisher: Publisher,
        topics: Topics,
        metrics: WorkerMetrics,
        ttl_s: float,
        patience_s: float = math.inf,
    ) -> None:
        self._pipeline, self._store, self._publisher = pipeline, store, publisher
        self._topics, self._metrics, self._ttl_s = topics, metrics, ttl_s
        self._encode_json = msgspec.json.Encoder().encode
        self._encode_interaction = msgspec.msgpack.Encoder().encode
        self.partitions = 1
        self.processed: dict[int, int] = {}
        self.done: dict[int, int] = {}
        self.worked_at = self.awake_at = time.monotonic()
        self._patience_s = patience_s
        self._task: asyncio.Task[None] | None = None
        self._unpublished = False

    @property
    def busy(self) -> bool:
        """True while a batch is in flight."""
        return self._task is not None

    @property
    def consistent(self) -> bool:
        """False if the pipeline has learned what the topic does not have: then no snapshot may be taken."""
        return not self._unpublished

    async def run(self, arrivals: Sequence[Arrival]) -> None:
        """Process a batch to the end, or raise. A batch given up by `finish` returns as if it had never come."""
        self._task = task = asyncio.create_task(self._run(arrivals), name="micro-batch")
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        finally:
            self._task = None
        if not task.cancelled():
            task.result()

    async def finish(self, patience_s: float) -> None:
        """Wait for the batch in flight. After ``patience_s`` seconds it is given up: its events will come again.

        Raises ServiceError if it cannot be given up, because the pipeline has learned from it but nobody else can.
        """
        if self._task is None:
            return
        await asyncio.wait({self._task}, timeout=patience_s)
        task = self._task
        if task is None or task.done():
            return
        if self._unpublished:
            raise ServiceError(
                "the broker to take interactions",
                f"no answer in {patience_s:.0f} s",
                "restart the worker when it is back",
            )
        log.warning("giving up the batch in flight after %.0f s, its events will be delivered again", patience_s)
        task.cancel()
        await asyncio.wait({task})

    def forget(self) -> None:
        """Partitions are about to move: what is cached of their users grows stale as soon as others write it."""
        self._pipeline.sessions.drop_all()

    def begin(self, committed: dict[int, int]) -> None:
        """These partitions are ours from now on, from these offsets on."""
        self._pipeline.begin(committed)
        self.processed.clear()
        self.processed.update(committed)
        self.done = dict(committed)
        self.worked_at = self.awake_at = time.monotonic()

    def acknowledgeable(self, idle_s: float, whole: bool = False) -> dict[int, int]:
        """Offsets below which events are done and may be committed, by partition.

        An open moment holds them back (a restart must not fall into it), unless there has been nothing to do for
        ``idle_s`` seconds or the ``whole`` is asked for.
        """
        idle = not self.busy and time.monotonic() - self.worked_at >= idle_s
        offsets = {}
        for partition, done in self.done.items():
            safe = self._pipeline.safe_offset(partition)
            offsets[partition] = done if whole or idle or safe is None else min(done, safe)
        return offsets

    async def _run(self, arrivals: Sequence[Arrival]) -> None:
        lap = self._lap()
        events, read_at, rejected = self._validate(arrivals)
        lap("validate")
        await self._load(events)
        lap("load")
        outcomes = await self._process(events)
        for arrival in arrivals:
            self.processed[arrival.partition] = arrival.offset + 1
        lap("process")
        self._check_awake()
        await self._publisher.publish(
            Outgoing(self._topics.interactions, i.item_id.encode(), self._encode_interaction(i))
            for outcome in outcomes
            if (i := outcome.interaction) is not None
        )
        self._unpublished = False
        lap("interactions")
        sessions = self._pipeline.sessions
        await self._store.mset(sessions.dirty(), self._ttl_s)
        sessions.clean()
        lap("store")
        found = [*self._lists(outcomes, read_at), *self._dead_letters(rejected), *self._drifts()]
        await self._publisher.publish(found)
        lap("recommendations")
        for arrival in arrivals:
            self.done[arrival.partition] = arrival.offset + 1
        self.worked_at = time.monotonic()
        self._count(arrivals, outcomes, rejected)

    def _check_awake(self) -> None:
        """Raise before anything is published by a process that was stopped: another one may have taken over."""
        stood = time.monotonic() - self.awake_at
        if stood > self._patience_s:
            raise ServiceError(
                f"a process that stands still for {self._patience_s:.0f} s at most", f"{stood:.0f} s", "start it again"
            )

    def _validate(
        self, arrivals: Sequence[Arrival]
    ) -> tuple[list[tuple[Event, Source]], list[float], list[tuple[Arrival, Rejection]]]:
        now_ms = time.time_ns() // 1_000_000
        events, read_at, rejected = [], [], []
        for arrival in arrivals:
            event = validate(arrival.value, now_ms)
            if isinstance(event, Event):
                wrong = wrong_key(event, arrival.key, self.partitions)
                if wrong is None:
                    events.append((event, Source(arrival.partition, arrival.offset)))
                    read_at.append(arrival.read_at)
                else:
                    rejected.append((arrival, wrong))
            else:
                rejected.append((arrival, event))
        return events, read_at, rejected

    async def _load(self, events: Sequence[tuple[Event, Source]]) -> None:
        sessions = self._pipeline.sessions
        first: dict[str, Source] = {}
        for event, source in events:
            first.setdefault(event.user_id, source)
        missing = sessions.missing(first)
        for user, value in zip(missing, await self._store.mget(missing), strict=True):
            sessions.load(user, value, first[user])

    async def _process(self, events: Sequence[tuple[Event, Source]]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for start in range(0, len(events), SLICE):
            self._unpublished = True
            outcomes += self._pipeline.process(events[start : start + SLICE])
            await asyncio.sleep(0)
        return outcomes

    def _lists(self, outcomes: Sequence[Outcome], read_at: Sequence[float]) -> list[Outgoing]:
        now, topic, encode = time.monotonic(), self._topics.recommendations, self._encode_json
        records = []
        for outcome, arrived in zip(outcomes, read_at, strict=True):
            if outcome.recommendation is not None:
                latency = now - arrived
                self._metrics.latency.observe(latency)
                whole = msgspec.structs.replace(outcome.recommendation, latency_ms=round(latency * 1000, 3))
                records.append(Outgoing(topic, whole.user_id.encode(), encode(whole)))
        return records

    def _dead_letters(self, rejected: Sequence[tuple[Arrival, Rejection]]) -> list[Outgoing]:
        records = []
        for arrival, rejection in rejected:
            raw = arrival.value or b""
            message = rejection.message
            if len(raw) > RAW_LIMIT:
                message += f" (raw: the first {RAW_LIMIT} of {len(raw)} bytes)"
            letter = DeadLetter(
                raw=raw[:RAW_LIMIT],
                key=None if arrival.key is None else arrival.key[:KEY_LIMIT],
                topic=self._topics.events,
                partition=arrival.partition,
                offset=arrival.offset,
                reason=rejection.reason,
                message=message,
                time=time.time_ns() // 1_000_000,
            )
            key = f"{arrival.partition}/{arrival.offset}".encode()
            records.append(Outgoing(self._topics.dead_letters, key, self._encode_json(letter)))
            self._metrics.dead_letters.labels(rejection.reason.value).inc()
        return records

    def _drifts(self) -> list[Outgoing]:
        found = self._pipeline.watch.take()
        return [Outgoing(self._topics.drift, drift.drift_id.encode(), self._encode_json(drift)) for drift in found]

    def _count(
        self, arrivals: Sequence[Arrival], outcomes: Sequence[Outcome], rejected: Sequence[tuple[Arrival, Any]]
    ) -> None:
        self._metrics.events.inc(len(arrivals))
        self._metrics.batch.observe(len(arrivals))
        self._metrics.recommendations.inc(sum(outcome.recommendation is not None for outcome in outcomes))
        self._metrics.interactions.inc(sum(outcome.interaction is not None for outcome in outcomes))
        if rejected and time.monotonic() >= self._report_at:
            arrival, rejection = rejected[0]
            log.warning(
                "%s-%d/%d refused: %s", self._topics.events, arrival.partition, arrival.offset, rejection.message
            )
            self._report_at = time.monotonic() + REPORT_EVERY_S

    _report_at = 0.0

    def _lap(self) -> Any:
        last = time.perf_counter()

        def lap(stage: str) -> None:
            nonlocal last
            now = time.perf_counter()
            self._metrics.stages[stage].observe(now - last)
            last = now

        return lap
