"""Faust's transport, reading in micro-batches and committing exactly what it is told.

Faust hands every message to two asyncio tasks, a queue and an acknowledgement set, which costs more than a
recommendation. Here one Faust event carries no message but the `Backlog`, from which the agent draws micro-batches; and
the committed offset of a partition is a number that the agent sets, not one that is guessed from acknowledged messages
(Faust never commits again once a gap of more than one offset stands before the first acknowledged one).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import monotonic
from typing import Any

import aiokafka
from aiokafka.errors import IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.threads import WorkerThread

from streams.tailing import FETCH_WAIT_MS

from .backlog import Arrival, Backlog

log = logging.getLogger("headrace")

STOP_PATIENCE_S = 3.0


class PatientThread(WorkerThread):  # type: ignore[misc]
    """A thread that cannot keep the process alive: a consumer whose broker does not answer never ends."""

    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        self.daemon = True

    def stop(self) -> None:
        self.is_stopped.wait(timeout=STOP_PATIENCE_S)


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Asks for records without long waits: Tansu answers a waiting fetch only after half of the wait."""

    Worker = PatientThread

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    async def starting_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Where the group goes on: the committed offset, or the log's start where that is later or the only one."""
        return await self.call_thread(self._starting_offsets, list(tps))  # type: ignore[no-any-return]

    def position_now(self, tp: TP) -> int | None:
        """The offset that is fetched next, as far as it is known; asks nobody."""
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription and subscription.assignment
        if not assignment or tp not in assignment.tps:
            return None
        state = assignment.state_value(tp)
        return state.position if state.has_valid_position else None

    async def _starting_offsets(self, tps: list[TP]) -> dict[TP, int]:
        consumer = self._ensure_consumer()
        starts = await consumer.beginning_offsets(tps)
        return {tp: max(starts[tp], await consumer.committed(tp) or 0) for tp in tps}


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Reads one topic into `backlog`; commits the offsets given to `acknowledge` and no others.

    ``settle`` is awaited when partitions are about to move or the worker is about to stop: it ends the micro-batch in
    flight and acknowledges what can be. ``next_offset`` says what is to be read next, by partition.
    """

    backlog: Backlog
    settle: Callable[[], Awaitable[None]] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backlog = Backlog(self.app.conf.stream_buffer_maxsize)
        self.next_offset: dict[TP, int] = {}
        self._asked_again: dict[TP, int] = {}
        self._acknowledged: dict[TP, int] = {}
        self._committing = asyncio.Lock()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def starting_offsets(self) -> dict[int, int]:
        """Where each assigned partition will be read from, by partition."""
        starts = await self._thread.starting_offsets(self.assignment())
        return {tp.partition: offset for tp, offset in starts.items()}

    # Reading

    async def _drain_messages(self, fetcher: Any) -> None:
        """Move fetched records into the backlog until the fetcher stops."""
        while not (self.should_stop or fetcher.should_stop):
            try:
                records, _ = await self._wait_next_records(timeout=1.0)
                if not self.flow_active:
                    # The fetch was under way when the assignment changed. Not dropped: where it came after the seek to
                    # the committed offset, nobody would read these records again.
                    await self.wait(self.can_resume_flow)
                if self.should_stop or fetcher.should_stop:
                    return
                if await (self._take_in(records) if records else self._look_back()):
                    await self.wait_first(self.backlog.wait_for_room(), self.suspend_flow.wait())
            except (asyncio.CancelledError, *self.consumer_stopped_errors):
                if self.app.should_stop:
                    return
                raise

    async def _take_in(self, records: Mapping[Any, list[Any]]) -> bool:
        """Put records of our partitions into the backlog and wake the agent; False if none was new.

        Were it told of each fetch, Faust's queue would fill up under load, and Faust then reads nothing for a whole second.
        """
        now, woken_by = monotonic(), None
        for tp, fetched in records.items():
            if self.flow_active and tp in self._get_active_partitions() and await self._accept(tp, fetched, now):
                woken_by = TP(tp.topic, tp.partition)
        if woken_by is not None and not self.backlog.attended:
            await self._wake(woken_by)
        return woken_by is not None

    async def _look_back(self) -> bool:
        """Nothing came for a second: see that the consumer does not stand behind what it has handed out, nor the agent."""
        if len(self.backlog) and self.next_offset:
            await self._wake(next(iter(self.next_offset)))
        for tp, expected in list(self.next_offset.items()):
            if self._asked_again.get(tp) != expected and tp in self._get_active_partitions():
                position = self._thread.position_now(tp)
                if position is not None and position > expected:
                    await self._read_again(tp, expected)
        return False

    async def _read_again(self, tp: Any, offset: int) -> None:
        self._asked_again[tp] = offset
        try:
            await self.seek_wait({tp: offset})
        except IllegalStateError:
            log.debug("partition %s moved away while it was read", tp)

    async def _accept(self, tp: Any, fetched: list[Any], now: float) -> bool:
        """Put records into the backlog, each offset once and none left out. False if there was nothing to add.

        A fetch that was under way when the assignment changed may come before or after the seek to the committed
        offset. So the expected offset is kept: what lies before it has been read, and if the first record lies after
        it, the partition is read again from there, once: a gap that is still there then is the log's own.
        """
        expected = self.next_offset.get(tp)
        if expected is not None:
            if fetched[0].offset < expected:
                fetched = [record for record in fetched if record.offset >= expected]
                if not fetched:
                    return False
            if fetched[0].offset > expected:
                if self._asked_again.get(tp) != expected:
                    await self._read_again(tp, expected)
                    return False
                log.warning(
                    "%s-%d: offsets %d to %d are not in the log any more; going on at %d",
                    *(tp.topic, tp.partition, expected, fetched[0].offset - 1, fetched[0].offset),
                )
        partition = tp.partition
        self.backlog.extend(partition, [Arrival(partition, r.offset, r.key, r.value, now) for r in fetched])
        self.next_offset[TP(tp.topic, partition)] = fetched[-1].offset + 1
        return True

    async def _wake(self, tp: TP) -> None:
        """Hand the backlog to the agent, as a Faust event."""
        self.backlog.attended = True
        message = ConsumerMessage(
            *(tp.topic, tp.partition, self.next_offset.get(tp, 1) - 1, 0.0, 0, None, None, self.backlog, None),
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )
        await self.wait_first(self.callback(message), self.suspend_flow.wait())
        self.backlog.attended &= self.flow_active

    def resume_flow(self) -> None:
        """Read again. Faust has emptied the agent's queue before this: whoever was told does not know any more."""
        super().resume_flow()
        self.backlog.attended = False
        if len(self.backlog) and self.next_offset:
            self.add_future(self._wake(next(iter(self.next_offset))))

    def stop_flow(self) -> None:
        """Stop reading; what waits is forgotten and read again by whoever gets the partition."""
        super().stop_flow()
        self.backlog.clear()

    async def perform_seek(self) -> None:
        """Go to the committed offsets, or to the log's start where there are none."""
        self.backlog.clear()
        await super().perform_seek()
        assigned = self.assignment()
        fresh = [tp for tp in assigned if self._committed_offset[tp] is None and self._read_offset[tp] is None]
        starts = await self.earliest_offsets(*fresh) if fresh else {}
        self.next_offset = {
            TP(tp.topic, tp.partition): offset
            for tp in assigned
            if (offset := starts.get(tp, self._read_offset[tp])) is not None
        }
        self._asked_again.clear()

    # Committing

    def acknowledge(self, offsets: Mapping[TP, int]) -> None:
        """Everything below these offsets is done and may be committed."""
        self._acknowledged.update(offsets)

    def committed(self, tp: TP) -> int | None:
        """The offset last committed for an assigned partition, None before the first commit of the group."""
        offset: int | None = self._committed_offset[tp]
        return offset

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what has been acknowledged since; later calls wait for the running one, then commit the rest."""
        async with self._committing:
            offsets = {
                tp: offset for tp, offset in self._acknowledged.items() if offset > (self._committed_offset[tp] or 0)
            }
            return bool(offsets) and bool(await self._commit_offsets(offsets, start_new_transaction))

    async def wait_empty(self) -> None:
        """Faust's hook before partitions move and before the consumer stops."""
        if self.settle is not None:
            await self.settle()
        if self.app.should_stop:
            await asyncio.wait_for(self.commit(), STOP_PATIENCE_S)  # the broker may be gone
        else:
            await self.commit()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Settle and commit first (Faust forgets the offsets at once), then let go."""
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self._acknowledged.pop(tp, None)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """No check: Faust's watchdog reads a time of the last message, which is not kept here."""


class Producer(driver.Producer):  # type: ignore[misc]
    """Acknowledged by all replicas, idempotent where the broker knows how."""

    _idempotent = True

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": self._idempotent}

    async def on_start(self) -> None:
        """Connect; a broker that cannot give out producer ids gets a plain producer."""
        try:
            await super().on_start()
        except KafkaError as error:
            if not self._idempotent:
                raise
            log.debug("the broker has no idempotent producer (%r), going on without", error)
            await self._ensure_producer().stop()
            self._idempotent = False
            self._producer: Any = self._new_producer()
            await self._producer.start()

    @property
    def client(self) -> aiokafka.AIOKafkaProducer:
        """The producer itself, for batches."""
        return self._ensure_producer()


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with the consumer and the producer above."""

    Consumer = Consumer
    Producer = Producer
