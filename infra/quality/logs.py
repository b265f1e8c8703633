"""The prequential protocol on a recorded log, as a plan.

All events of one user at one timestamp are one moment. It is asked for before its first event, in the last 80 % of the log; the right
answers are its distinct items, without repeats in a row and low ratings (`streams.prequential.is_target`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from online_models.errors import InputError
from online_models.items import hash_id
from streams import recorded_log
from streams.config import PipelineConfig
from streams.contracts.events import Event, Source
from streams.learned import EventWindow
from streams.prequential import is_target
from streams.replay import WARM_UP
from streams.validate import validate

from .plan import NEW, Draft, Plan


@dataclass(slots=True)
class Visitor:
    """What of a user the protocol has to know: the last item, and the session so far."""

    last_item: str = ""
    last_ms: int = 0
    session_id: str | None = None
    session: int = -1
    in_session: int = 0
    events: int = 0

    def visit(self, event: Event, gap_ms: int, sessions: int) -> bool:
        """Take the event in; whether it began session number ``sessions``. Sessions are cut as in `UserState.starts_session`."""
        named = event.session_id is not None and self.session_id is not None
        over = event.session_id != self.session_id if named else event.timestamp - self.last_ms > gap_ms
        begins = self.events == 0 or over
        if begins:
            self.session, self.in_session, self.session_id = sessions, 0, event.session_id
        self.session_id = self.session_id or event.session_id
        self.in_session += 1
        self.events += 1
        self.last_item, self.last_ms = event.item_id, max(event.timestamp, self.last_ms)
        return begins


@dataclass(slots=True)
class _Open:
    """A moment that may get more events: of its first event number, items seen before, session and so on."""

    facts: dict[str, int]
    targets: list[int] = field(default_factory=list)


def events(path: str, limit: int | None = None) -> Iterator[tuple[Event, Source]]:
    """The valid events of a log, as `headrace replay` reads them."""

    def valid() -> Iterator[tuple[Event, Source]]:
        for line, raw in enumerate(recorded_log.read(path)):
            event = validate(raw, None, event_id=str(line + 1))
            if isinstance(event, Event):
                yield event, Source(0, line)

    return islice(valid(), limit)


def largest_rating(path: str, limit: int | None) -> tuple[int, float | None]:
    """How many valid events there are, and the largest rating among them."""
    n, top = 0, None
    for event, _ in events(path, limit):
        n += 1
        if event.event_type == "rating" and event.value is not None:
            top = max(event.value, top or 0.0)
    return n, top


def plan(path: str, config: PipelineConfig, limit: int | None = None) -> Plan:
    """The plan of a log, or of its first ``limit`` events. Raises InputError where there is nothing to ask."""
    total, rating_max = largest_rating(path, limit)
    writer = _Writer(config, first=int(np.ceil(WARM_UP * total)), rating_max=rating_max)
    for n, (event, _) in enumerate(events(path, limit)):
        writer.take(n, event)
    writer.close()
    if not len(writer.draft.targets):
        remedy = "docs/records.md says what an event is; the first 20 % of a log are not asked about"
        if not total:
            remedy = f"make a log of other files first: `headrace import csv {path} -o log.jsonl.gz` (see `headrace import -h`)"
        raise InputError("a recorded log with something to ask", f"{total:,} valid events in {path}", remedy)
    return Plan(
        Path(path).name.partition(".")[0], lambda: events(path, limit), writer.items, (0, total), rating_max=rating_max,
        **writer.draft.arrays(),
    )  # fmt: skip


class _Writer:
    """Walks a log once. Events that are dropped as copies are passed over; late ones are moments of their own."""

    def __init__(self, config: PipelineConfig, first: int, rating_max: float | None) -> None:
        self._gap_ms, self._first, self._rating_max = config.sessions.gap_s * 1000, first, rating_max or 0.0
        self._copies = EventWindow(config.dedup_window)
        self.items: dict[str, int] = {}
        self._born: list[int] = []
        self._visitors: dict[str, Visitor] = {}
        self._open: dict[str | int, _Open] = {}
        """By user; a late one by its event number."""
        self._clock = self._sessions = self._number = 0
        self.draft = Draft()

    def take(self, n: int, event: Event) -> None:
        """Event number ``n`` of the log."""
        name = hash_id(event.event_id)
        if name in self._copies:
            return
        self._copies.add(name)
        if event.timestamp > self._clock:
            self.close()
            self._clock = event.timestamp
        visitor = self._visitors.get(event.user_id)
        if visitor is None:
            visitor = self._visitors[event.user_id] = Visitor()
        wanted = is_target(event, visitor.last_item, self._rating_max)
        history = visitor.events
        self._sessions += visitor.visit(event, self._gap_ms, self._sessions)
        late = event.timestamp < self._clock
        moment = None if late else self._open.get(event.user_id)
        if moment is None:
            facts = {"event": n, "seen": len(self.items), "session": visitor.session, "history": history, "stratum": 0}
            moment = _Open(facts | {"position": visitor.in_session - 1, "number": self._number, "now": event.timestamp})
            self._open[n if late else event.user_id] = moment
        item = self.items.setdefault(event.item_id, len(self.items))
        if item == len(self._born):
            self._born.append(event.timestamp)
        if wanted and item not in moment.targets:
            moment.targets.append(item)
        self._number += 1

    def close(self) -> None:
        """Ask about the open moments, in the order of their first events."""
        for moment in self._open.values():
            facts = moment.facts
            if moment.targets and facts["number"] >= self._first:
                item = moment.targets[0]
                age = max(facts["now"] - self._born[item], 0) if item < facts["seen"] else NEW
                self.draft.ask(moment.targets, age=age, **facts)
        self._open.clear()
