"""Runs: the one pipeline, driven through a plan. Nothing here scores or learns by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import msgspec

from online_models.deep import Version
from online_models.items import hash_id
from online_models.prepared import prepare
from streams.config import PipelineConfig
from streams.contracts.catalogue import Item
from streams.contracts.events import Event, Source
from streams.experiments import EVERYBODYS, Assignment, Experiments, Treatment
from streams.learned import EventWindow
from streams.pipeline import Pipeline

from .beside import beside
from .judge import Judge, Verdict
from .plan import Plan
from .reader import Reader

LENGTH = 50
"""Of the lists that are judged at 20: some of the items may be passed over, and items level with the twentieth matter."""

Numbered = tuple[int, tuple[Event, Source]]
"""An event of a stream, with its number."""

Progress = Callable[[int, int], None]
"""Events done, and events in all."""


class _Everybody(Experiments):
    """One treatment for all requests: nothing is split."""

    def __init__(self, treatment: Treatment) -> None:
        super().__init__((), (), ())
        self._assignment = Assignment(treatment)

    def assign(self, *_: object) -> Assignment:
        return self._assignment


@dataclass(frozen=True)
class Setup:
    """What answers: settings, and what differs from them for everybody. ``model``: folder of the artefact that takes part from the start of
    a period on, by period (None: none does)."""

    config: PipelineConfig
    treatment: Treatment = EVERYBODYS
    model: Callable[[int], Path | None] = lambda period: None
    catalogue: tuple[Item, ...] = ()
    """Of the items, known from the start."""

    def pipeline(self) -> Pipeline:
        """A new one, which has learned nothing."""
        found = Pipeline(msgspec.structs.replace(self.config, k=LENGTH))
        found.answers = False
        for item in self.catalogue:
            found.catalogue_update(item.item_id, item)
        found.experiments = _Everybody(self.treatment)
        return found

    def begin(self, pipeline: Pipeline, period: int) -> None:
        """A period begins: its version of the deep model takes its place."""
        folder = self.model(period)
        if folder is not None:
            pipeline.versions.install(Version(prepare(folder), pipeline.knowledge.items))


def by_tracks(plan: Plan, setup: Setup, frozen: bool, progress: Progress) -> tuple[Verdict, Verdict | None]:
    """Learn every event after it was asked about: the prequential track. With ``frozen`` the other one, too: before a period is learned,
    a reader that learns nothing of it is asked the same, on another core if there is one."""
    pipeline = setup.pipeline()
    pipeline.rating_max = plan.rating_max
    live, still = Judge(plan), Judge(plan)
    stream, query = enumerate(plan.read()), 0
    for period, (begin, end) in enumerate(pairwise(plan.bounds)):
        setup.begin(pipeline, period)
        events: Iterable[Numbered] = islice(stream, end - begin)
        if frozen:
            events = list(events)
        with (
            beside(partial(_still, plan, Reader(pipeline, setup.treatment), still, events, query))
            if frozen
            else nullcontext()
        ):
            for n, (event, source) in events:
                [outcome] = pipeline.process([(event, source)])
                if query < len(plan) and plan.event[query] == n:
                    assert outcome.scores is not None  # noqa: S101
                    live.look(query, outcome.fresh, outcome.scores)
                    query += 1
                if not outcome.duplicate:
                    for judge in (live, still):
                        judge.passed(event.item_id)
                progress(n + 1, plan.events)
    return live.verdict(), still.verdict() if frozen else None


def _still(plan: Plan, reader: Reader, judge: Judge, events: Iterable[Numbered], query: int) -> None:
    """Put a period's queries, from number ``query`` on, to models that stand still."""
    for n, (event, source) in events:
        if plan.kept is not None and not plan.kept[n]:
            continue
        if query < len(plan) and plan.event[query] == n:
            judge.look(query, *reader.answer(event))
            query += 1
        reader.follow(event, source)


def late(plan: Plan, setup: Setup, lag_ms: int, progress: Progress) -> tuple[Verdict, Verdict]:
    """Models that learn an event only ``lag_ms`` after it: asked for users as they are, and for users as they were then.

    With 0 ms both are the prequential track.
    """
    pipeline = setup.pipeline()
    pipeline.rating_max = plan.rating_max
    setup.begin(pipeline, 0)
    reader = Reader(pipeline, setup.treatment)
    models, everything = Judge(plan), Judge(plan)
    waiting: deque[tuple[Event, Source]] = deque()
    copies = EventWindow(setup.config.dedup_window)
    query = clock = 0
    for n, (event, source) in enumerate(plan.read()):
        clock = max(clock, event.timestamp)
        name = hash_id(event.event_id)
        if name in copies:
            # the pipeline drops it, so nobody's state may have it twice; nor may it wait, for what it is a copy of may not be learned yet
            progress(n + 1, plan.events)
            continue
        copies.add(name)
        while waiting and waiting[0][0].timestamp + lag_ms <= clock:
            old, at = waiting.popleft()
            pipeline.process([(old, at)])
            reader.learned(old)
            for judge in (models, everything):
                judge.passed(old.item_id)
        if query < len(plan) and plan.event[query] == n:
            models.look(query, *reader.answer(event))
            everything.look(query, *reader.answer(event, pipeline.sessions.peek(event.user_id) or reader.nobody(event)))
            query += 1
        reader.follow(event, source)
        waiting.append((event, source))
        progress(n + 1, plan.events)
    return models.verdict(), everything.verdict()
