"""The topics ``models`` and ``models.decisions`` as every worker follows them: what is wanted is brought, tried, and made live.

    announced → fetched → prepared → newcomers replayed → aligned → on trial → promoted, or rolled back

One version at a time is on its way (`bringing`); a newer announcement takes its place. What this worker's trial decides is
told to the others, and what they decide is done here, so that all serve the same version wherever each of them stands.
A version that is live for the others and cannot be had here keeps nothing from being tried: beside what answers here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from online_models.deep import Version
from streams.contracts.interactions import Interaction
from streams.contracts.models import SLOT, Announcement, Decision
from streams.contracts.reading import UNREADABLE
from streams.contracts.topics import Topics
from streams.experiments import NO_MODEL
from streams.fleet import Fleet, Wanted
from streams.interaction_log import interactions_since
from streams.model_fetch import Cache
from streams.pipeline import Pipeline
from streams.tailing import Tail
from streams.trial import Phase, Trial

from .bringing import Bringer
from .publisher import Publisher
from .telling import Teller

log = logging.getLogger("headrace")

FETCH = 100
START_S = 30.0
"""A worker that starts waits for the live version so long, and then for it no more than for any other: a store may hang."""


class ModelFeed:
    """Brings versions to a pipeline. ``since(ms)`` gives the interactions from a time on, for a version's newcomers.

    Nothing changes what answers requests but `flip`, which the owner calls between two micro-batches.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        announcements: Tail,
        decisions: Tail,
        cache: Cache,
        publisher: Publisher,
        topics: Topics,
        worker: str,
        since: Callable[[int], AsyncIterator[Interaction]],
    ) -> None:
        self._versions, self._announcements, self._decisions = pipeline.versions, announcements, decisions
        self._topics, self._worker = topics, worker
        self._teller = Teller(pipeline.versions, publisher, topics, worker)
        self._experiments = pipeline.experiments
        self._bringer = Bringer(pipeline, cache, since, self._teller.say)
        self.fleet = Fleet()
        self._left_out = 0
        self._decode = msgspec.json.Decoder(Announcement).decode
        self._decode_decision = msgspec.json.Decoder(Decision).decode
        pipeline.versions.changed = self._decided

    @classmethod
    def of(
        cls, brokers: Sequence[str], topics: Topics, pipeline: Pipeline, folder: Path, publisher: Publisher, worker: str
    ) -> ModelFeed:
        """A feed that reads from a broker and keeps copies in ``folder``."""
        tails = Tail(brokers, topics.models), Tail(brokers, topics.model_decisions)
        since = partial(interactions_since, brokers, topics.interactions)
        return cls(pipeline, *tails, Cache(folder), publisher, topics, worker, since)

    @property
    def tails(self) -> tuple[Tail, Tail]:
        """What it reads; whoever owns it stops them."""
        return self._announcements, self._decisions

    # -- the topics ---------------------------------------------------------------------------------------------------

    async def catch_up(self) -> None:
        """Read both topics to their ends, and bring the live version before anything is answered without it.

        Where it cannot be had within `START_S`, it comes later: a list without the deep model is better than none.
        """
        for tail in self.tails:
            await tail.start({})
            ends = await tail.ends()
            while tail.behind(ends):
                self._take(await tail.fetch(0.1, FETCH))
        self._caught_up = True
        live = self.fleet.wanted.live
        if live is not None:
            if not await self._bringer.at_once(live, START_S):
                log.warning("model %s has not come within %.0f s: the worker begins without it", live.version, START_S)
            self.flip()

    async def follow(self) -> None:
        """Follow both topics and tell what is decided here, until cancelled."""
        try:
            await asyncio.gather(self._listen(self._announcements), self._listen(self._decisions), self._teller.tell())
        finally:
            self._bringer.stop()

    async def _listen(self, tail: Tail) -> None:
        while True:
            self._take(await tail.fetch(1.0, FETCH))

    def _take(self, fetched: dict[int, list[Any]]) -> None:
        for record in (record for records in fetched.values() for record in records):
            try:
                if record.topic == self._topics.model_decisions:
                    self._take_decision(record)
                elif record.value is not None:
                    self._take_announcement(record)
            except (*UNREADABLE, ValueError) as error:
                self._left_out += 1
                if self._left_out & (self._left_out - 1) == 0:
                    log.warning(
                        "%d records of the model topics are left out, the latest at %s-%d/%d: %s",
                        *(self._left_out, record.topic, record.partition, record.offset, error),
                    )

    def _take_decision(self, record: Any) -> None:
        if record.value is None:
            self.fleet.forget((record.key or b"").decode())
            return
        decision = self._decode_decision(record.value)
        _of_version_one(decision.v)
        version = decision.announcement.version
        if self._caught_up and decision.by != self._worker and decision != self.fleet.decisions.get(version):
            what = decision.state.replace("_", " ")
            log.info("model %s: %s by %s%s", version, what, decision.by, decision.reason and f", {decision.reason!r}")
        self.fleet.decide(decision)
        self._bringer.welcome(version)

    def _take_announcement(self, record: Any) -> None:
        announcement = self._decode(record.value)
        _of_version_one(announcement.v)
        if record.key != SLOT.encode():
            raise ValueError(
                f"expected an announcement under key {SLOT!r}, got {record.key!r}; announce it under that one"
            )
        self._bringer.welcome(announcement.version)
        if not self.fleet.announce(announcement):
            raise ValueError(f"model {announcement.version} was announced after a newer one")

    async def leave(self) -> None:
        """Take this worker's status off the topic."""
        await self._teller.leave()

    _caught_up = False

    def _decided(self, trial: Trial) -> None:
        """This worker's trial has come to a new phase; the others do the same when they read of it."""
        self._teller.say(trial.candidate, trial.phase.value, moments=trial.difference.n)
        if trial.phase not in (Phase.PROMOTED, Phase.ROLLED_BACK):
            return
        low, high = trial.difference.interval
        decision = Decision(
            announcement=self._bringer.known[trial.candidate], state="promoted" if trial.phase is Phase.PROMOTED else "rolled_back",
            by=self._worker, reason="compared at the same moments", created=_now_ms(), moments=trial.difference.n,
            difference=round(trial.difference.mean, 6), low=round(low, 6), high=round(high, 6),
        )  # fmt: skip
        self.fleet.decide(decision)
        self._teller.decide(decision)

    # -- what is wanted, and what is there ----------------------------------------------------------------------------

    def flip(self) -> None:
        """Do what is wanted and can be done at once, and start what takes time. Between micro-batches only."""
        began, wanted, versions = time.perf_counter(), self.fleet.wanted, self._versions
        live, candidate = _version(wanted.live), _version(wanted.candidate)
        ready = self._bringer.take()
        if ready is not None:
            if ready.name == live != _name(versions.live):
                versions.install(ready)
            elif ready.name == candidate != _name(versions.candidate):
                versions.begin(ready)
            versions.flip_s = time.perf_counter() - began
            self._settled()
        self._hold(ready)
        if live != _name(versions.live):
            self._change_live(wanted, live)
        elif wanted.pinned and versions.trial is not None:
            versions.install(versions.live)  # no trial and no watch, so that nothing here speaks against the operator
            self._settled()
        if versions.candidate is not None and versions.candidate.name != candidate:
            versions.roll_back()
            self._settled()
        settled = live == _name(versions.live) or (live is not None and self._bringer.out_of_reach(live))
        if wanted.candidate is not None and candidate != _name(versions.candidate) and settled:
            self._bringer.start(wanted.candidate)
        missing = (a for name, a in self._experiments.wanted.items() if name not in versions.held)
        if not self._bringer.bringing and (needed := next(missing, None)) is not None:
            self._bringer.start(needed)

    def _hold(self, ready: Version | None) -> None:
        """Keep the versions that experiments name, and let go of those that none names any more."""
        wanted, v = self._experiments.wanted, self._versions
        if not wanted and len(v.held) == 1:
            return
        here = {x.name: x for x in (*v.held.values(), ready, v.previous, v.candidate, v.live) if x is not None}
        held = {name: here[name] for name in wanted if name in here}
        if held.keys() != v.held.keys() - {NO_MODEL}:
            v.hold(held)
            self._settled()

    def _change_live(self, wanted: Wanted, live: str | None) -> None:
        versions = self._versions
        if live is not None and live == _name(versions.candidate):
            versions.promote() if not wanted.pinned else versions.install(versions.candidate)
        elif live is None or live == _name(versions.previous):
            versions.install(versions.previous if live is not None else None)
        elif wanted.live is not None:
            self._bringer.start(wanted.live)
            return
        self._settled()

    def _settled(self) -> None:
        """What answers has changed: the others are told, and copies that nobody needs go."""
        v = self._versions
        self._teller.say(_name(v.candidate), v.trial.phase.value if v.trial else "")
        wanted = self.fleet.wanted
        held = *map(_name, (v.live, v.candidate, v.previous)), _version(wanted.live), _version(wanted.candidate)
        held = *held, *self._experiments.wanted
        self._bringer.keep({name for name in held if name is not None})


def _name(version: Version | None) -> str | None:
    return None if version is None else version.name


def _version(announcement: Announcement | None) -> str | None:
    return None if announcement is None else announcement.version


def _of_version_one(v: int) -> None:
    if v != 1:
        raise ValueError(f"expected a record of version 1, got {v}; run one release on all workers")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
