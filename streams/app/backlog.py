"""Fetched events on their way into micro-batches: fair between partitions, in order within each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple


class Arrival(NamedTuple):
    """One record of topic ``events`` as read; ``read_at`` is `time.monotonic` when it came out of the consumer."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    read_at: float


class Backlog:
    """Queues of arrivals, one a partition. ``attended``: somebody takes from it, or has been told to, until nothing is left.

    >>> backlog = Backlog(capacity=100)
    >>> backlog.extend(0, [Arrival(0, i, None, b"", 0.0) for i in range(5)])
    >>> backlog.extend(1, [Arrival(1, 7, None, b"", 0.0)])
    >>> [(a.partition, a.offset) for a in backlog.take(4)]
    [(0, 0), (0, 1), (1, 7), (0, 2)]
    >>> len(backlog)
    2
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._queues: dict[int, deque[Arrival]] = {}
        self._size = 0
        self.attended = False
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return self._size

    def extend(self, partition: int, arrivals: Sequence[Arrival]) -> None:
        """Append records of one partition, offsets ascending. More than the capacity is taken; see `wait_for_room`."""
        if arrivals:
            self._queues.setdefault(partition, deque()).extend(arrivals)
            self._size += len(arrivals)
            self._note()

    def take(self, limit: int) -> list[Arrival]:
        """Up to ``limit`` records: an even share of each partition, then more of those that have more."""
        taken: list[Arrival] = []
        while self._queues and len(taken) < limit:
            share = max(1, (limit - len(taken)) // len(self._queues))
            for partition in list(self._queues):
                queue = self._queues.pop(partition)
                count = min(share, len(queue), limit - len(taken))
                taken.extend(queue.popleft() for _ in range(count))
                if queue:
                    # Back at the end, so that a limit below the number of partitions starves nobody.
                    self._queues[partition] = queue
                if len(taken) == limit:
                    break
        self._size -= len(taken)
        self.attended &= bool(taken)
        self._note()
        return taken

    def clear(self) -> None:
        """Forget everything: the partitions are about to move, and what was not acknowledged is read again."""
        self._queues.clear()
        self._size = 0
        self.attended = False
        self._note()

    async def wait_for_room(self) -> None:
        """Return when there is less than the capacity waiting."""
        await self._room.wait()

    def _note(self) -> None:
        if self._size < self._capacity:
            self._room.set()
        else:
            self._room.clear()
