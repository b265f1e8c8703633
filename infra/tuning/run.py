"""A search at work: trials in processes of their own, each kept as soon as it is done, until budget or number is used up."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import msgspec

from online_models.errors import InputError, ServiceError
from streams.config import PipelineConfig

from .search import Proposal, Result, Search
from .space import KNOBS, OF_CATALOGUE, Knob, Space
from .state import State, alone, digest_of, mark_of, part_of
from .trial import Judged, OutOfTime, Part, judge

FEWEST = 50
"""Moments that each slice has to have: with fewer, chance alone would decide."""

LOOK_S = 0.2


@dataclass(frozen=True)
class Plan:
    """What to search: the first ``share`` of the log at ``path``, from ``base`` on; at most ``budget_s`` seconds and ``trials`` trials
    besides the default, in ``jobs`` processes."""

    path: str
    base: PipelineConfig
    state: Path
    share: float = 0.2
    metric: str = "ndcg@20"
    seed: int = 0
    budget_s: float | None = None
    trials: int | None = None
    jobs: int = 1
    knobs: tuple[Knob, ...] = KNOBS
    catalogue: str | None = None


@dataclass(frozen=True)
class Found:
    """What came of it: the space, the part that was replayed, all trials, the default's result first, and the one that is chosen."""

    space: Space
    part: Part
    results: list[Result]
    chosen: Result
    seconds: float
    exhausted: bool
    """Nothing was left to try."""
    before: int = 0
    """How many of the trials were kept from an earlier run."""


def tune(plan: Plan, progress: Callable[[list[Result], float], None] = lambda results, seconds: None) -> Found:
    """Search, going on from what ``plan.state`` holds. ``progress`` is called again and again with the trials done and the seconds used.

    Raises InputError where the part is too short to judge anything, the state is of another search, or another process is at it.
    """
    with alone(plan.state):
        return _tune(plan, progress)


def _tune(plan: Plan, progress: Callable[[list[Result], float], None]) -> Found:
    space = Space(plan.base, plan.knobs + (OF_CATALOGUE if plan.catalogue is not None else ()))
    events, digest = part_of(plan.path, plan.share)
    if plan.catalogue is not None:
        digest += digest_of(plan.catalogue)
    part = Part(plan.path, events, plan.catalogue)
    state = State.of(plan.state, mark_of(digest, space, plan.metric, plan.seed))
    before = len(state.results)
    work = _Work(plan, part, state, progress)
    search = Search(space, plan.metric, plan.seed)
    exhausted = False
    with _processes(plan.jobs) as pool:
        while not (exhausted or work.over):
            proposals = search.propose()
            exhausted = not proposals
            done = work.round(pool, space, search, proposals)
            if 0 in {result.number for result in done}:
                _check(done[0].judged, events)
            search.close(done)
    results = [search.results[number] for number in sorted(search.results)]
    return Found(space, part, results, search.chosen(), work.seconds, exhausted, before)


def _check(first: Judged, events: int) -> None:
    moments = [part.moments if part else 0 for part in (first.fit, first.validation)]
    if min(moments) < FEWEST:
        raise InputError(
            f"at least {FEWEST} moments judged in each of the two slices of the log's first part",
            f"{moments[0]} and {moments[1]} in {events:,} events",
            "take a longer log, or a larger --share",
        )


class _Work:
    """Rounds of trials, and what they use up."""

    def __init__(self, plan: Plan, part: Part, state: State, progress: Callable[[list[Result], float], None]) -> None:
        self._plan, self._part, self._state, self._progress = plan, part, state, progress
        self._known = {result.number: result for result in state.results}
        self._used, self._began = state.seconds, time.monotonic()
        self.over = False

    @property
    def seconds(self) -> float:
        """Seconds used in all, also before this process."""
        return self._used + time.monotonic() - self._began

    def round(self, pool: ProcessPoolExecutor, space: Space, search: Search, proposals: list[Proposal]) -> list[Result]:
        """The results of a round, known or made; those for which there is time."""
        most = self._plan.trials
        wanted = [p for p in proposals if most is None or p.number <= most]
        self.over = len(wanted) < len(proposals)
        waiting = [p for p in wanted if p.number not in self._known]
        running: dict[Future[Judged], Proposal] = {}
        while (waiting and not self._late(waiting[0])) or running:
            while waiting and len(running) < self._plan.jobs and not self._late(waiting[0]):
                proposal = waiting.pop(0)
                left = None if proposal.number == 0 else self._left()
                config = space.config(proposal.point)
                metric, bars = self._plan.metric, search.bars
                running[pool.submit(_trial, self._part, config, metric, bars, left)] = proposal
            finished, _ = wait(running, LOOK_S, FIRST_COMPLETED)
            for future in finished:
                self._keep(running.pop(future), future)
            self._progress(self._state.results, self.seconds)
        self.over = self.over or any(p.number not in self._known for p in wanted)
        return [self._known[p.number] for p in wanted if p.number in self._known]

    def _left(self) -> float | None:
        return None if self._plan.budget_s is None else self._plan.budget_s - self.seconds

    def _late(self, proposal: Proposal) -> bool:
        """The default is always judged: without it nothing can be said."""
        left = self._left()
        return left is not None and left <= 0.0 and proposal.number > 0

    def _keep(self, proposal: Proposal, future: Future[Judged]) -> None:
        try:
            judged = future.result()
        except OutOfTime:
            return
        except BrokenExecutor as error:
            raise ServiceError("processes for the trials", str(error), "see that there is memory for --jobs") from error
        result = self._known[proposal.number] = Result(proposal.number, proposal.point, proposal.why, judged)
        self._state.results.append(result)
        self._state.seconds = self.seconds
        self._state.keep(self._plan.state)


def _trial(part: Part, config: PipelineConfig, metric: str, bars: tuple[float, ...], left_s: float | None) -> Judged:
    return judge(part, config, metric, bars, left_s)


@contextmanager
def _processes(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one, however it ends."""
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (os.getpid(),))
    try:
        yield pool
    finally:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(parent: int) -> None:
    """Ctrl-C is the parent's to hear, and what drifts in a trial is nobody's. A parent that is killed leaves nobody behind."""
    logging.getLogger("headrace").setLevel(logging.ERROR)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()


def figures(result: Result) -> tuple[dict[str, float], dict[str, float]] | None:
    """The metrics of both slices, or None of a trial that was given up."""
    judged = result.judged
    return None if judged.fit is None or judged.validation is None else (judged.fit.means, judged.validation.means)


def as_json(found: Found) -> bytes:
    """All of it, for programs."""
    first, chosen = found.results[0], found.chosen
    plain = {
        "part": found.part, "seconds": round(found.seconds, 1), "exhausted": found.exhausted, "chosen": chosen.number,
        "changes": found.space.changes(chosen.point), "default": first.judged, "tuned": chosen.judged,
        "trials": [
            {"number": r.number, "why": r.why, "changes": found.space.changes(r.point), "judged": r.judged} for r in found.results
        ],
    }  # fmt: skip
    return msgspec.json.encode(plain)
