"""Incremental matrix factorisation for positive-only feedback.

Two losses of one model: ``isgd`` (squared error to 1 on the item alone: Vinagre et al., "Fast incremental matrix
factorization for recommendation with positive-only feedback", UMAP 2014) and ``bpr`` (pairwise logistic: Rendle et al., UAI
2009) against items drawn from the latest events, the recency-based choice of negatives of Vinagre et al., SAC 2015.

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

GRID = np.float32(2.0**-16)
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
def _dot(a: Any, b: Any) -> float:
    s = np.float32(0.0)
    for j in range(a.shape[0]):
        s += a[j] * b[j]
    return s


@njit(cache=True)
def _round(x: float) -> int:
    v = np.rint(x * 65536.0)
    return int(min(max(v, -32767.0), 32767.0))


@njit(cache=True)
def _propose(
    vectors: Any, user: Any, item: int, ring: Any, n_ring: int, draws: int, seed: Any, lr: float, reg: float, bpr: bool, rows: Any,
    steps: Any, user_step: Any,
) -> int:  # fmt: skip
    d = vectors.shape[1]
    rows[0] = item
    total_item = np.zeros(d, np.float32)
    total_user = np.zeros(d, np.float32)
    n = 1
    positive = _dot(user, vectors[item])
    if bpr:
        state = np.uint64(seed)
        for _ in range(draws):
            state = _mix(state)
            other = ring[np.int64(state % np.uint64(n_ring))]
            if other == item:
                continue
            slope = np.float32(lr / (1.0 + np.exp(positive - _dot(user, vectors[other]))))
            for j in range(d):
                total_item[j] += slope * user[j]
                total_user[j] += slope * (vectors[item, j] - vectors[other, j])
                steps[n, j] = _round(-slope * user[j] - lr * reg * vectors[other, j])
            rows[n] = other
            n += 1
    else:
        slope = np.float32(lr * (1.0 - positive))
        for j in range(d):
            total_item[j] = slope * user[j]
            total_user[j] = slope * vectors[item, j]
    for j in range(d):
        steps[0, j] = _round(total_item[j] - lr * reg * vectors[item, j])
        user_step[j] = _round(total_user[j] - lr * reg * user[j])
    return n


@njit(cache=True)
def _apply(vectors: Any, rows: Any, steps: Any) -> None:
    for i in range(rows.shape[0]):
        for j in range(vectors.shape[1]):
            v = vectors[rows[i], j] + np.float32(steps[i, j]) * GRID
            vectors[rows[i], j] = min(max(v, -_LIMIT), _LIMIT)


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


@njit(cache=True)
def score_rows(vectors: Any, user: Any, rows: Any, out: Any) -> None:
    """Inner products of ``user`` with ``rows`` into ``out``."""
    for i in range(rows.shape[0]):
        out[i] = _dot(user, vectors[rows[i]])


class MatrixFactorization:
    """Incremental MF with ``dims`` factors.

    ``negatives`` items out of the latest ``window`` events stand against each positive (``bpr``). Candidates come from
    the ``scan`` items seen last, so the cost of a request does not grow with the catalogue.
    """

    def __init__(
        self, name: str = "mf", dims: int = 64, lr: float = 0.2, reg: float = 0.02, loss: str = "bpr", negatives: int = 4,
        window: int = 5_000, scan: int = 4_096, init: float = 0.1, seed: int = 0,
    ) -> None:  # fmt: skip
        if loss not in ("bpr", "isgd"):
            raise ValueError(f"expected loss 'bpr' or 'isgd', got {loss!r}; correct the setting")
        self.lists = (name,)
        self.dims, self.lr, self.reg, self.loss = dims, lr, reg, loss
        self.negatives, self.scan, self.init, self.seed = negatives, scan, init, seed
        self.vectors: FloatArray = np.zeros((64, dims), np.float32)
        self.last_seen = np.full(64, -1, np.int64)
        self.ring = np.zeros(window, np.int32)
        self.clock = np.zeros(2, np.int64)  # events learned, rows known
        self.active: IntArray = np.zeros(0, np.int32)
        self._rows = np.zeros(negatives + 1, np.int32)
        self._steps: Steps = np.zeros((negatives + 1, dims), np.int16)
        self._user: Steps = np.zeros(dims, np.int16)

    def know(self, row: int, id_hash: int) -> None:
        """A new item: its vector starts from its id, the same on every worker."""
        if row >= len(self.vectors):
            size = max(row + 1, 2 * len(self.vectors))
            more = size - len(self.vectors)
            self.vectors = np.concatenate([self.vectors, np.zeros((more, self.dims), np.float32)])
            self.last_seen = np.concatenate([self.last_seen, np.full(more, -1, np.int64)])
        _init(self.vectors, row, np.uint64((id_hash ^ self.seed) & 0xFFFFFFFFFFFFFFFF), self.init)
        self.clock[1] = max(int(self.clock[1]), row + 1)
        if row < self.scan:
            self.active = np.arange(row + 1, dtype=np.int32)

    def propose(self, vector: FloatArray, item: int, event: int) -> tuple[IntArray, Steps, Steps]:
        """The step that this positive asks for: rows [n], their steps [n, dims], the user's step [dims]; int16, unit 2**-16.

        Changes nothing. The draw of negatives is a function of the seed and ``event`` (a 64-bit hash).
        """
        n_ring = min(int(self.clock[0]), len(self.ring))
        n = _propose(
            self.vectors, vector, item, self.ring, n_ring, self.negatives if n_ring else 0, np.uint64(event ^ self.seed), self.lr, self.reg,
            self.loss == "bpr", self._rows, self._steps, self._user,
        )  # fmt: skip
        return self._rows[:n].copy(), self._steps[:n].copy(), self._user.copy()

    def apply(self, rows: IntArray, steps: Steps) -> None:
        """Add steps to item vectors. Any order of any applications gives the same bits (within the limit of ±127)."""
        _apply(self.vectors, rows, steps)

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
        counts[0] = _scan(self.vectors, q.vector, self.active, q.blocked, items[0], scores[0]) if q.vector.any() else 0

    _FIELDS = ("vectors", "last_seen", "ring", "clock", "active")

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
        self.last_seen = remapped(self.last_seen, new_index, -1)
        moved = new_index[self.ring]
        self.ring = np.where(moved >= 0, moved, moved.max(initial=0)).astype(np.int32)
        active = new_index[self.active]
        self.active = np.sort(active[active >= 0]).astype(np.int32)
        self.clock[1] = int(new_index.max(initial=-1)) + 1

    @property
    def nbytes(self) -> int:
        return self.vectors.nbytes + self.last_seen.nbytes + self.ring.nbytes

