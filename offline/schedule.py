"""The loop as a service: log → train → gate → publish, again and again, one round at a time.

A round starts every so many seconds; one that takes longer is not overtaken, the starts that it misses are left out. Between two such
starts there may be one more, early, when something outside says that it is worth it: a quality has drifted. A round that fails
says why in one line, and the next one comes. Two services on one folder are refused: the folder is locked.
"""

from __future__ import annotations

import fcntl
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Literal

import msgspec

from online_models import embeddings
from online_models.embeddings import Artefact, Manifest
from online_models.errors import HeadraceError, InputError
from streams.contracts.models import Announcement

from . import dataset, job, publish
from .checkpoints import NotThisRun
from .evaluate import queries
from .excerpt import Excerpt
from .fetch import fetched
from .gate import GateConfig, Verdict, judge
from .job import JobConfig
from .log import Log, NoEvents
from .model import settings_of
from .publish import InUse
from .state import State, mark

log = logging.getLogger("headrace")

LOCK = "lock"
_JUDGED = 20_000

LOOK_S = 0.5
"""Between two looks at what might make a round come early."""

_SESSION, _LEAST_BEFORE = 5, 50_000
"""Events of the past that are read for an exemplar session, and at least."""


@dataclass(frozen=True)
class Plan:
    """What every round does. ``folder`` keeps candidates, and which version is live; ``read`` gives the log as it is now: at least the
    excerpt that it is called with, or all for None. Meanwhile it calls its second argument again and again, which may raise.

    ``fewest``: new events that are worth a round; ``keep``: versions that stay. ``fleet`` says what the workers are at; without
    it what was published last counts as live. As long as they compare versions nothing is announced, which would end that, for
    ``patience_s`` at most by ``now_ms``.
    """

    folder: Path
    read: Callable[[Excerpt | None, Callable[[], None]], Log]
    to: str
    job: JobConfig = field(default_factory=JobConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    fewest: int = 1000
    keep: int = publish.KEEP
    catalogue: Path | None = None
    fleet: Callable[[], InUse] | None = None
    patience_s: float = 12 * 3600.0
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000

    def __post_init__(self) -> None:
        if not 0 < self.job.holdout < 1:
            raise InputError("a share of the events for the gate", str(self.job.holdout), "set holdout to 0.1, say")


What = Literal["published", "refused", "waited", "failed", "stopped"]


@dataclass(frozen=True)
class Outcome:
    """How a round ended, and what it said."""

    what: What
    told: str
    seconds: float = 0.0


class Stopped(Exception):
    """The service was told to end in the middle of a round; it says what comes of that."""


def serve(
    plan: Plan,
    every_s: float,
    announce: Callable[[Announcement], None],
    stop: Event,
    rounds: int | None = None,
    clock: Callable[[], float] = time.monotonic,
    early: Callable[[], str] | None = None,
) -> Outcome:
    """Rounds until ``stop`` is set, or so many; the last one's outcome. Raises InputError when another service has the folder, or for
    no time between rounds.

    ``early`` says why a round should come before its time, or nothing, of what has happened since it was asked last. It is
    obeyed once between two regular starts; what it would say of the time before a round began, that round has looked at.
    """
    if every_s <= 0:
        raise InputError("a time between rounds above zero", f"{every_s:g} s", "set --every to 15m, say")
    with _alone(plan.folder):
        due, number, why = clock(), 0, ""
        while True:
            number += 1
            if early is not None:
                early()
            outcome = once(plan, announce, stop, clock)
            level = logging.WARNING if outcome.what in ("refused", "failed") else logging.INFO
            log.log(level, "round %d %s in %.0f s: %s", number, outcome.what, outcome.seconds, outcome.told)
            if number == rounds or stop.is_set():
                return outcome
            due += 0.0 if why else every_s
            missed = int(max(0.0, clock() - due) // every_s)
            if missed:
                log.warning("a round took longer than %.0f s: %d starts are left out", every_s, missed)
                due += missed * every_s
            why = _until(due, stop, clock, None if why else early)
            if stop.is_set():
                return outcome
            if why:
                log.warning("round %d begins early: %s", number + 1, why)


def _until(due: float, stop: Event, clock: Callable[[], float], early: Callable[[], str] | None) -> str:
    """Wait until ``due``, until ``stop`` is set, or until there is a reason for being early; that reason."""
    if early is None:
        stop.wait(max(0.0, due - clock()))
        return ""
    while (left := due - clock()) > 0 and not stop.wait(min(left, LOOK_S)):
        if why := early():
            return why
    return ""


def once(
    plan: Plan, announce: Callable[[Announcement], None], stop: Event, clock: Callable[[], float] = time.monotonic
) -> Outcome:
    """One round, whatever happens in it."""
    began = clock()
    try:
        what, told = _round(plan, announce, stop)
    except Stopped as stopped:
        what, told = "stopped", str(stopped)
    except HeadraceError as error:
        what, told = "failed", str(error)
    except Exception as error:  # a service outlives what nobody has foreseen, and says where it was
        log.debug("what made the round fail", exc_info=True)
        what, told = "failed", f"{type(error).__name__}: {error}"
    return Outcome(what, told, clock() - began)


def _round(plan: Plan, announce: Callable[[Announcement], None], stop: Event) -> tuple[What, str]:
    def stopped(told: str) -> None:
        if stop.is_set():
            raise Stopped(told)

    state = State.of(plan.folder)
    fleet = plan.fleet() if plan.fleet is not None else None
    state, busy = _busy(plan, state, fleet)
    live = _live(plan, state, fleet)
    manifest = embeddings.read_manifest(live) if live is not None else None
    parent = live if manifest is not None and manifest.encoder == _shape(plan.job) else None
    try:
        found = plan.read(
            _excerpt(plan.job, manifest) if manifest is not None and parent is not None else None,
            lambda: stopped("while it read the events"),
        )
    except NoEvents:
        need = max(plan.fewest, math.ceil(plan.gate.queries / plan.job.holdout))
        return "waited", f"no events yet, about {need:,} are needed"
    version = manifest.version if manifest is not None else ""
    judged = mark(plan.job, plan.catalogue, version, plan.gate, found.repeats)
    new = int((found.times > state.seen_ms).sum())
    if new < plan.fewest and state.refused in ("", judged):
        return "waited", f"{new:,} new events, {plan.fewest:,} are worth a round"
    if busy:
        return "waited", busy
    beside = embeddings.verify(live) if live is not None else None
    share = min(plan.job.holdout, _JUDGED / len(found)), min(plan.job.validation, _JUDGED / len(found))
    config = msgspec.structs.replace(plan.job, holdout=share[0], validation=share[1])
    if short := _short(found, config.holdout, plan.gate.queries, beside):
        return "waited", short
    stopped("before it trained")
    made = mark(plan.job, plan.catalogue, version if parent is not None else "", repeats=found.repeats)
    out = plan.folder / f"candidate-{found.times[-1]}-{made}"
    _clean(plan.folder, {out.name, out.name + ".checkpoint", state.live, *([live.name] if live is not None else [])})
    if not out.exists():  # else a round before this one could not publish it, or other limits of the gate refused it
        train = partial(
            job.train, found, out, config, parent, catalogue=plan.catalogue,
            progress=lambda p: stopped("the training's checkpoint stays"),
        )  # fmt: skip
        try:
            train(resume=True)
        except NotThisRun as error:  # events have come since it was cut off
            log.info("training starts anew: %s", error)
            train(resume=False)
    stopped("before the gate; what was trained stays")
    candidate = embeddings.verify(out)
    verdict = judge(candidate, found, beside, plan.gate)
    seen = int(found.times[-1])
    if not verdict.passed:
        msgspec.structs.replace(state, seen_ms=seen, refused=judged).keep(plan.folder)
        return "refused", f"{candidate.manifest.version}: {'; '.join(verdict.faults)}"
    fleet = plan.fleet() if plan.fleet is not None else None
    if busy := _busy(plan, state, fleet)[1]:  # somebody else has announced one meanwhile
        return "waited", busy
    publish.publish(out, plan.to, announce, plan.keep, fleet.kept if fleet is not None else ())
    State(out.name, seen).keep(plan.folder)
    return "published", f"{candidate.manifest.version}: {_figures(verdict)}"


def _busy(plan: Plan, state: State, fleet: InUse | None) -> tuple[State, str]:
    """Why nothing may be announced now, in words, empty if something may; and the state, which knows since when."""
    busy, now = fleet.busy if fleet is not None else "", plan.now_ms()
    if busy != state.busy:
        state = msgspec.structs.replace(state, busy=busy, busy_ms=now)
        state.keep(plan.folder)
    left = plan.patience_s - (now - state.busy_ms) / 1000
    if not busy or left <= 0:
        return state, ""
    return state, f"{busy}, which another one would end; for {left / 3600:.1f} h more at most"


def _excerpt(config: JobConfig, live: Manifest) -> Excerpt:
    """What a round that goes on from ``live`` looks at: what that has not learned, and what exemplars and the gate need of the past."""
    return Excerpt(live.trained.to_ms, max(_LEAST_BEFORE, _SESSION * config.exemplars))


def _live(plan: Plan, state: State, fleet: InUse | None) -> Path | None:
    """The version to go on from and to be judged beside: the workers' live one; before there is any, the one published last."""
    own = plan.folder / state.live if state.live else None
    if fleet is None:
        return own
    version = embeddings.read_manifest(own).version if own is not None else ""
    if fleet.live is None or fleet.live.version == version:
        return None if version in fleet.rejected else own
    return fetched(fleet.live, plan.folder)


def _short(found: Log, holdout: float, need: int, live: Artefact | None) -> str:
    """What the gate would lack to decide anything, in words; empty if nothing."""
    there, events, grows = 0, math.ceil(len(found) * holdout), holdout
    if len(found) > need:
        sessions = dataset.sessions_of(found)
        since = dataset.boundary(sessions, holdout)
        if live is not None and live.manifest.newest_ms >= since:
            since, grows = (
                live.manifest.newest_ms + 1,
                1.0,
            )  # whatever comes is later than what the live version has seen
        there, events = int(queries(sessions, since).sum()), int((found.times >= since).sum())
    if there >= need:
        return ""
    more = math.ceil((need - there) * events / there / grows) if there else max(0, math.ceil(need / grows) - len(found))
    told = f"{there:,} next-item queries in the newest {events:,} of {len(found):,} events"
    return f"{told}, the gate needs {need:,}: about {more:,} more events are needed"


def _shape(config: JobConfig) -> dict[str, object]:
    return {"kind": config.model, "config": msgspec.to_builtins(settings_of(config.model, config.settings))}


def _figures(verdict: Verdict) -> str:
    figures = (f"{name} {d.candidate:.4f} ({d.mean:+.4f})" for name, d in verdict.differences.items())
    return f"{', '.join(figures)} against {verdict.against}, {verdict.queries:,} queries"


def _clean(folder: Path, stay: set[str]) -> None:
    """Remove candidates and checkpoints of rounds that are over."""
    for path in folder.glob("candidate-*"):
        if path.name not in stay:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"one offline service on {folder}", "another one at work", "stop that one, or use another --data-dir"
            ) from error
        yield
