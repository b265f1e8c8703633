"""Topic ``interactions`` as every worker reads it: what others have learned, and what is learned again after a crash.

Each worker reads all partitions. Its own records (marked by a header) are skipped without being decoded: it learned
them before it wrote them. Three things can happen to another's record, by the offset of its *source* event:

* the event will be delivered to this worker (its partition is ours and we have not come so far): the record is held, to
  be used instead of being computed again;
* whose the partition is, is not settled (before the first assignment, or between an assignment and its barrier): it is
  put aside until it is;
* else it is learned at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from online_models.errors import SnapshotError
from streams.contracts.interactions import VERSION, Interaction
from streams.contracts.reading import UNREADABLE
from streams.tailing import Breather, records_since

log = logging.getLogger("headrace")

WORKER_HEADER = "w"
FETCH = 500
REPLAYED = 200_000
ASIDE_LIMIT = 200_000
"""Most records put aside. What is beyond is learned at once: nothing is lost, but its events are not re-run exactly."""


class Position(msgspec.Struct, frozen=True):
    """How far a snapshot has read a partition: the next offset, and the timestamp of the record before it (ms)."""

    next: int
    stamp: int | None = None


class Learner(Protocol):
    """What of the pipeline is used here, see `streams.pipeline.Pipeline`."""

    def learn(self, interaction: Interaction) -> bool: ...
    def hold(self, interaction: Interaction) -> None: ...
    def release(self, partition: int) -> None: ...


class Records(Protocol):
    """What of a `streams.tailing.Tail` is used here."""

    @property
    def positions(self) -> dict[int, int]: ...
    async def ends(self) -> dict[int, int]: ...
    async def starts(self) -> dict[int, int]: ...
    def behind(self, ends: Mapping[int, int]) -> list[int]: ...
    async def fetch(self, timeout_s: float, limit: int, partition: int | None = None) -> dict[int, list[Any]]: ...
    async def record_at(self, partition: int, offset: int) -> Any | None: ...


class InteractionLog:
    """Feeds a pipeline from the log. ``processed``: next source offset of each partition that is ours, kept by the rim.

    ``worker`` marks our own records. Counters for the metrics: ``learned``, ``skipped`` (our own), ``refused``.
    """

    def __init__(self, records: Records, pipeline: Learner, worker: bytes, processed: Mapping[int, int]) -> None:
        self._records = records
        self._pipeline = pipeline
        self._own = [(WORKER_HEADER, worker)]
        self._processed = processed
        self._decode = msgspec.msgpack.Decoder(Interaction).decode
        self._stamps: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._unsettled: set[int] | None = None  # source partitions; None: all of them
        self._owned: set[int] = set()
        self._aside: list[Interaction] = []
        self._held_until: dict[int, int] = {}
        self._moved = asyncio.Condition()
        self.learned = self.skipped = self.refused = 0

    @property
    def counts(self) -> dict[str, float]:
        """Records by what became of them, for the metrics."""
        return {"learned": self.learned, "own": self.skipped, "refused": self.refused, "aside": len(self._aside)}

    @property
    def positions(self) -> dict[int, Position]:
        """What has been read, for a snapshot. Only meaningful while `settled`."""
        return {p: Position(offset, self._stamps.get(p)) for p, offset in self._records.positions.items()}

    @property
    def settled(self) -> bool:
        """True if every record that has been read has also been learned."""
        return not self._aside and all(
            self._processed.get(partition, 0) >= until for partition, until in self._held_until.items()
        )

    async def check(self, snapshot: Mapping[int, Position]) -> None:
        """Raise SnapshotError if the log is not the one that the snapshot was taken of."""
        starts = await self._records.starts()
        for partition, position in snapshot.items():
            last = position.next - 1
            if last < 0:
                continue
            if starts.get(partition, 0) > position.next:
                log.warning(
                    "interactions %d to %d of partition %d are lost", last + 1, starts[partition] - 1, partition
                )
            if position.stamp is None or starts.get(partition, 0) > last:
                continue
            record = await self._records.record_at(partition, last)
            if record is None or record.timestamp != position.stamp:
                raise SnapshotError(
                    f"topic interactions with the record {partition}/{last} that the snapshot ends with",
                    "none" if record is None else "another record there",
                    "the topic was made anew: remove the snapshots, or use another data folder",
                )
            self._stamps[partition] = position.stamp

    async def recover(self, committed: Mapping[int, int]) -> int:
        """Read from the snapshot's positions to the end of the log and return the number of records.

        They are learned in Lamport order (a merge over the partitions), except those whose event is at or after
        ``committed`` (source partition → offset): those are put aside until the first assignment says whose they are.
        """
        self._committed = dict(committed)
        ends = await self._records.ends()
        heads: list[tuple[int, int, int]] = []
        queues: dict[int, deque[Interaction]] = {partition: deque() for partition in ends}
        breather, count = Breather(), 0
        for partition in ends:
            await self._refill(partition, ends, queues, heads)
        while heads:
            _, partition, _ = heapq.heappop(heads)
            interaction = queues[partition].popleft()
            self._apply(interaction)
            count += 1
            if queues[partition]:
                following = queues[partition][0]
                heapq.heappush(heads, (following.clock, partition, following.offset))
            else:
                await self._refill(partition, ends, queues, heads)
            await breather.breathe()
        return count

    async def follow(self) -> None:
        """Learn what others write, until cancelled."""
        breather = Breather()
        while True:
            fetched = await self._records.fetch(timeout_s=0.5, limit=FETCH)
            for partition, records in fetched.items():
                for record in records:
                    interaction = self._read(partition, record)
                    if interaction is not None:
                        self._apply(interaction)
                        await breather.breathe()
            async with self._moved:
                self._moved.notify_all()

    def unsettle(self, partitions: Iterable[int]) -> None:
        """These source partitions have just been assigned to us: put their records aside until `settle`."""
        self._unsettled = set(partitions) | (self._unsettled or set())
        self._committed = {}

    async def settle(self, committed: Mapping[int, int]) -> None:
        """The barrier: read to the end, then hold what will be delivered to us and learn the rest.

        ``committed``: the offset at which each of our partitions goes on. `follow` has to be running.
        """
        ends = await self._records.ends()
        async with self._moved:
            await self._moved.wait_for(lambda: not self._records.behind(ends))
        aside, self._aside = sorted(self._aside, key=lambda interaction: interaction.clock), []
        self._unsettled = set()
        for partition in self._held_until.keys() - committed.keys():
            self._let_go(partition)
        for partition, offset in committed.items():
            if offset > self._processed.get(partition, 0) and partition in self._held_until:
                self._let_go(partition)  # somebody has gone on from where we had been
        self._owned = set(committed)
        breather = Breather()
        for interaction in aside:
            if interaction.offset >= committed.get(interaction.partition, interaction.offset + 1):
                self._hold(interaction)
            else:
                self._learn(interaction)
            await breather.breathe()

    async def _refill(
        self,
        partition: int,
        ends: Mapping[int, int],
        queues: Mapping[int, deque[Interaction]],
        heads: list[tuple[int, int, int]],
    ) -> None:
        queue = queues[partition]
        while not queue and self._records.behind({partition: ends[partition]}):
            for records in (await self._records.fetch(timeout_s=0.1, limit=FETCH, partition=partition)).values():
                queue.extend(found for record in records if (found := self._read(partition, record)) is not None)
        if queue:
            heapq.heappush(heads, (queue[0].clock, partition, queue[0].offset))

    def _read(self, partition: int, record: Any) -> Interaction | None:
        self._stamps[partition] = record.timestamp
        if list(record.headers) == self._own:
            self.skipped += 1
            return None
        try:
            found = self._decode(record.value)
            if found.v != VERSION:
                raise ValueError(f"expected version {VERSION}, got {found.v}; run one release on all workers")
        except (*UNREADABLE, ValueError) as error:
            self.refused += 1
            if self.refused & (self.refused - 1) == 0:  # the first, the second, the fourth ...
                log.warning(
                    "%d interactions left out, the latest at %d/%d: %s", self.refused, partition, record.offset, error
                )
            return None
        return found

    def _apply(self, interaction: Interaction) -> None:
        partition, offset = interaction.partition, interaction.offset
        if self._unsettled is None or partition in self._unsettled:
            if offset >= self._committed.get(partition, 0) and len(self._aside) < ASIDE_LIMIT:
                self._aside.append(interaction)
                return
        elif partition in self._owned and offset >= self._processed.get(partition, 0):
            self._hold(interaction)
            return
        self._learn(interaction)

    def _learn(self, interaction: Interaction) -> None:
        self._pipeline.learn(interaction)
        self.learned += 1

    def _hold(self, interaction: Interaction) -> None:
        self._pipeline.hold(interaction)
        until = self._held_until.get(interaction.partition, 0)
        self._held_until[interaction.partition] = max(until, interaction.offset + 1)

    def _let_go(self, partition: int) -> None:
        self._pipeline.release(partition)
        del self._held_until[partition]


async def interactions_since(brokers: Sequence[str], topic: str, time_ms: int) -> AsyncIterator[Interaction]:
    """What was learned of events after a time, up to now; of each partition the latest `REPLAYED` records at most."""
    decode = msgspec.msgpack.Decoder(Interaction).decode
    async for record in records_since(brokers, topic, time_ms, REPLAYED):
        with contextlib.suppress(*UNREADABLE):  # `InteractionLog` has told of it
            x = decode(record.value)
            if x.v == VERSION and x.timestamp > time_ms:
                yield x
