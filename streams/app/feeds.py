"""The topics that a worker follows besides events and interactions: the catalogue, the models, the experiments."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from faust.exceptions import NotReady

from online_models.errors import ServiceError
from streams.catalogue_feed import CatalogueFeed
from streams.contracts.topics import Topics
from streams.experiment_feed import ExperimentFeed
from streams.metrics import WorkerMetrics
from streams.pipeline import Pipeline
from streams.tailing import Tail

from .model_feed import ModelFeed
from .publisher import Publisher

LEAVE_S = 1.0


class Feeds:
    """All three. What they read takes effect in `flip`, between micro-batches; only the catalogue's changes do so at once."""

    def __init__(
        self, brokers: Sequence[str], names: Topics, pipeline: Pipeline, models: Path, publisher: Publisher, worker: str,
        metrics: WorkerMetrics,
    ) -> None:  # fmt: skip
        items, experiments = Tail(brokers, names.items), Tail(brokers, names.experiments)
        self._catalogue = CatalogueFeed(items, pipeline.catalogue_update, metrics.items_refused.inc)
        self._experiments = ExperimentFeed(experiments, partial(pipeline.run_experiments, at_once=False))
        self._arms, self._knowledge = pipeline.arms, pipeline.knowledge
        self._work: asyncio.Future[object] | None = None
        self._models = ModelFeed.of(brokers, names, pipeline, models, publisher, worker)
        self._started = items, experiments
        self.tails = (items, experiments, *self._models.tails)
        """What they read; whoever owns the feeds stops them."""

    async def catch_up_experiments(self) -> None:
        """Read topic `experiments` to its end, before what was learned is read again, until `catch_up`: it says which models
        learned it."""
        for tail in self._started:
            await tail.start({})
        await self._experiments.catch_up()
        self._knowledge.recovering = True

    async def catch_up(self) -> None:
        """Read the other topics to their ends; what is found is in effect."""
        self._knowledge.recovering = False
        await self._catalogue.catch_up()
        while (work := self._arms.make()) is not None:
            work()
        await self._models.catch_up()

    def follow(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """What has to run for as long as the worker does."""
        return self._catalogue.follow(), self._experiments.follow(), self._models.follow()

    def flip(self) -> None:
        """Put into effect what has come. Between micro-batches only."""
        self._experiments.flip()
        self._models.flip()
        self._make_arms()

    def _make_arms(self) -> None:
        """Arms that are new are copies of everybody's models: a second of work or more, most of it done in a thread."""
        if self._work is not None:
            if not self._work.done():
                return
            self._work.result()
        work = self._arms.make()
        self._work = None if work is None else asyncio.get_running_loop().run_in_executor(None, work)

    async def leave(self) -> None:
        """The worker stops: take off the topics what says where it is."""
        # One whose producer has not started (NotReady) has said nothing.
        with contextlib.suppress(asyncio.TimeoutError, ServiceError, NotReady):
            await asyncio.wait_for(self._models.leave(), LEAVE_S)
