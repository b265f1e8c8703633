"""One user's state: a pure fold of the user's events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from numba import njit

from online_models.base import FLAGS, OWN, FloatArray, IntArray
from online_models.intent import HashedFacts, SessionFacts, encode_sample
from online_models.items import hash_id
from online_models.matrix_factorization import add_step

from .config import PipelineConfig
from .contracts.events import Event, Source
from .user_image import OLDER, VERSION, Image, encode_image, remembered

NOWHERE = -1
"""Partition and offset of a state that no event has touched."""

_FACTS = HashedFacts()


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One event as the user-side fold needs it.

    ``event`` is the 64-bit hash of its id, ``step`` the user's factor step (int16) or empty, ``intent`` the probability
    published with it.
    """

    offset: int
    event: int
    item_id: str
    event_type: str
    timestamp: int
    weight: float
    value: float | None
    session_id: str | None
    context: dict[str, str]
    step: bytes
    intent: float = 0.0


_NUMBERS = (
    "n_events", "n_moves", "n_repeats", "n_sessions", "n_conversions", "first_ms", "last_ms", "session_ms", "session_seq",
    "session_events", "converted", "gap_ms",
)  # fmt: skip


@njit(cache=True)
def _touch(own: Any, n: int, item: int, seq: int, now: int, flags: int) -> int:
    """Move ``item`` to the end of the user's items, or append it; a full array loses its oldest. Returns the new length."""
    at = n - 1
    while at >= 0 and own[at]["item"] != item:
        at -= 1
    count, first, old_flags = 0, now, 0
    if at >= 0:
        count, first, old_flags = own[at]["count"], own[at]["first"], own[at]["flags"]
    elif n == own.shape[0]:
        at = 0
    else:
        at = n
        n += 1
    for i in range(at, n - 1):
        own[i] = own[i + 1]
    last = own[n - 1]
    last["item"], last["count"], last["seq"], last["flags"] = item, count + 1, seq, old_flags | flags
    last["first"], last["last"] = first, now
    return n


@njit(cache=True)
def _recent(own: Any, n: int, now: int, session_seq: int, items: Any, ages: Any) -> int:
    """The latest items, latest first, and their ages in ms; returns how many of them belong to the session."""
    inside = 0
    for i in range(items.shape[0]):
        o = own[n - 1 - i]
        items[i] = o["item"]
        ages[i] = max(now - o["last"], 0)
        if o["seq"] >= session_seq:
            inside += 1
    return inside


class UserState:
    """What is known of one user. Times in ms of event time; sequence numbers count the user's events.

    ``apply`` is the only thing that changes it, so the state is a pure fold of the entries.
    """

    __slots__ = (
        *_NUMBERS, "ahead", "base", "context", "hash", "intent", "last_item", "last_type", "n", "offset", "own", "partition",
        "sample", "sequence", "served", "session_id", "since", "types", "user_id", "value", "vector",
    )  # fmt: skip

    n_events: int
    n_moves: int
    n_repeats: int
    n_sessions: int
    n_conversions: int
    first_ms: int
    last_ms: int
    session_ms: int
    session_seq: int
    session_events: int
    converted: int
    gap_ms: int

    def __init__(self, user_id: str, dims: int) -> None:
        self.user_id, self.hash = user_id, hash_id(user_id)
        self.partition = self.offset = NOWHERE
        self.own: npt.NDArray[Any] = np.zeros(8, OWN)
        self.n = 0
        self.vector: FloatArray = np.zeros(dims, np.float32)
        for number in _NUMBERS:
            setattr(self, number, 0)
        self.gap_ms = -1
        self.intent = 0.0
        self.last_item, self.last_type = "", ""
        self.session_id: str | None = None
        self.sequence: list[int] = []
        """Rows of the items of the session's latest events, oldest first: from `SessionConfig.recent` of a long one to twice as many. An
        item that follows itself stands there once, unless `FilterConfig.repeats`: training follows the same setting."""
        self.types: dict[str, int] = {}
        self.value: float | None = None
        self.context: dict[str, str] = {}
        self.sample = b""
        self.served: list[str] = []
        self.base = b""
        self.since: list[Entry] = []
        self.ahead: tuple[int, bytes] | None = None  # the next base, and how many of `since` are in it

    def starts_session(self, timestamp: int, session_id: str | None, gap_ms: int) -> bool:
        """Whether an event at this time begins a new session."""
        if self.n_events == 0:
            return True
        if session_id is not None and self.session_id is not None:
            return session_id != self.session_id
        return timestamp - self.last_ms > gap_ms

    def apply(self, entry: Entry, row: int, config: PipelineConfig) -> None:
        """Fold one event in. ``row`` is the item's row, or -1 if the item table has forgotten it."""
        now = max(entry.timestamp, self.last_ms)
        if self.starts_session(entry.timestamp, entry.session_id, config.sessions.gap_s * 1000):
            self.n_sessions += 1
            self.session_ms, self.session_seq, self.session_events = now, self.n_events, 0
            self.converted, self.types, self.sequence = 0, {}, []
            self.session_id = entry.session_id
        if self.session_id is None:
            self.session_id = entry.session_id
        if self.n_events == 0:
            self.first_ms = now
        else:
            self.gap_ms = now - self.last_ms
        self.session_events += 1
        self.types[entry.event_type] = self.types.get(entry.event_type, 0) + 1
        if entry.event_type in config.conversions and not self.converted:
            self.converted = 1
            self.n_conversions += 1
        if entry.weight > 0.0 and row >= 0:
            self._visit(row, now, FLAGS.get(entry.event_type, 0), config.sessions.history)
            self._go_on(row, config)
        if len(entry.step) == 2 * len(self.vector):  # empty, or made under other dims
            add_step(self.vector, np.frombuffer(entry.step, np.int16))
        self.n_events += 1
        self.last_ms, self.last_item, self.last_type = now, entry.item_id, entry.event_type
        self.value = entry.value if entry.value is not None else self.value
        self.context = entry.context or self.context
        self.intent = entry.intent
        self.offset = entry.offset
        drawn = not self.converted and self._drawn(entry.event, config.seed)
        self.sample = encode_sample(_FACTS.transform_one(self.facts())) if drawn else b""

    def _drawn(self, event: int, seed: int) -> bool:
        """Whether this event stands for its session from now on: each event is equally likely to be the last one drawn."""
        draw = ((event ^ seed) * 0x9E3779B97F4A7C15 >> 11) & 0xFFFFFFFF
        return draw * self.session_events < 1 << 32

    def _go_on(self, row: int, config: PipelineConfig) -> None:
        """What goes is the older half at a time: most events then only add to what an encoder of sessions has seen before."""
        if self.sequence and self.sequence[-1] == row and not config.filters.repeats:
            return
        self.sequence.append(row)
        if len(self.sequence) >= 2 * config.sessions.recent:
            del self.sequence[: -config.sessions.recent]

    def _visit(self, row: int, now: int, flags: int, cap: int) -> None:
        before = self.n
        if self.n == len(self.own) and self.n < cap:
            bigger = np.zeros(min(2 * self.n, cap), OWN)
            bigger[: self.n] = self.own
            self.own = bigger
        was_last = self.n > 0 and int(self.own[self.n - 1]["item"]) == row
        known = was_last
        self.n = int(_touch(self.own, self.n, row, self.n_events, now, flags))
        if not was_last:
            known = int(self.own[self.n - 1]["count"]) > 1
            self.n_moves += before > 0
            self.n_repeats += known

    def recent(self, timestamp: int, most: int) -> tuple[IntArray, npt.NDArray[np.int64], int]:
        """Rows of the latest items, latest first; their ages in ms; how many of them are of the current session."""
        n = min(self.n, most)
        items, ages = np.empty(n, np.int32), np.empty(n, np.int64)
        inside = _recent(self.own, self.n, timestamp, self.session_seq, items, ages) if n else 0
        return items, ages, int(inside)

    def facts(self) -> SessionFacts:
        """The session up to the latest event, as the intent model sees it."""
        return SessionFacts(
            n_events=self.session_events,
            types=self.types,
            n_distinct=int(np.count_nonzero(self.own["seq"][: self.n] >= self.session_seq)),
            session_s=(self.last_ms - self.session_ms) / 1000,
            idle_s=self.gap_ms / 1000 if self.gap_ms >= 0 else None,
            timestamp=self.last_ms,
            last_type=self.last_type,
            value=self.value,
            n_sessions=self.n_sessions - 1,
            n_conversions=self.n_conversions - self.converted,
            context=self.context,
        )

    def image(self, ids: list[str]) -> bytes:
        """The state as bytes; ``ids`` maps rows to item ids."""
        own = self.own[: self.n]
        return encode_image(
            Image(
                v=VERSION, partition=self.partition, offset=self.offset, items=[ids[i] for i in own["item"].tolist()],
                own=own.tobytes(), vector=self.vector.tobytes() if self.vector.any() else b"",
                numbers=[getattr(self, n) for n in _NUMBERS], last_item=self.last_item, last_type=self.last_type,
                session_id=self.session_id, types=self.types, value=self.value, context=self.context, intent=self.intent,
                sequence=[ids[i] for i in self.sequence],
            )
        )  # fmt: skip

    @classmethod
    def from_image(cls, user_id: str, image: Image, dims: int, row_of: Callable[[str], int]) -> UserState:
        """The state of an image, without a vector of other dims and without items that the item table has forgotten."""
        state = cls(user_id, dims)
        state.partition, state.offset = image.partition, image.offset
        own = np.frombuffer(image.own, OWN).copy()
        own["item"] = [row_of(i) for i in image.items]
        own = own[own["item"] >= 0]
        state.n = len(own)
        if state.n > len(state.own):
            state.own = own
        else:
            state.own[: state.n] = own
        if image.vector and len(image.vector) == 4 * dims:
            state.vector = np.frombuffer(image.vector, np.float32).copy()
        for name, number in zip(_NUMBERS, image.numbers, strict=True):
            setattr(state, name, number)
        state.last_item, state.last_type, state.session_id = image.last_item, image.last_type, image.session_id
        state.types, state.value, state.context, state.intent = image.types, image.value, image.context, image.intent
        if image.sequence is None:  # an image from before there was one
            state.sequence = own["item"][own["seq"] >= state.session_seq].tolist()[-OLDER:]
        else:
            state.sequence = remembered([row_of(item) for item in image.sequence])
        return state


def entry_of(event: Event, source: Source, event_hash: int, weight: float, step: bytes) -> Entry:
    """The fold's view of an event. Of the context, short scalar values are kept."""
    context = {}
    if event.context:
        for key, value in sorted(event.context.items())[:8]:
            if isinstance(value, (str, int, float, bool)):
                context[key[:32]] = str(value)[:32]
    return Entry(
        source.offset,
        event_hash,
        event.item_id,
        event.event_type,
        event.timestamp,
        weight,
        event.value,
        event.session_id,
        context,
        step,
    )
