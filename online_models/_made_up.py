"""A small made-up log for the contract checks, and how a source is fed with it.

Users walk over neighbouring items, rate some of them, and come back in sessions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .base import OWN, RATED, FloatArray, IntArray, Observation, Query, Scratch, Source
from .items import hash_id

Builder = Callable[[], Source]

ITEMS = 48
"""Rows of the item table in which a world takes place, unless it is told otherwise."""
_RECENT = 10
_MARGIN = 4096


class GuardedScratch(Scratch):
    """Work arrays with a margin behind each, so that a kernel that runs past their end is seen."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.reserve(items)
        self._whole: list[npt.NDArray[Any]] = []
        self.acc, self.mark, self.touched = map(self._guarded, (self.acc, self.mark, self.touched))

    def _guarded(self, a: npt.NDArray[Any]) -> npt.NDArray[Any]:
        self._whole.append(np.concatenate([a, np.full(_MARGIN, 77, a.dtype)]))
        return self._whole[-1][:-_MARGIN]

    def found_amiss(self) -> str:
        """What a kernel has left behind; empty if nothing."""
        if self.acc.any() or self.mark.any():
            return "acc or mark that is not zero"
        return "" if all((a[-_MARGIN:] == 77).all() for a in self._whole) else "numbers behind the end of an array"


class World:
    """A log over the given ``rows``, the same for the same arguments. ``users`` at a time; ``leave`` is the chance that
    one is replaced by a new one."""

    def __init__(
        self, rows: Iterable[int] = range(ITEMS), users: int = 12, seed: int = 0, n_items: int = ITEMS, leave: float = 0.0
    ) -> None:  # fmt: skip
        self.rows, self.n_items, self.leave = list(rows), n_items, leave
        self._rng = random.Random(seed)
        self._next_user = seed << 32
        self.now = 1_600_000_000_000
        self.scratch = GuardedScratch(n_items)
        self._users = [self._new() for _ in range(users)]

    def _new(self) -> _User:
        self._next_user += 1
        # spread over 64 bits, as hashes are
        return _User(self._next_user * 0x9E3779B97F4A7C15 & (1 << 64) - 1, self._rng.randrange(len(self.rows)))

    def observations(self, n: int) -> list[Observation]:
        """The next ``n`` of the log."""
        return [self._step() for _ in range(n)]

    def _step(self) -> Observation:
        rng = self._rng
        self.now += rng.choice((0, 500, 2_000, 60_000, 900_000))
        at = rng.randrange(len(self._users))
        if rng.random() < self.leave:
            self._users[at] = self._new()
        user = self._users[at]
        if self.now - user.last > 1_800_000:
            user.session, user.in_session, user.session_seq = user.hash ^ self.now, 0, user.n
        user.place = (user.place + rng.choice((0, 1, 1, 1, 2, 5))) % len(self.rows)
        row = self.rows[user.place]
        value = float(rng.randint(1, 5)) if rng.random() < 0.3 else None
        weight = rng.choice((1.0, 1.0, 1.0, 3.0, 0.0))
        history, ages = user.recent(self.now)
        o = Observation(
            row, weight, self.now, user.hash, user.session, history, ages, user.in_session, rng.getrandbits(64), value,
            value is not None, history[: user.in_session][::-1],
        )  # fmt: skip
        user.visit(row, weight, self.now, RATED if o.rated else 0)
        return o

    def queries(self, dims: int) -> list[Query]:
        """A request of every user of now, with a few rows blocked, and of one who has never been seen."""
        found = [self.query(user, dims) for user in self._users]
        return [*found, self.query(_User(12345, 0), dims)]

    def query(self, user: _User, dims: int) -> Query:
        """A request of this user; the rows blocked and the vector are functions of the user."""
        rng = np.random.default_rng(user.hash)
        recent, ages = user.recent(self.now)
        blocked = (rng.random(self.n_items) < 0.1).astype(np.uint8)
        vector: FloatArray = np.rint(rng.normal(0, 0.1, dims) * 65536).astype(np.float32) / np.float32(65536)
        own = np.array([(row, *numbers) for row, numbers in user.own.items()], OWN)
        return Query(
            self.now, own, recent, ages, blocked, vector, self.n_items, user.hash, user.session, user.session_seq, user.n, self.scratch
        )  # fmt: skip


class _User:
    def __init__(self, hashed: int, place: int) -> None:
        self.hash = self.session = hashed
        self.place, self.last, self.n, self.in_session, self.session_seq = place, 0, 0, 0, 0
        self.own: dict[int, tuple[int, int, int, int, int]] = {}

    def recent(self, now: int) -> tuple[IntArray, npt.NDArray[np.int64]]:
        rows = list(self.own)[::-1][:_RECENT]
        return np.array(rows, np.int32), np.array([now - self.own[r][4] for r in rows], np.int64)

    def visit(self, row: int, weight: float, now: int, flags: int) -> None:
        if weight > 0.0:
            count, _, had, first, _ = self.own.pop(row, (0, 0, 0, now, now))
            self.own[row] = (count + 1, self.n, had | flags, first, now)
        self.n, self.in_session, self.last = self.n + 1, self.in_session + 1, now


def know(source: Source, rows: Iterable[int]) -> None:
    """Tell a source that starts from ids of new rows."""
    tell: Callable[[int, int], None] | None = getattr(source, "know", None)
    if tell is not None:
        for row in rows:
            tell(row, hash_id(f"item {row}"))


def made(build: Builder, items: int = ITEMS) -> Source:
    """A fresh source before the first event of a table of ``items``."""
    source = build()
    know(source, range(items))
    return source


def dims(source: Source) -> int:
    """Length of the user vector that a source goes by."""
    return int(getattr(source, "dims", 16))


def feed(source: Source, observations: Iterable[Observation]) -> None:
    """Learn them all."""
    for o in observations:
        source.learn_one(o)


def compaction(gone: Iterable[int]) -> IntArray:
    """Where every row of the table goes when these go; the others close up."""
    stays = np.ones(ITEMS, bool)
    stays[list(gone)] = False
    return np.where(stays, np.cumsum(stays) - 1, -1).astype(np.int32)


def moved(q: Query, new_index: IntArray) -> Query:
    """The same request after a compaction of the item table."""
    kept = new_index[q.recent] >= 0
    own = q.own[new_index[q.own["item"]] >= 0].copy()
    own["item"] = new_index[own["item"]]
    n = int(new_index.max(initial=-1)) + 1
    blocked = np.zeros_like(q.blocked)
    blocked[new_index[new_index >= 0]] = q.blocked[new_index >= 0]
    return Query(
        q.timestamp, own, new_index[q.recent][kept], q.recent_ages[kept], blocked, q.vector, n, q.user, q.session, q.session_seq,
        q.n_events, q.scratch,
    )  # fmt: skip
