"""The Faust application: one agent that draws micro-batches, and what has to happen when partitions come and go.

    start      web → are all topics there → snapshot → experiments → tail of `interactions` → catalogue → join the group
    assigned   read `interactions` to its end (the barrier), settle whose the rest is, begin at the committed offsets
    revoked    finish the batch in flight, acknowledge everything that is done, commit
    stop       the same, then a last snapshot

Any exception of ours ends the worker: what is not committed is delivered again, and hiding it would lose it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import faust
import faust.app.base
import msgspec
from aiokafka.errors import IllegalStateError, KafkaError
from faust.types import TP

from online_models.errors import ServiceError
from streams import snapshots
from streams.contracts.topics import Topics
from streams.interaction_log import WORKER_HEADER, InteractionLog
from streams.metrics import WorkerMetrics
from streams.pipeline import Pipeline
from streams.stores import RedisStore
from streams.tailing import Tail, committed_offsets, require_topics
from streams.warm_up import warm_up
from streams.web import WebServer

from .asked import Asked
from .config import WorkerConfig
from .feeds import Feeds
from .keeper import SnapshotKeeper
from .publisher import Publisher
from .rim import Rim
from .transport import Consumer, Transport

log = logging.getLogger("headrace")

TICK_S = 0.2
STOP_PATIENCE_S = 3.0
REDIS_PATIENCE_S = 30.0
MAX_FETCH = 128 * 1024
"""Bytes of one fetch of a partition: what it holds stands before the next fetch of all other partitions."""
MAX_BATCH = 900_000
"""Bytes of one produced batch, below a broker's default message size."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Where a worker's surroundings are: broker addresses, URL of the Redis, address of the HTTP, data folder."""

    brokers: list[str]
    redis: str
    web: tuple[str, int]
    data_dir: Path
    topic_prefix: str = ""
    worker: WorkerConfig = WorkerConfig()


class BatchSchema(faust.Schema):  # type: ignore[misc]
    """Passes the transport's value on as it is: validation is the pipeline's, and bad input is no exception."""

    def compile(self, app: Any, **_: Any) -> Any:
        """The function that makes a Faust event of a message."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return app.create_event(None, message.value, None, message)

        return decode


class NoWeb(faust.app.base.BootStrategy):  # type: ignore[misc]
    """Faust's own web stays off, also where its command line turns it on for every worker."""

    enable_web = False


class Headrace(faust.App):  # type: ignore[misc]
    """A worker. ``phase``: ``starting``, ``restoring``, ``joining``, ``ready``, ``rebalancing`` or ``stopping``."""

    BootStrategy = NoWeb
    consumer: Consumer

    def __init__(self, options: Options, make_pipeline: Callable[[str], Pipeline]) -> None:
        self.options, self._make_pipeline = options, make_pipeline
        self.topic_names = Topics(options.topic_prefix)
        self.phase = "starting"
        self.worker = secrets.token_hex(4)
        self.metrics = WorkerMetrics()
        self.web_server = WebServer(options.web, lambda: self.phase, self.metrics)
        self.store = RedisStore(options.redis, options.topic_prefix)
        publisher = Publisher(lambda: self.producer.client, [(WORKER_HEADER, self.worker.encode())])
        self._publisher, self._tails = publisher, [Tail(options.brokers, self.topic_names.interactions)]
        self._rim: Rim | None = None
        self._config = config = options.worker
        super().__init__(
            f"{options.topic_prefix}{config.group}",
            broker=[f"kafka://{address}" for address in options.brokers],
            store="memory://",
            cache="memory://",
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            broker_commit_interval=config.commit_s,
            broker_max_poll_records=None,
            broker_session_timeout=config.session_timeout_s,
            broker_heartbeat_interval=config.session_timeout_s / 4,
            broker_rebalance_timeout=config.rebalance_timeout_s,
            broker_request_timeout=max(40.0, 2 * config.rebalance_timeout_s, config.session_timeout_s),
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=MAX_FETCH,
            producer_linger=0,
            producer_max_batch_size=MAX_BATCH,
            stream_buffer_maxsize=config.batch_buffer,
            stream_wait_empty=True,
            worker_redirect_stdouts=False,
        )
        events = self.topic(self.topic_names.events, schema=BatchSchema(), acks=False)
        self.agent(events, name="recommend")(self._recommend)
        self.on_partitions_assigned.connect(self._assigned)
        self.on_rebalance_complete.connect(self._barrier)

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """None: Faust's tables are not used, and its folder would lie where the worker was started."""

    # The way of an event

    async def _recommend(self, stream: Any) -> None:
        try:
            async for backlog in stream:
                while arrivals := backlog.take(self._config.batch):
                    await self._running().run(arrivals)
                    self._look_after()
        except Exception as error:
            # Faust would start the agent again and go on with the next events.
            await self.crash(error)
            raise

    async def _every_tick(self) -> None:
        while not self.should_stop:
            await asyncio.sleep(TICK_S)
            self._running().awake_at = time.monotonic()
            self._look_after()

    def _look_after(self) -> None:
        """Acknowledge, note what is committed, and between batches see to snapshots; a few times a second."""
        rim, now = self._running(), time.monotonic()
        if self.phase != "ready" or rim.busy or now < self._next_look:
            return
        self._next_look = now + TICK_S / 2
        self._acknowledge(rim.acknowledgeable(self._config.idle_s))
        committed = self._pipeline.sessions.committed
        committed.update(self._committed(rim.done))
        if rim.consistent:
            self._keeper.tick(committed)
        self._feeds.flip()

    _next_look = 0.0

    def _acknowledge(self, offsets: dict[int, int]) -> None:
        self.consumer.acknowledge({TP(self.topic_names.events, p): offset for p, offset in offsets.items()})

    def _committed(self, partitions: Iterable[int]) -> dict[int, int]:
        found = {p: self.consumer.committed(TP(self.topic_names.events, p)) for p in partitions}
        return {p: offset for p, offset in found.items() if offset is not None}

    def _running(self) -> Rim:
        if self._rim is None:
            raise RuntimeError("the worker has not been started")
        return self._rim

    # Start and stop

    async def on_first_start(self) -> None:
        """Bring the state back before joining the group: partitions stay with the others as long as that takes."""
        await super().on_first_start()
        try:
            address = await self.web_server.start()
        except OSError as error:
            wanted = "{}:{}".format(*self.options.web)
            raise ServiceError(
                f"a free address {wanted}", str(error), "set --web (HEADRACE_WEB), port 0 picks one"
            ) from None
        await require_topics(self.options.brokers, self.topic_names.configs())
        log.info("worker %s: http://%s", self.worker, address)
        self.phase = "restoring"
        await self.store.check(REDIS_PATIENCE_S)
        self._pipeline = pipeline = self._make_pipeline(self.topic_names.events)
        await asyncio.to_thread(warm_up, pipeline.config)
        names, brokers = self.topic_names, self.options.brokers
        committed = await committed_offsets(brokers, self.conf.id, names.events)
        config = self._config
        self._rim = rim = Rim(
            pipeline, self.store, self._publisher, names, self.metrics, config.session_ttl_s, config.session_timeout_s
        )
        rim.partitions = len(committed)
        self._log = InteractionLog(self._tails[0], pipeline, self.worker.encode(), rim.processed)
        folder = self.options.data_dir / "snapshots" / f"{names.prefix}{self._config.group}"
        models = self.options.data_dir / "models" / f"{names.prefix}{self._config.group}"
        self._feeds = Feeds(brokers, names, pipeline, models, self._publisher, self.worker, self.metrics)
        self._tails += self._feeds.tails
        await self._restore(folder, committed)
        self._keeper = SnapshotKeeper(pipeline, self._log, folder, self.worker, self._config, self.metrics)
        await self._feeds.catch_up()
        self._watch(pipeline)
        self._asked = Asked(self._publisher, names.recommendations, self.metrics)
        self.web_server.serve(pipeline, self.store, self._asked.note)
        for endless in (self._log.follow(), *self._feeds.follow(), self._asked.publish(), self._every_tick()):
            self.add_future(endless)
        self.phase = "joining"

    async def _restore(self, folder: Path, committed: dict[int, int]) -> None:
        found = await asyncio.to_thread(snapshots.load, folder)
        positions = found[1].positions if found else {}
        await self._tails[0].start({partition: position.next for partition, position in positions.items()})
        await self._log.check(positions)
        if found:
            self._pipeline.restore(found[0])
        await self._feeds.catch_up_experiments()
        count = await self._log.recover(committed)
        what = "a snapshot" if found else "no snapshot"
        log.info(
            "restored %s and %d interactions after it; joining group %s (what a dead worker owned is free after %.0f s)",
            *(what, count, self.conf.id, self._config.session_timeout_s),
        )

    def _watch(self, pipeline: Pipeline) -> None:
        self.metrics.read("headrace_", "partition", lambda: {"consumer_lag": self._lag()})
        self.metrics.read(
            "headrace_interaction_log_", "what",
            lambda: self._log.counts,
        )  # fmt: skip
        self.metrics.read("headrace_pipeline_", "name", pipeline.metrics)
        self.metrics.read("headrace_model_", "version", pipeline.versions.metrics)
        arms = pipeline.prequential.arms
        self.metrics.read("headrace_experiment_", "arm", lambda: pipeline.experiments.metrics(arms()))
        self.metrics.read("headrace_redis_", "name", lambda: {"reconnects": self.store.reconnects})

    def _lag(self) -> dict[str, float]:
        name, done = self.topic_names.events, self._running().done
        ends = {partition: self.consumer.highwater(TP(name, partition)) for partition in done}
        return {str(partition): max(0, end - done[partition]) for partition, end in ends.items() if end is not None}

    async def on_stop(self) -> None:
        """Stop reading, finish and commit, then keep what has been learned."""
        self.phase = "stopping"
        if hasattr(self, "_feeds"):
            await self._feeds.leave()
        if hasattr(self, "_asked"):
            await self._asked.finish()
        await super().on_stop()
        if self._rim is not None and hasattr(self, "_keeper"):
            done, sound = self._rim.done, not self.crashed and self._rim.consistent
            whole = sound and self._committed(done).items() >= {p: o for p, o in done.items() if o}.items()
            log.debug("stopping: done %s, committed %s, sound %s", done, self._committed(done), sound)
            await self._keeper.finish(whole)

    async def on_shutdown(self) -> None:
        """Let go of everything that is not Faust's."""
        await super().on_shutdown()
        await self.web_server.stop()
        for tail in self._tails:
            await tail.stop()
        await self.store.close()

    # Partitions come and go

    def _new_consumer(self) -> Consumer:
        consumer: Consumer = super()._new_consumer()
        consumer.settle = self._settle
        return consumer

    async def _settle(self) -> None:
        """End the batch in flight; what is done is acknowledged whole, since nobody goes on in the middle of it."""
        if self._rim is None:
            return
        self.phase = "stopping" if self.should_stop else "rebalancing"
        try:
            await self._rim.finish(STOP_PATIENCE_S if self.should_stop else self._config.rebalance_timeout_s / 2)
        except ServiceError as error:
            if not self.should_stop:
                raise
            self.crash_reason = error  # told at the end; what follows still has to be closed
        self._acknowledge(self._rim.acknowledgeable(0.0, whole=True))
        self._rim.forget()

    async def _assigned(self, sender: Any, assigned: set[TP], **_: Any) -> None:
        self._log.unsettle(tp.partition for tp in assigned if tp.topic == self.topic_names.events)

    async def _barrier(self, sender: Any, **_: Any) -> None:
        """Called before the first event of an assignment is read; a newer assignment makes another call."""
        try:
            starts = await self.consumer.starting_offsets()
        except IllegalStateError as error:
            log.debug("partitions moved again before the barrier: %r", error)
            return
        except KafkaError as error:
            # Without them nothing may be committed: a worker that went on would work in vain.
            await self.crash(ServiceError("a broker that says where we are", repr(error), "start the worker again"))
            raise
        await self._log.settle(starts)
        await self.store.claim()
        rim = self._running()
        rim.begin(starts)
        rim.partitions = self.consumer.topic_partitions(self.topic_names.events) or rim.partitions
        self.metrics.assignments.inc()
        first = self.phase != "rebalancing"
        self.phase = "ready"
        (log.info if first else log.debug)("ready: %d of %d partitions", len(starts), rim.partitions)
