"""When snapshots are taken, and that none is written before all of it is committed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from online_models.base import Arrays
from streams import snapshots
from streams.interaction_log import InteractionLog, Position
from streams.metrics import WorkerMetrics
from streams.pipeline import Pipeline

from .config import WorkerConfig

log = logging.getLogger("headrace")


class SnapshotKeeper:
    """Asks the pipeline for a copy when one is due and writes it in a thread.

    ``writer`` makes the file names of several workers unique; ``folder`` may be shared by them, for any snapshot is
    good for any worker.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        interactions: InteractionLog,
        folder: Path,
        writer: str,
        config: WorkerConfig,
        metrics: WorkerMetrics,
    ) -> None:
        self._pipeline, self._interactions = pipeline, interactions
        self._folder, self._writer, self._config, self._metrics = folder, writer, config, metrics
        self._positions: dict[int, Position] = {}
        self._asked, self._asked_at = False, 0
        self._writing: asyncio.Future[None] | None = None
        self._at, self._count = time.monotonic(), 0  # what was read after an older snapshot counts as new

    def tick(self, committed: Mapping[int, int]) -> None:
        """Look what is due; between micro-batches only, when everything learned has been published.

        ``committed``: partition → committed offset. Raises what the last write raised.
        """
        if self._writing is not None and self._writing.done():
            self._writing.result()
            self._writing = None
        self._asked = self._asked and self._pipeline.capturing
        if not self._asked and self._due():
            # The places are those at the time of asking: what is read until the copy is made is learned twice at most,
            # and the second time is seen.
            positions, learned = self._interactions.positions, self._learned()
            self._asked = self._pipeline.request_capture()
            self._positions, self._asked_at = positions, learned
        if self._asked and self._writing is None:
            parts = self._pipeline.captured(dict(committed))
            if parts is not None:
                self._asked = False
                self._writing = asyncio.ensure_future(self._write(parts, self._positions, self._asked_at))

    async def finish(self, whole: bool) -> None:
        """Wait for a write under way; if the ``whole`` state is published and committed, write it as the last one."""
        if self._writing is not None:
            await self._writing
        if whole and self._interactions.settled and self._learned() > self._count:
            parts = {name: array.copy() for name, array in self._pipeline.snapshot().items()}
            await self._write(parts, self._interactions.positions, self._learned())

    def _due(self) -> bool:
        fresh = self._learned() - self._count
        late = time.monotonic() - self._at >= self._config.snapshot_s
        return (fresh >= self._config.snapshot_interactions or (late and fresh > 0)) and self._interactions.settled

    def _learned(self) -> int:
        return self._pipeline.counts["events"] + self._interactions.learned

    async def _write(self, parts: Arrays, positions: Mapping[int, Position], learned: int) -> None:
        self._at, self._count = time.monotonic(), learned
        try:
            path = await asyncio.to_thread(snapshots.save, self._folder, parts, positions, self._writer)
        except OSError as error:
            log.error("no snapshot could be written, the next try is in %.0f s: %s", self._config.snapshot_s, error)
            return
        self._metrics.snapshots.inc()
        self._metrics.snapshot_created.set(time.time())
        log.debug("wrote snapshot %s", path.name)
