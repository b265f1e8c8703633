"""Incremental factorisation of what comes next, for positive-only feedback.

A user at one moment is the user's own vector plus the vectors of the items that the user was on last, faded by place:
factored item similarity (Kabbur et al., "FISM", KDD 2013) beside plain factors, so that a new user has a vector from the first
click on. So it is under the loss ``softmax``; under the classical ones (`losses`) a user is the own vector alone.

The user's vector belongs to the user. A step is *proposed* from it by the worker that owns the user, and *applied* by every worker.
Steps are whole multiples of 2**-16, and so are factors: additions are exact and commute to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from ._kernels import insert_top
from ._queue import Queue
from .base import Arrays, FloatArray, IntArray, Observation, Query, remapped
from .errors import InputError, SettingsError
from .losses import G_UNIT, GRID, LIMIT, LOSSES, Loss, dot, isgd, mix, moment_of, places_of, softmax

Steps = npt.NDArray[np.int16]


@njit(cache=True)
def _init(vectors: Any, row: int, seed: Any, scale: float) -> None:
    """A start that depends on the item's id alone: sums of four uniforms, near enough to a normal, on the grid."""
    state = np.uint64(seed)
    for j in range(vectors.shape[1]):
        state = mix(state)
        total = 0.0
        for part in range(4):
            total += ((state >> np.uint64(16 * part)) & np.uint64(0xFFFF)) / 65536.0 - 0.5
        vectors[row, j] = np.float32(np.rint(total * 1.732 * scale * 65536.0)) * GRID


@njit(cache=True)
def _apply(vectors: Any, squares: Any, rows: Any, steps: Any) -> None:
    d = vectors.shape[1]
    for i in range(rows.shape[0]):
        row = rows[i]
        for j in range(d):
            v = vectors[row, j] + np.float32(steps[i, j]) * GRID
            vectors[row, j] = min(max(v, -LIMIT), LIMIT)
        g = steps[i, d] * G_UNIT
        squares[row] += g * g


@njit(cache=True)
def add_step(vector: Any, step: Any) -> None:
    """Add one user step, in place."""
    for j in range(vector.shape[0]):
        vector[j] += np.float32(step[j]) * GRID


@njit(cache=True)
def _scan(vectors: Any, user: Any, active: Any, blocked: Any, near_one: bool, items: Any, scores: Any) -> int:
    """The best of ``active`` by p·q, or by how near it is to 1: beyond it, a squared error ranks lower again."""
    n = 0
    k = items.shape[0]
    for a in range(active.shape[0]):
        row = active[a]
        if blocked[row] == 0:
            s = dot(user, vectors[row])
            if near_one:
                s = -abs(np.float32(1.0) - s)
            if n < k or s >= scores[k - 1]:
                n = insert_top(items, scores, n, k, row, s)
    return n


class MatrixFactorization:
    """Factors of ``dims`` numbers; the ``last`` items of the user are part of the user's vector, each ``fade`` times the one after.

    ``negatives`` items stand against each positive: under ``softmax`` drawn from the latest ``window`` events, under
    ``isgd-negatives`` those seen longest ago. Candidates come from the ``scan`` items seen last, so the cost of a request does
    not grow with the catalogue. ``lr`` is the rate of item rows (under ``softmax`` the first one), ``user_lr`` the rate of
    users' own vectors, ``reg`` the decay of what is stepped. ``last``, ``fade`` and ``window`` are of ``softmax`` alone.
    """

    def __init__(
        self, name: str = "mf", dims: int = 64, lr: float = 0.3, user_lr: float = 0.1, reg: float = 0.01, last: int = 5, fade: float = 0.6,
        negatives: int = 8, window: int = 10_000, scan: int = 4_096, init: float = 0.1, seed: int = 0,
        loss: Loss = "softmax",
    ) -> None:  # fmt: skip
        if loss not in LOSSES:
            raise SettingsError(f"one of {', '.join(LOSSES)} as the loss", repr(loss), "correct it")
        self.loss = loss
        self.queue = Queue(negatives) if loss == "isgd-negatives" else None
        if loss != "softmax":
            last = 0
        self.lists = (name,)
        self.dims, self.lr, self.user_lr, self.reg, self.last, self.fade = dims, lr, user_lr, reg, last, fade
        self.negatives, self.scan, self.init, self.seed = negatives, scan, init, seed
        self.vectors: FloatArray = np.zeros((64, dims), np.float32)
        self.squares: npt.NDArray[np.float64] = np.zeros(64, np.float64)
        self.last_seen = np.full(64, -1, np.int64)
        self.ring = np.zeros(window, np.int32)
        self.clock = np.zeros(2, np.int64)  # events learned, rows known
        self.active: IntArray = np.zeros(0, np.int32)
        self._now: FloatArray = np.zeros(dims, np.float32)
        self._rows = np.zeros(negatives + 1 + last, np.int32)
        self._steps: Steps = np.zeros((negatives + 1 + last, dims + 1), np.int16)
        self._user: Steps = np.zeros(dims, np.int16)

    def know(self, row: int, id_hash: int) -> None:
        """A new item: its vector starts from its id, the same on every worker."""
        if row >= len(self.vectors):
            size = max(row + 1, 2 * len(self.vectors))
            more = size - len(self.vectors)
            self.vectors = np.concatenate([self.vectors, np.zeros((more, self.dims), np.float32)])
            self.squares = np.concatenate([self.squares, np.zeros(more)])
            self.last_seen = np.concatenate([self.last_seen, np.full(more, -1, np.int64)])
        _init(self.vectors, row, np.uint64((id_hash ^ self.seed) & 0xFFFFFFFFFFFFFFFF), self.init)
        self.squares[row] = 0.0
        self.clock[1] = max(int(self.clock[1]), row + 1)
        if row < self.scan:
            self.active = np.arange(row + 1, dtype=np.int32)

    def propose(self, vector: FloatArray, recent: IntArray, item: int, event: int) -> tuple[IntArray, Steps, Steps]:
        """The step that this positive asks for: rows [n], their steps [n, dims + 1], the user's step [dims]; int16, unit 2**-16.

        The last column of a row's step is the size of its gradient, unit 2**-12. ``recent`` are the user's items before
        it, latest first. Changes nothing. Negatives are a function of what was learned, the seed and ``event`` (a 64-bit hash).
        """
        if self.loss == "softmax":
            n_ring = min(int(self.clock[0]), len(self.ring))
            n = softmax(
                self.vectors, self.squares, vector, recent[: self.last], self.fade, item, self.ring, n_ring,
                self.negatives if n_ring else 0, np.uint64(event ^ self.seed), self.lr, self.user_lr, self.reg,
                self._rows, self._steps, self._user,
            )  # fmt: skip
        else:
            others = self.queue.front(item) if self.queue is not None else self._rows[:0]
            n = isgd(
                self.vectors, vector, item, others, self.lr, self.user_lr, self.reg, self._rows, self._steps, self._user
            )
        return self._rows[:n].copy(), self._steps[:n].copy(), self._user.copy()

    def unpack(self, n: int, data: bytes) -> Steps:
        """The steps [n, dims + 1] that `propose` made, from their bytes. Raises InputError if they are of another shape."""
        if len(data) != 2 * n * (self.dims + 1):
            raise InputError(
                f"{n} steps of {self.dims} dims", f"{len(data)} bytes", "run all workers with the same settings"
            )
        return np.frombuffer(data, np.int16).reshape(n, self.dims + 1)

    def apply(self, rows: IntArray, steps: Steps) -> None:
        """Add steps to item vectors. Any order of any applications gives the same bits (within the limit of ±127)."""
        _apply(self.vectors, self.squares, rows, steps)

    def moment(self, vector: FloatArray, recent: IntArray) -> FloatArray:
        """The user as of now [dims], from the user's own vector and latest items; overwritten by the next call."""
        recent = recent[: self.last]
        places = np.empty(len(recent), np.float32)
        places_of(len(recent), self.fade, places)
        moment_of(self.vectors, vector, recent, places, self._now)
        return self._now

    def learn_one(self, o: Observation) -> None:
        """Note the item among the latest. Factors change through `apply` alone."""
        if o.weight <= 0.0:
            return
        n = int(self.clock[0])
        self.ring[n % len(self.ring)] = o.item
        self.last_seen[o.item] = n
        self.clock[0] = n + 1
        if self.queue is not None:
            self.queue.touch(o.item)
        if (n & 511) == 511 and int(self.clock[1]) > self.scan:
            seen = self.last_seen[: int(self.clock[1])]
            self.active = np.sort(np.argpartition(seen, len(seen) - self.scan)[-self.scan :]).astype(np.int32)

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        if q.n_events == 0:
            counts[0] = 0
            return
        user = self.moment(q.vector, q.recent)
        counts[0] = _scan(self.vectors, user, self.active, q.blocked, self.loss != "softmax", items[0], scores[0])

    _FIELDS = ("vectors", "squares", "last_seen", "ring", "clock", "active")

    def snapshot(self) -> Arrays:
        own = self.queue.snapshot() if self.queue is not None else {}
        known = int(self.clock[1])  # rows beyond it are room to grow
        rows = {"vectors": self.vectors[:known], "squares": self.squares[:known], "last_seen": self.last_seen[:known]}
        return {f: getattr(self, f) for f in self._FIELDS} | rows | own

    def restore(self, state: Arrays) -> None:
        for field in self._FIELDS:
            setattr(self, field, state[field].copy())
        if self.queue is not None:
            self.queue.restore(state)

    def remap(self, new_index: IntArray) -> None:
        known = int(self.clock[1])
        old = np.flatnonzero(new_index[:known] >= 0)
        vectors = np.zeros_like(self.vectors)
        vectors[new_index[old]] = self.vectors[old]
        self.vectors = vectors
        self.squares = remapped(self.squares, new_index)
        self.last_seen = remapped(self.last_seen, new_index, -1)
        moved = new_index[self.ring]
        self.ring = np.where(moved >= 0, moved, moved.max(initial=0)).astype(np.int32)
        active = new_index[self.active]
        self.active = np.sort(active[active >= 0]).astype(np.int32)
        if self.queue is not None:
            self.queue.remap(new_index)
        self.clock[1] = int(new_index.max(initial=-1)) + 1

    @property
    def nbytes(self) -> int:
        queue = self.queue.nbytes if self.queue is not None else 0
        return self.vectors.nbytes + self.squares.nbytes + self.last_seen.nbytes + self.ring.nbytes + queue
