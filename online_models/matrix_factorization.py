"""Incremental factorisation of what comes next, for positive-only feedback.

A user at one moment is the user's own vector plus the vectors of the items that the user was on last, faded by place:
factored item similarity (Kabbur et al., "FISM", KDD 2013) beside plain factors, so that a new user has a vector from the first
click on. The loss is softmax over the item that came and a few items drawn from the latest events (negatives by recency:
Vinagre et al., SAC 2015). Each item row has an Adagrad sum of its own (Duchi et al., JMLR 2011).

The user's vector belongs to the user. A step is *proposed* from it by the worker that owns the user, and *applied* by every worker.
Steps are whole multiples of 2**-16, and so are factors: additions are exact and commute to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from ._kernels import insert_top
from .base import Arrays, FloatArray, IntArray, Observation, Query, remapped

W_UNIT, G_UNIT = 2.0**-16, 2.0**-12
GRID = np.float32(W_UNIT)
SUPPORT = 0.05
"""Sum of squared gradients at which a row's rate has fallen to 0.7 of the first."""
_LITTLE = np.float32(1e-3)
"""A negative whose probability is below this is not worth a step."""
_LIMIT = 127.0
"""Factors stay within ±127, where multiples of the grid are exact in float32."""

Steps = npt.NDArray[np.int16]


@njit(cache=True)
def _mix(x: Any) -> Any:
    """splitmix64: the next well-mixed 64-bit number."""
    x = (x + np.uint64(0x9E3779B97F4A7C15)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True)
def _init(vectors: Any, row: int, seed: Any, scale: float) -> None:
    """A start that depends on the item's id alone: sums of four uniforms, near enough to a normal, on the grid."""
    state = np.uint64(seed)
    for j in range(vectors.shape[1]):
        state = _mix(state)
        total = 0.0
        for part in range(4):
            total += ((state >> np.uint64(16 * part)) & np.uint64(0xFFFF)) / 65536.0 - 0.5
        vectors[row, j] = np.float32(np.rint(total * 1.732 * scale * 65536.0)) * GRID


@njit(cache=True, fastmath=True)
def _dot(a: Any, b: Any) -> Any:
    s = np.float32(0.0)
    for j in range(a.shape[0]):
        s += a[j] * b[j]
    return s


@njit(cache=True)
def _round(x: float, unit: float) -> int:
    v = np.rint(x / unit)
    return int(min(max(v, -32767.0), 32767.0))


@njit(cache=True)
def _places(n: int, fade: float, out: Any) -> None:
    """Weights of the last ``n`` items, latest first: fade**r over the root of their sum."""
    total = 0.0
    w = 1.0
    for r in range(n):
        out[r] = w
        total += w
        w *= fade
    for r in range(n):
        out[r] /= np.sqrt(total)


@njit(cache=True)
def _moment(vectors: Any, user: Any, recent: Any, places: Any, out: Any) -> None:
    """The user as of now: own vector plus the latest items'."""
    for j in range(out.shape[0]):
        out[j] = user[j]
    for r in range(places.shape[0]):
        for j in range(out.shape[0]):
            out[j] += places[r] * vectors[recent[r], j]


@njit(cache=True)
def _row_step(
    vectors: Any, squares: Any, row: int, scale: float, along: Any, size: float, lr: float, reg: float, out: Any
) -> None:
    """The step of one item row against the gradient ``-scale * along``; ``size`` is the root mean square of ``along``."""
    d = along.shape[0]
    out[d] = _round(abs(scale) * size, G_UNIT)
    g = out[d] * G_UNIT
    rate = lr / np.sqrt(1.0 + (squares[row] + g * g) / SUPPORT)
    for j in range(d):
        out[j] = _round(rate * (scale * along[j] - reg * vectors[row, j]), W_UNIT)


@njit(cache=True)
def _rms(a: Any) -> float:
    s = 0.0
    for j in range(a.shape[0]):
        s += a[j] * a[j]
    return np.sqrt(s / a.shape[0])


@njit(cache=True)
def _propose(
    vectors: Any, squares: Any, user: Any, recent: Any, fade: float, item: int, ring: Any, n_ring: int, draws: int, seed: Any, lr: float,
    user_lr: float, reg: float, rows: Any, steps: Any, user_step: Any,
) -> int:  # fmt: skip
    d = vectors.shape[1]
    now, g = np.empty(d, np.float32), np.empty(d, np.float32)
    places = np.empty(recent.shape[0], np.float32)
    _places(recent.shape[0], fade, places)
    _moment(vectors, user, recent, places, now)
    rows[0] = item
    p = np.empty(draws + 1, np.float32)
    p[0] = best = _dot(now, vectors[item])
    n = 1
    state = np.uint64(seed)
    for _ in range(draws):
        state = _mix(state)
        other = ring[np.int64(state % np.uint64(n_ring))]
        if other != item:
            rows[n] = other
            p[n] = _dot(now, vectors[other])
            best = max(best, p[n])
            n += 1
    total = np.float32(0.0)
    for i in range(n):
        p[i] = np.exp(p[i] - best)
        total += p[i]
    size = _rms(now)
    g[:] = 0.0
    kept = 0
    for i in range(n):
        slope = (np.float32(1.0) if i == 0 else np.float32(0.0)) - p[i] / total
        row = rows[i]
        for j in range(d):
            g[j] += slope * vectors[row, j]
        if i == 0 or slope < -_LITTLE:
            rows[kept] = row
            _row_step(vectors, squares, row, slope, now, size, lr, reg if i == 0 else 0.0, steps[kept])
            kept += 1
    size = _rms(g)
    for r in range(recent.shape[0]):
        rows[kept] = recent[r]
        _row_step(vectors, squares, recent[r], places[r], g, size, lr, reg * places[r], steps[kept])
        kept += 1
    for j in range(d):
        user_step[j] = _round(user_lr * (g[j] - reg * user[j]), W_UNIT)
    return kept


@njit(cache=True)
def _apply(vectors: Any, squares: Any, rows: Any, steps: Any) -> None:
    d = vectors.shape[1]
    for i in range(rows.shape[0]):
        row = rows[i]
        for j in range(d):
            v = vectors[row, j] + np.float32(steps[i, j]) * GRID
            vectors[row, j] = min(max(v, -_LIMIT), _LIMIT)
        g = steps[i, d] * G_UNIT
        squares[row] += g * g


@njit(cache=True)
def add_step(vector: Any, step: Any) -> None:
    """Add one user step, in place."""
    for j in range(vector.shape[0]):
        vector[j] += np.float32(step[j]) * GRID


@njit(cache=True)
def _scan(vectors: Any, user: Any, active: Any, blocked: Any, items: Any, scores: Any) -> int:
    n = 0
    k = items.shape[0]
    for a in range(active.shape[0]):
        row = active[a]
        if blocked[row] == 0:
            s = _dot(user, vectors[row])
            if n < k or s >= scores[k - 1]:
                n = insert_top(items, scores, n, k, row, s)
    return n


class MatrixFactorization:
    """Factors of ``dims`` numbers; the ``last`` items of the user are part of the user's vector, each ``fade`` times the one after.

    ``negatives`` items out of the latest ``window`` events stand against each positive. Candidates come from the ``scan``
    items seen last, so the cost of a request does not grow with the catalogue. ``lr`` is the first rate of an item row,
    ``user_lr`` the rate of users' own vectors, ``reg`` the decay of what is stepped.
    """

    def __init__(
        self, name: str = "mf", dims: int = 64, lr: float = 0.3, user_lr: float = 0.1, reg: float = 0.01, last: int = 5, fade: float = 0.6,
        negatives: int = 8, window: int = 10_000, scan: int = 4_096, init: float = 0.1, seed: int = 0,
    ) -> None:  # fmt: skip
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
        it, latest first. Changes nothing. The draw of negatives is a function of the seed and ``event`` (a 64-bit hash).
        """
        n_ring = min(int(self.clock[0]), len(self.ring))
        n = _propose(
            self.vectors, self.squares, vector, recent[: self.last], self.fade, item, self.ring, n_ring,
            self.negatives if n_ring else 0, np.uint64(event ^ self.seed), self.lr, self.user_lr, self.reg,
            self._rows, self._steps, self._user,
        )  # fmt: skip
        return self._rows[:n].copy(), self._steps[:n].copy(), self._user.copy()

    def apply(self, rows: IntArray, steps: Steps) -> None:
        """Add steps to item vectors. Any order of any applications gives the same bits (within the limit of ±127)."""
        _apply(self.vectors, self.squares, rows, steps)

    def moment(self, vector: FloatArray, recent: IntArray) -> FloatArray:
        """The user as of now [dims], from the user's own vector and latest items; overwritten by the next call."""
        recent = recent[: self.last]
        places = np.empty(len(recent), np.float32)
        _places(len(recent), self.fade, places)
        _moment(self.vectors, vector, recent, places, self._now)
        return self._now

    def learn_one(self, o: Observation) -> None:
        """Note the item among the latest. Factors change through `apply` alone."""
        if o.weight <= 0.0:
            return
        n = int(self.clock[0])
        self.ring[n % len(self.ring)] = o.item
        self.last_seen[o.item] = n
        self.clock[0] = n + 1
        if (n & 511) == 511 and int(self.clock[1]) > self.scan:
            seen = self.last_seen[: int(self.clock[1])]
            self.active = np.sort(np.argpartition(seen, len(seen) - self.scan)[-self.scan :]).astype(np.int32)

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        if q.n_events == 0:
            counts[0] = 0
            return
        user = self.moment(q.vector, q.recent)
        counts[0] = _scan(self.vectors, user, self.active, q.blocked, items[0], scores[0])

    _FIELDS = ("vectors", "squares", "last_seen", "ring", "clock", "active")

    def snapshot(self) -> Arrays:
        return {f: getattr(self, f) for f in self._FIELDS}

    def restore(self, state: Arrays) -> None:
        for field in self._FIELDS:
            setattr(self, field, state[field].copy())

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
        self.clock[1] = int(new_index.max(initial=-1)) + 1

    @property
    def nbytes(self) -> int:
        return self.vectors.nbytes + self.squares.nbytes + self.last_seen.nbytes + self.ring.nbytes
