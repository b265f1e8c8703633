"""The model versions as all workers see them, folded from the three topics, and what an operator decides of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from infra import topic_reading, topics
from infra.settings import Settings
from online_models.errors import InputError
from streams.contracts.models import SLOT, Announcement, Decision, WorkerStatus
from streams.contracts.reading import UNREADABLE
from streams.contracts.topics import Topics
from streams.fleet import Fleet, Wanted

State = Literal["live", "pinned", "on trial", "refused", "held", "rolled back", "superseded"]
"""Of a version. ``refused``: by every worker that has had it; ``held``: announced, but a pin forbids trials."""

_announcement = msgspec.json.Decoder(Announcement).decode
_decision = msgspec.json.Decoder(Decision).decode
_status = msgspec.json.Decoder(WorkerStatus).decode


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A version. ``moments`` compared so far: as decided, or while it is on trial the most of any worker."""

    version: str
    state: State
    moments: int | None
    announcement: Announcement
    decision: Decision | None


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All versions known, the newest first, and where each worker is."""

    live: str | None
    candidate: str | None
    pinned: bool
    versions: list[Known]
    workers: list[WorkerStatus]

    @property
    def comparing(self) -> str:
        """What the workers compare just now, in words: a version on trial that one of them has not refused, or the live one that one
        of them still watches; empty if nothing. The next announcement ends either."""
        if any((w.candidate, w.step) != (self.candidate, "refused") for w in self.workers) and self.candidate:
            return f"version {self.candidate} is on trial"
        if self.live and any(w.step == "promoted" and w.live == self.live for w in self.workers):
            return f"version {self.live} is still compared with the one before it"
        return ""


class Models:
    """Folds the records of the topics as the workers do; ``left_out`` are those that cannot be read."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self.fleet = Fleet()
        self.announced: dict[str, Announcement] = {}
        self.workers: dict[str, WorkerStatus] = {}
        self.left_out = 0

    def take(self, records: Iterable[Any]) -> Models:
        """Fold records in, those of one key in their order; returns itself."""
        for record in records:
            try:
                self._take(record, (record.key or b"").decode())
            except UNREADABLE:
                self.left_out += 1
        return self

    def _take(self, record: Any, key: str) -> None:
        if record.topic == self._topics.model_decisions:
            if record.value is None:
                self.fleet.forget(key)
            else:
                self.fleet.decide(_of_version_one(_decision(record.value)))
        elif record.topic == self._topics.model_status:
            if record.value is None:
                self.workers.pop(key, None)
            else:
                self.workers[key] = _of_version_one(_status(record.value))
        elif record.value is not None:
            if key != SLOT:
                raise msgspec.ValidationError(f"an announcement under key {key}")
            announcement = _of_version_one(_announcement(record.value))
            self.announced[announcement.version] = announcement
            self.fleet.announce(announcement)

    @property
    def known(self) -> dict[str, Announcement]:
        """Every version that was announced, or that something was decided of: compaction leaves one announcement."""
        return {v: d.announcement for v, d in self.fleet.decisions.items()} | self.announced

    @property
    def overview(self) -> Overview:
        """See `Overview`."""
        wanted = self.fleet.wanted
        newest = sorted(self.known.values(), key=lambda a: (-a.created, a.version))
        return Overview(
            live=wanted.live.version if wanted.live else None,
            candidate=wanted.candidate.version if wanted.candidate else None,
            pinned=wanted.pinned,
            versions=[self._describe(a, wanted) for a in newest],
            workers=[self.workers[name] for name in sorted(self.workers)],
        )

    def _describe(self, announcement: Announcement, wanted: Wanted) -> Known:
        version = announcement.version
        decision = self.fleet.decisions.get(version)
        state = self._state(announcement, wanted)
        moments = decision.moments if decision else None
        if state == "on trial":
            moments = max((w.moments for w in self.workers.values() if w.candidate == version), default=0)
        return Known(version=version, state=state, moments=moments, announcement=announcement, decision=decision)

    def _state(self, announcement: Announcement, wanted: Wanted) -> State:
        version, live, newest = announcement.version, wanted.live, self.fleet.announced
        decision = self.fleet.decisions.get(version)
        if live is not None and version == live.version:
            return "pinned" if wanted.pinned else "live"
        if decision is not None:
            return "rolled back" if decision.state == "rolled_back" else "superseded"
        if wanted.candidate is not None and version == wanted.candidate.version:
            steps = {w.step for w in self.workers.values() if w.candidate == version}
            return "refused" if steps == {"refused"} else "on trial"
        is_newest = newest is not None and version == newest.version
        if wanted.pinned and is_newest and live is not None and announcement.created > live.created:
            return "held"
        return "superseded"

    def find(self, version: str) -> Known:
        """One version. Raises InputError, naming those that are known, if it is none of them."""
        for found in (overview := self.overview).versions:
            if found.version == version:
                return found
        names = ", ".join(found.version for found in overview.versions)
        remedy = "see `headrace models list`" if names else "announce one with `headrace publish-model`"
        raise InputError(f"one of the versions known ({names or 'none yet'})", repr(version), remedy)

    def decision(
        self, version: str | None, state: Literal["promoted", "pinned", "rolled_back"], reason: str
    ) -> Decision:
        """An operator's decision, later than every other one whatever this machine's clock says; None: of the live version."""
        if version is None:
            wanted = self.fleet.wanted
            if wanted.live is None:
                raise InputError("a version that is live", "none", "name the version, or see `headrace models list`")
            version = wanted.live.version
        latest = max((d.created for d in self.fleet.decisions.values()), default=0)
        return Decision(
            announcement=self.find(version).announcement, state=state, by="operator", reason=reason,
            created=max(time.time_ns() // 1_000_000, latest + 1),
        )  # fmt: skip


def read(settings: Settings) -> Models:
    """All versions, decisions and workers as of now. Raises ServiceError where a topic is missing."""
    names = settings.topics
    return Models(names).take(topic_reading.records(settings, names.models, names.model_decisions, names.model_status))


def write(settings: Settings, decision: Decision) -> None:
    """Tell the workers, and wait until the broker has it."""
    _write(settings, {decision.announcement.version: decision})


def forget(settings: Settings, decisions: dict[str, Decision]) -> None:
    """Take decisions, by version, off the topic. What was decided of such a version meanwhile is written again: it counts."""
    _write(settings, dict.fromkeys(decisions))
    written = [r for r in topic_reading.records(settings, settings.topics.model_decisions) if r.value is not None]
    latest = decisions | Models(settings.topics).take(written).fleet.decisions
    _write(settings, {v: latest[v] for v in decisions if latest[v] != decisions[v]})


def _write(settings: Settings, decisions: Mapping[str, Decision | None]) -> None:
    """Write what was decided of each version, and wait until the broker has it."""
    if not decisions:
        return
    with topics.producer(settings) as client:
        sent = [
            client.send(
                settings.topics.model_decisions, value=None if decision is None else msgspec.json.encode(decision), key=version.encode()
            )
            for version, decision in decisions.items()
        ]  # fmt: skip
        for each in sent:
            topics.acknowledged(each)


def _of_version_one(record: Any) -> Any:
    """Records of a later release are left out, as a worker of this one does."""
    if record.v != 1:
        raise msgspec.ValidationError(f"a record of version {record.v}")
    return record
