"""Sessions to learn from and to be tested on: split by time without leakage, items as rows, negatives to learn against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from online_models.embeddings import Trained
from online_models.errors import InputError

from .log import Ints, Log


@dataclass(frozen=True)
class Sessions:
    """Sessions one after the other. Session s has the events ``starts[s]:starts[s + 1]`` of ``items`` (rows; -1: unknown)
    and ``times`` (ms since the epoch), both [events]; ``starts`` is [sessions + 1], ``users`` [sessions] are numbers.
    """

    items: Ints
    times: Ints
    starts: Ints
    users: Ints

    def __len__(self) -> int:
        return len(self.users)

    @property
    def lengths(self) -> Ints:
        return np.diff(self.starts)

    @property
    def owner(self) -> Ints:
        """[events] the session of each event."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def pick(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Sessions:
        """Some of the sessions, by number or by mask."""
        numbers = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        lengths = self.lengths[numbers]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        events = np.repeat(self.starts[numbers] - starts[:-1], lengths) + np.arange(starts[-1])
        return Sessions(self.items[events], self.times[events], starts, self.users[numbers])

    def keep(self, events: NDArray[np.bool_]) -> Sessions:
        """Only the events of a mask [events]; sessions that are left without any are gone."""
        lengths = np.bincount(self.owner[events], minlength=len(self))
        starts = np.concatenate([[0], np.cumsum(lengths[lengths > 0])]).astype(np.int64)
        return Sessions(self.items[events], self.times[events], starts, self.users[lengths > 0])

    def with_rows(self, rows: Ints) -> Sessions:
        """The items' numbers replaced by ``rows[number]``."""
        return replace(self, items=rows[self.items])

    def trained(self) -> Trained:
        """The time range and the number of events, as the manifest says them."""
        return Trained(int(self.times.min()), int(self.times.max()), len(self.times))


def sessions_of(log: Log) -> Sessions:
    """The log's sessions in order of their last events, as workers ask with them.

    Unless the log's ``repeats`` count, an item that follows itself is left out: no list then holds the item that the user is on.
    """
    order = np.lexsort((np.arange(len(log)), log.sessions))
    starts = np.flatnonzero(np.diff(log.sessions[order], prepend=-1))
    found = Sessions(
        log.items[order], log.times[order], np.append(starts, len(log)).astype(np.int64), log.users[order[starts]]
    )
    if not log.repeats:
        again = np.diff(found.items, prepend=-1) == 0
        again[found.starts[:-1]] = False
        found = found.keep(~again)
    return found.pick(np.argsort(found.times[found.starts[1:] - 1], kind="stable"))


def joined(first: Sessions, second: Sessions) -> Sessions:
    """The sessions of both, one set after the other."""
    return Sessions(
        np.concatenate([first.items, second.items]),
        np.concatenate([first.times, second.times]),
        np.concatenate([first.starts, second.starts[1:] + first.starts[-1]]),
        np.concatenate([first.users, second.users]),
    )


def split(sessions: Sessions, since_ms: int) -> tuple[Sessions, Sessions]:
    """What was known before ``since_ms``, and the sessions with events from then on.

    A session across the boundary is in both: its early events teach, and in the second part they are the context of
    its later ones. Only targets from ``since_ms`` on are judged (`offline.evaluate`).
    """
    before = sessions.keep(sessions.times < since_ms)
    last = sessions.times[sessions.starts[1:] - 1]
    return before, sessions.pick(last >= since_ms)


def boundary(sessions: Sessions, share: float) -> int:
    """The time (ms) from which on the newest ``share`` of the events happened."""
    if not 0 < share < 1:
        raise InputError("a share between 0 and 1", str(share), "hold out 0.1, say")
    ordered = np.sort(sessions.times)
    at = int(ordered[min(len(ordered) - 1, int(len(ordered) * (1 - share)))])
    if at == ordered[0]:
        raise InputError(
            "events before the newest window", f"all {len(ordered)} at {at} or later", "train on a longer log"
        )
    return at


def refuse_leakage(trained: Trained, since_ms: int) -> None:
    """Raise InputError when something was learned from the time that is to be tested."""
    if trained.to_ms >= since_ms:
        raise InputError(
            f"training events before {since_ms}, where the test begins",
            f"some until {trained.to_ms}",
            "train on earlier events, or test on later ones",
        )


@dataclass(frozen=True)
class Vocabulary:
    """``ids`` in row order; ``rows`` [items of the log] is the row of each of the log's item numbers, -1 for none."""

    ids: list[str]
    rows: Ints


def vocabulary(log: Log, learned: Sessions, first: Sequence[str] = (), min_count: int = 1) -> Vocabulary:
    """Rows for the items that ``learned`` holds at least ``min_count`` times; ``first`` (a live version's ids) keep theirs."""
    counts = np.bincount(learned.items, minlength=len(log.item_ids))
    ids = list(first)
    known = {item: row for row, item in enumerate(ids)}
    rows = np.full(len(log.item_ids), -1, np.int64)
    for number, item in enumerate(log.item_ids):
        row = known.get(item)
        if row is None and counts[number] >= min_count:
            row = len(ids)
            ids.append(item)
        rows[number] = -1 if row is None else row
    return Vocabulary(ids, rows)


@dataclass(frozen=True)
class Batch:
    """Sessions side by side, left-aligned: ``items``, ``targets`` [sessions, length] rows (0 where there is none), ``mask``
    True where an event and its successor are. ``users`` [sessions], ``old`` [sessions]: an exemplar of the past.
    """

    items: Ints
    targets: Ints
    mask: NDArray[np.bool_]
    users: Ints
    old: NDArray[np.bool_]

    @property
    def events(self) -> int:
        return int(self.mask.sum())


def pieces(sessions: Sessions, length: int) -> tuple[Ints, Ints, Ints]:
    """Start, number of inputs (at most ``length``) and session of every piece of the sessions of two events or more."""
    steps = np.maximum(sessions.lengths - 1, 0)
    count = -(-steps // length)
    session = np.repeat(np.arange(len(sessions)), count)
    number = np.arange(len(session)) - np.repeat(np.cumsum(count) - count, count)
    start = sessions.starts[session] + number * length
    return start, np.minimum(steps[session] - number * length, length), session


def batches(
    sessions: Sessions, tokens: int, length: int, rng: np.random.Generator, old: NDArray[np.bool_] | None = None
) -> list[Batch]:
    """One epoch in random order; each batch has about ``tokens`` places and sessions of like length."""
    return list(_batches(sessions, tokens, length, rng, old))


def _batches(
    sessions: Sessions, tokens: int, length: int, rng: np.random.Generator, old: NDArray[np.bool_] | None
) -> Iterator[Batch]:
    start, steps, session = pieces(sessions, length)
    order = np.argsort(
        rng.random(len(steps)) - steps, kind="stable"
    )  # longest first, shuffled among those of one length
    groups, place = [], 0
    while place < len(order):
        size = max(1, tokens // int(steps[order[place]]))
        groups.append(order[place : place + size])
        place += size
    for g in rng.permutation(len(groups)):
        chosen = groups[g]
        width = int(steps[chosen].max())
        mask = np.arange(width) < steps[chosen, None]
        at = np.where(mask, start[chosen, None] + np.arange(width), 0)
        items, targets = np.where(mask, sessions.items[at], 0), np.where(mask, sessions.items[at + mask], 0)
        past = np.zeros(len(chosen), bool) if old is None else old[session[chosen]]
        yield Batch(items, targets, mask, sessions.users[session[chosen]], past)


class Negatives:
    """Rows drawn with probability proportional to count^alpha (word2vec; Mikolov et al. 2013); alpha 0 is uniform."""

    def __init__(self, counts: Ints, alpha: float) -> None:
        weights = np.power(np.maximum(counts, 1), alpha, dtype=np.float64)
        self.probability: NDArray[np.float64] = weights / weights.sum()
        self._cumulated = np.cumsum(self.probability)

    def draw(self, n: int, rng: np.random.Generator) -> Ints:
        """``n`` rows, with replacement."""
        drawn: Ints = np.searchsorted(self._cumulated, rng.random(n) * self._cumulated[-1], side="right")
        return drawn
