"""Lists over HTTP that were made under an experiment: published too, since whoever reads it out has to know who was shown what."""

from __future__ import annotations

import asyncio
import logging

from streams.contracts.recommendations import Recommendation
from streams.metrics import WorkerMetrics

from .publisher import Outgoing, Publisher

log = logging.getLogger("headrace")

WAITING = 2_000
"""Lists that may wait for the broker; what comes then is answered, and not published."""
BATCH = 200
LAST_S = 1.0
"""How long a worker that stops waits for the broker to take the last ones."""


class Asked:
    """Publishes to ``topic`` what `note` is given. The answer does not wait for the broker."""

    def __init__(self, publisher: Publisher, topic: str, metrics: WorkerMetrics) -> None:
        self._publisher, self._topic, self._metrics = publisher, topic, metrics
        self._waiting: asyncio.Queue[Outgoing] = asyncio.Queue(WAITING)

    def note(self, made: Recommendation, body: bytes) -> None:
        """A list was asked for, and ``body`` is what is answered. Without an experiment it is nobody's business."""
        if not made.experiments:
            return
        if self._waiting.full():
            self._metrics.asked.labels("lost").inc()
            return
        self._waiting.put_nowait(Outgoing(self._topic, made.user_id.encode(), body))

    async def publish(self) -> None:
        """Publish what comes, until cancelled."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < BATCH and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            await self._publisher.publish(batch)
            self._metrics.asked.labels("published").inc(len(batch))
            for _ in batch:
                self._waiting.task_done()

    async def finish(self) -> None:
        """Wait until the broker has what was asked for, but not for long."""
        try:
            await asyncio.wait_for(self._waiting.join(), LAST_S)
        except asyncio.TimeoutError:
            log.warning("lists asked for over HTTP that the broker did not take: %d", self._waiting.qsize())
