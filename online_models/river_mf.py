"""Biased matrix factorisation of explicit ratings, learned by River.

``rating ≈ mean + user bias + item bias + ⟨user factors, item factors⟩`` (Paterek, KDD Cup 2007; Koren, Bell and
Volinsky, IEEE Computer 42(8), 2009), one step of gradient descent a rating. ``river.reco.BiasedMF`` does the learning.
This adapter adds what a server needs: scoring that changes nothing (River's ``predict_one`` makes an entry for every
stranger), caps, start factors that depend on the seed and the id alone, snapshots, and item factors in one array. River
updates vectors in place, so its item vectors are views of that array's rows and are never copied.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from river import optim, reco

from ._kernels import insert_top
from .base import Arrays, FloatArray, IntArray
from .errors import InputError, SnapshotError

_FORMAT = 1
_RANGE = 4.0
"""Ratings are learned in units in which the largest seen is at most this."""
_MAX_NORM, _MAX_BIAS = 2.0, 8.0
"""Bounds on a factor vector's length and on a bias, in the same units: ⟨u, i⟩ spans the range of ratings, no more."""
_GOLDEN, _MASK = 0x9E3779B97F4A7C15, 0xFFFFFFFFFFFFFFFF
_ENTRY_BYTES = 310
"""What Python's dicts and array headers take for one user or item, measured."""


def _score_rows(
    slot_of: Any, bias: Any, factors: Any, vector: Any, base: float, unit: float, items: Any, out: Any
) -> None:
    for i in range(items.shape[0]):
        row = items[i]
        slot = slot_of[row] if 0 <= row < slot_of.shape[0] else -1
        s = base
        if slot >= 0:
            s += bias[slot]
            for f in range(vector.shape[0]):
                s += factors[slot, f] * vector[f]
        out[i] = s * unit


def _best(items: Any, scores: Any, best_items: Any, best_scores: Any) -> None:
    n = 0
    for i in range(items.shape[0]):
        n = insert_top(best_items, best_scores, n, best_items.shape[0], items[i], scores[i])


_score_rows_fast, _best_fast = njit(cache=True)(_score_rows), njit(cache=True)(_best)


class RiverBiasedMF:
    """River's ``BiasedMF`` behind an interface of item rows and 64-bit user hashes.

    At most ``max_users`` users and ``max_items`` items are kept, the least recently rated forgotten first; rows are
    below ``max_row``. Ratings beyond ±``limit`` count as ±``limit``. ``lr`` and ``l2`` hold for biases and factors.

    >>> model = RiverBiasedMF(n_factors=4, lr=0.1)
    >>> for _ in range(20):
    ...     model.learn_one(user=1, item=0, value=5.0)
    ...     model.learn_one(user=1, item=1, value=2.0)
    >>> items, scores = model.recommend(1, k=2, among=np.array([1, 0], np.int32))
    >>> items.tolist(), bool(scores[0] > 4.0), bool(scores[1] < 3.0)
    ([0, 1], True, True)
    """

    def __init__(
        self, name: str = "river_mf", n_factors: int = 16, lr: float = 0.05, l2: float = 0.02, init: float = 0.1,
        limit: float = 100.0, max_users: int = 100_000, max_items: int = 100_000, max_row: int = 1 << 24, seed: int = 0,
    ) -> None:  # fmt: skip
        if n_factors < 2 or not 0.0 < lr <= 0.1 or not 0.0 <= l2 <= 1.0 or not 0.0 < limit < 1e100:
            raise InputError(
                "n_factors ≥ 2, 0 < lr ≤ 0.1 (above it steps overshoot), 0 ≤ l2 ≤ 1 and 0 < limit < 1e100",
                f"{n_factors}, {lr}, {l2} and {limit}", "correct the setting",
            )  # fmt: skip
        if min(max_users, max_items, max_row) < 1 or max_row > 1 << 31:
            raise InputError("caps of at least 1", f"{max_users}, {max_items}, {max_row}", "correct the setting")
        self.name, self.n_factors, self.lr, self.l2, self.init, self.limit = name, n_factors, lr, l2, init, limit
        self.max_users, self.max_items, self.max_row, self.seed = max_users, max_items, max_row, seed
        self._clear()

    def _clear(self) -> None:
        self._mf: Any = reco.BiasedMF(
            n_factors=self.n_factors, bias_optimizer=optim.SGD(self.lr), latent_optimizer=optim.SGD(self.lr),
            l2_bias=self.l2, l2_latent=self.l2, clip_gradient=2.0 * _RANGE, seed=self.seed,
        )  # fmt: skip
        self._unit = 1.0 / _RANGE
        self._users: OrderedDict[int, None] = OrderedDict()  # least recently rated first
        self._items: OrderedDict[int, int] = OrderedDict()  # row → slot, least recently rated first
        self._free: list[int] = []
        self._slot_of: IntArray = np.full(64, -1, np.int32)
        self._bias = np.zeros(self.max_items)
        self._factors = np.zeros((self.max_items, self.n_factors))  # pages are taken from the system only when written
        self._stranger = np.zeros(self.n_factors)

    # learning

    def learn_one(self, user: int, item: int, value: float) -> None:
        """Learn that ``user`` (64-bit hash) gave the item at row ``item`` the rating ``value``.

        Raises InputError if the rating is NaN or infinite, or if user or row are out of range.
        """
        user, item = int(user), int(item)
        if not math.isfinite(value):
            raise InputError("a finite rating", repr(value), "drop the event")
        if not 0 <= item < self.max_row:
            raise InputError(f"an item row from 0 to {self.max_row - 1}", str(item), "raise max_row")
        if not 0 <= user <= _MASK:
            raise InputError("an unsigned 64-bit user hash", str(user), "hash the user id")
        value = min(max(float(value), -self.limit), self.limit)
        if abs(value) > self._unit * _RANGE:
            self._widen(abs(value))
        mf = self._mf
        self._admit_user(user)
        slot = self._admit_item(item)
        mf.learn_one(user, item, value / self._unit)
        for vector in (mf.u_latents[user], mf.i_latents[item]):
            length = math.sqrt(vector.dot(vector))
            if length > _MAX_NORM:
                vector *= _MAX_NORM / length
        mf.u_biases[user] = min(max(mf.u_biases[user], -_MAX_BIAS), _MAX_BIAS)
        mf.i_biases[item] = self._bias[slot] = min(max(mf.i_biases[item], -_MAX_BIAS), _MAX_BIAS)

    def _widen(self, largest: float) -> None:
        """Learn in a larger unit from now on: gradients stay small whatever people rate in. No prediction moves."""
        mf = self._mf
        unit = 2.0 ** math.frexp(largest / _RANGE)[1]
        ratio = self._unit / unit  # a power of two: biases stay exact
        mf.global_mean._mean *= ratio
        for biases in (mf.u_biases, mf.i_biases):
            for key in biases:
                biases[key] *= ratio
        for vector in mf.u_latents.values():
            vector *= math.sqrt(ratio)
        self._bias *= ratio
        self._factors *= math.sqrt(ratio)
        self._unit = unit

    def _start(self, key: int, salt: int) -> npt.NDArray[np.float64]:
        """Start factors, a function of seed and id: the same whoever came before, and no generator to snapshot.

        Uniform of standard deviation ``init``; River's own initialiser seeds too slowly (80 µs) to do it once an id.
        """
        draw = random.Random(((key ^ (self.seed * 2 + salt) * _GOLDEN) * _GOLDEN) & _MASK).random
        reach = self.init * math.sqrt(3.0)
        return np.array([(2.0 * draw() - 1.0) * reach for _ in range(self.n_factors)])

    def _admit_user(self, user: int) -> None:
        mf = self._mf
        if user in self._users:
            self._users.move_to_end(user)
            return
        if len(self._users) >= self.max_users:
            old, _ = self._users.popitem(last=False)
            del mf.u_biases[old], mf.u_latents[old]
        self._users[user] = None
        mf.u_biases[user], mf.u_latents[user] = 0.0, self._start(user, 0)

    def _admit_item(self, item: int) -> int:
        slot = self._items.get(item)
        if slot is not None:
            self._items.move_to_end(item)
            return slot
        if len(self._items) >= self.max_items:
            self._forget_item(next(iter(self._items)))
        slot = self._place(item)
        self._factors[slot] = self._start(item, 1)
        return slot

    def _place(self, item: int) -> int:
        """A slot for a new item, its bias 0, River's vector a view of the slot's row."""
        slot = self._free.pop() if self._free else len(self._items)
        if item >= len(self._slot_of):
            room = np.full(min(max(item + 1, 2 * len(self._slot_of)), self.max_row), -1, np.int32)
            room[: len(self._slot_of)] = self._slot_of
            self._slot_of = room
        self._items[item] = self._slot_of[item] = slot
        self._mf.i_biases[item] = 0.0
        self._mf.i_latents[item] = self._factors[slot]
        return slot

    def _forget_item(self, item: int) -> None:
        self._free.append(self._items.pop(item))
        self._slot_of[item] = -1
        del self._mf.i_biases[item], self._mf.i_latents[item]

    # scoring

    def knows(self, user: int) -> bool:
        """Whether the user has rated anything that is still kept."""
        return user in self._users

    def score(self, user: int, items: IntArray) -> FloatArray:
        """Expected ratings [n] of ``items`` (rows, int32 [n]). What is unknown of user or item counts as average."""
        mf = self._mf
        out: FloatArray = np.empty(len(items), np.float32)
        base = mf.global_mean.get() + mf.u_biases.get(user, 0.0)
        vector = mf.u_latents.get(user, self._stranger)
        _score_rows_fast(self._slot_of, self._bias, self._factors, vector, base, self._unit, items, out)
        return out

    def recommend(self, user: int, k: int, among: IntArray) -> tuple[IntArray, FloatArray]:
        """The best ``k`` rows of ``among`` and their scores, best first, ties by lower row."""
        n = max(min(k, len(among)), 0)
        best_items: IntArray = np.empty(n, np.int32)
        best_scores: FloatArray = np.empty(n, np.float32)
        if n:
            _best_fast(among, self.score(user, among), best_items, best_scores)
        return best_items, best_scores

    # state

    def snapshot(self) -> Arrays:
        """All state: ``config`` and ``scalars``, then users and items in the order in which they would be forgotten."""
        mf = self._mf
        users, slots = list(self._users), np.fromiter(self._items.values(), np.intp, len(self._items))
        return {
            "config": np.array([_FORMAT, self.n_factors, self.seed], np.int64),
            "scalars": np.array([mf.global_mean.n, mf.global_mean.get(), self._unit], np.float64),
            "users": np.array(users, np.uint64),
            "user_bias": np.array([mf.u_biases[u] for u in users], np.float64),
            "user_factors": np.array([mf.u_latents[u] for u in users], np.float64).reshape(-1, self.n_factors),
            "items": np.fromiter(self._items, np.int32, len(self._items)),
            "item_bias": self._bias[slots],
            "item_factors": self._factors[slots],
        }

    def restore(self, state: Arrays) -> None:
        """Take over a snapshot: scores and all that is learned later are bit-for-bit as if never interrupted.

        Under smaller caps than the snapshot's, the least recently rated are left out. Raises SnapshotError on another
        format, seed or number of factors.
        """
        config = [_FORMAT, self.n_factors, self.seed]
        if state["config"].tolist() != config:
            raise SnapshotError(
                f"format, factors and seed {config}", str(state["config"].tolist()), "set them alike or start afresh"
            )
        self._clear()
        mf = self._mf
        n, mean, self._unit = state["scalars"].tolist()
        mf.global_mean.n, mf.global_mean._mean = n, mean
        for optimizer in (mf.u_bias_optimizer, mf.i_bias_optimizer, mf.u_latent_optimizer, mf.i_latent_optimizer):
            optimizer.n_iterations = int(n)
        first = max(len(state["users"]) - self.max_users, 0)
        users, vectors = state["users"][first:].tolist(), state["user_factors"][first:]
        for user, bias, vector in zip(users, state["user_bias"][first:].tolist(), vectors, strict=True):
            self._users[user] = None
            mf.u_biases[user], mf.u_latents[user] = bias, vector.copy()
        first = max(len(state["items"]) - self.max_items, 0)
        items, vectors = state["items"][first:].tolist(), state["item_factors"][first:]
        for item, bias, vector in zip(items, state["item_bias"][first:].tolist(), vectors, strict=True):
            slot = self._place(item)
            mf.i_biases[item] = self._bias[slot] = bias
            self._factors[slot] = vector

    def remap(self, new_index: IntArray) -> None:
        """The item table was compacted: row i is now ``new_index[i]``, or gone where that is -1."""
        mf = self._mf
        kept = [(r, int(new_index[r]) if r < len(new_index) else -1) for r in self._items]
        if len({new for _, new in kept if new >= 0}) < sum(new >= 0 for _, new in kept):
            raise InputError("a new row for each item kept", "one row for two items", "mend the table's compaction")
        for old, new in kept:
            if new < 0:
                self._forget_item(old)
        biases = {new: mf.i_biases[old] for old, new in kept if new >= 0}
        slots = {new: self._items[old] for old, new in kept if new >= 0}
        mf.i_biases.clear()
        mf.i_latents.clear()
        self._items.clear()
        self._slot_of = np.full(max([64, *(new + 1 for new in slots)]), -1, np.int32)
        for new, slot in slots.items():
            self._items[new] = self._slot_of[new] = slot
            mf.i_biases[new], mf.i_latents[new] = biases[new], self._factors[slot]

    @property
    def n_users(self) -> int:
        """Users known."""
        return len(self._users)

    @property
    def n_items(self) -> int:
        """Items known."""
        return len(self._items)

    @property
    def nbytes(self) -> int:
        """Bytes in use, dict entries by estimate."""
        return (self.n_users + self.n_items) * (_ENTRY_BYTES + 8 * self.n_factors) + self._slot_of.nbytes
