"""A contextual softmax over the united candidates, learned in the stream after each event.

Each of ``contexts`` buckets has a weight vector; a request is scored with the sum of the vectors of its active buckets
(bucket 0 is always active). Among the features are `hidden` units. The loss is softmax cross-entropy of the item that came. The
gradient is divided by the roots of Adagrad's sums, one a feature (Duchi et al., JMLR 2011); of this one direction each active bucket
takes a step of its own length: ``lr`` times the root of how many times rarer than bucket 0 it is.

Steps travel between workers, so they are rounded: gradients and directions to 2**-15 (int16), rates to 2**-16 (uint16). Sums
of their products are exact in float64, and applying them commutes to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from .base import Arrays, FloatArray, IntArray
from .hidden import Hidden
from .start import Start, plain

G_UNIT, R_UNIT = 2.0**-15, 2.0**-16
W_UNIT = G_UNIT * R_UNIT
"""Weights are multiples of it."""
YOUNG = 5
"""Updates that a bucket counts as having had before its first: larger keeps the first steps of a rare one smaller."""
MAX_LR = 0.25


@njit(cache=True)
def _collapse(weights: Any, active: Any, out: Any) -> None:
    total = np.zeros(out.shape[0])
    for a in active:
        for f in range(out.shape[0]):
            total[f] += weights[a, f]
    for f in range(out.shape[0]):
        out[f] = np.float32(total[f])


@njit(cache=True, fastmath=True)
def _dot(a: Any, b: Any) -> Any:
    s = np.float32(0.0)
    for f in range(b.shape[0]):
        s += a[f] * b[f]
    return s


@njit(cache=True)
def _rank(x: Any, n: int, w: Any, rows: Any, scores: Any, items: Any, out: Any, at: Any) -> int:
    k = items.shape[0]
    found = 0
    for i in range(n):
        s = _dot(x[i], w)
        scores[i] = s
        row = rows[i]
        if found == k:
            if s < out[k - 1] or (s == out[k - 1] and row > items[k - 1]):
                continue
            found -= 1
        p = found
        while p > 0 and (out[p - 1] < s or (out[p - 1] == s and items[p - 1] > row)):
            items[p], out[p], at[p] = items[p - 1], out[p - 1], at[p - 1]
            p -= 1
        items[p], out[p], at[p] = row, s, i
        found += 1
    return found


@njit(cache=True)
def _scores(x: Any, n: int, w: Any, out: Any) -> None:
    for i in range(n):
        out[i] = _dot(x[i], w)


@njit(cache=True)
def _gradient(x: Any, n: int, scores: Any, target: int, g: Any) -> None:
    """The gradient into ``g``; ``scores`` become errors: probabilities, less 1 at the target."""
    best = scores[0]
    for i in range(n):
        best = max(best, scores[i])
    total = 0.0
    for i in range(n):
        scores[i] = np.exp(scores[i] - best)
        total += scores[i]
    for f in range(g.shape[0]):
        g[f] = np.float32(0.0)
    for i in range(n):
        p = np.float32(scores[i] / total)
        scores[i] = p
        if p > 1e-7:
            for f in range(g.shape[0]):
                g[f] += p * x[i, f]
    for f in range(g.shape[0]):
        g[f] -= x[target, f]
    scores[target] -= np.float32(1.0)


@njit(cache=True)
def _round(x: float) -> int:
    v = np.rint(x / G_UNIT)
    return int(min(max(v, -32767.0), 32767.0))


@njit(cache=True)
def _direct(g: Any, squares: Any, eps: float, numbers: Any, updates: Any, active: Any, lr: float, rates: Any) -> None:
    """The gradient and its direction, rounded, into the rows of ``numbers`` [2, features]; the ``active`` buckets' ``rates``."""
    for a in range(active.shape[0]):
        rarer = (updates[0] + 1 + YOUNG) / (updates[active[a]] + 1 + YOUNG)
        rates[a] = np.uint16(min(np.rint(lr * np.sqrt(rarer) / R_UNIT), 65_535.0))
    for f in range(g.shape[0]):
        numbers[0, f] = _round(g[f])
        value = numbers[0, f] * G_UNIT
        numbers[1, f] = _round(-value / np.sqrt(squares[f] + value * value + eps))


@njit(cache=True)
def _apply(weights: Any, squares: Any, updates: Any, active: Any, rates: Any, numbers: Any) -> None:
    for f in range(numbers.shape[1]):
        value = numbers[0, f] * G_UNIT
        squares[f] += value * value
    for a in range(active.shape[0]):
        updates[active[a]] += 1
        rate = rates[a] * R_UNIT
        for f in range(numbers.shape[1]):
            weights[active[a], f] += rate * (numbers[1, f] * G_UNIT)


class Blend:
    """Weights [contexts, features], Adagrad sums [features], and counts of updates by context.

    The last ``more`` features are there only sometimes. Weights and steps that are not ``wide`` leave them out, and are the same
    to the bit as those of a blend that knows nothing of them.
    """

    def __init__(
        self,
        contexts: int,
        features: int,
        lr: float = 0.03,
        eps: float = 0.1,
        start: Start | None = None,
        hidden: Hidden | None = None,
        more: int = 0,
    ) -> None:
        if not 0.0 <= lr <= MAX_LR:
            raise ValueError(f"expected a learning rate from 0 to {MAX_LR}, got {lr}; correct it")
        self.lr, self.eps = lr, eps
        self.more = more
        self.hidden = hidden or Hidden(features, features, 0)
        start = start or plain(("",) * features, ("",) * contexts)
        self._start: npt.NDArray[np.float64] = np.rint(start.weights / W_UNIT) * W_UNIT
        self.weights = self._start.copy()
        self.squares: npt.NDArray[np.float64] = np.rint(start.squares / G_UNIT**2) * G_UNIT**2
        self.updates: npt.NDArray[np.int64] = np.zeros(contexts, np.int64)
        self._g = np.zeros(features, np.float32)
        self._shapes = tuple((wide, self.columns(wide)) for wide in (True, False))

    def columns(self, wide: bool) -> int:
        """How many features are in use."""
        return self.weights.shape[1] - (0 if wide else self.more)

    def collapse(self, active: IntArray, wide: bool = True) -> FloatArray:
        """The one weight vector, of the features in use, that the ``active`` contexts add up to."""
        out = np.empty(self.columns(wide), np.float32)
        _collapse(self.weights, active, out)
        return out

    def start(self, active: IntArray, wide: bool = True) -> FloatArray:
        """As `collapse`, of the weights as they were before anything was learned."""
        out = np.empty(self.columns(wide), np.float32)
        _collapse(self._start, active, out)
        return out

    def rank(
        self, x: FloatArray, n: int, weights: FloatArray, rows: IntArray, scores: FloatArray, items: IntArray, out: FloatArray, at: IntArray
    ) -> int:  # fmt: skip
        """Score the first ``n`` rows of ``x`` into ``scores``; the best ``len(items)`` into ``items`` (their ``rows``), ``out`` (scores)
        and ``at`` (rows of ``x``), ties by lower item row. Returns how many."""
        return int(_rank(x, n, weights, rows, scores, items, out, at))

    def propose(self, x: FloatArray, n: int, target: int, active: IntArray, wide: bool = True) -> bytes:
        """The packed step for one positive, row ``target`` of ``x``: active contexts, rates, gradient, direction, and the
        hidden units' steps. Changes nothing."""
        scores, weights = np.empty(n, np.float32), self.collapse(active, wide)
        g = self._g[: len(weights)]
        _scores(x, n, weights, scores)
        _gradient(x, n, scores, target, g)
        numbers, rates = np.empty((2, len(g)), np.int16), np.empty(len(active), np.uint16)
        _direct(g, self.squares, self.eps, numbers, self.updates, active, self.lr, rates)
        units = self.hidden.propose(x, n, scores, weights, wide)
        return bytes([len(active), *active.tolist()]) + rates.tobytes() + numbers.tobytes() + units

    def apply(self, step: bytes) -> None:
        """Add a packed step. Any order of any steps gives the same bits. Raises ValueError if it is of another shape."""
        k = step[0] if step else 0
        features = next((n for wide, n in self._shapes if len(step) == self._length(k, n, wide)), 0)
        end = 1 + 3 * k + 4 * features
        if not k or not features or max(step[1 : 1 + k]) >= len(self.weights):
            raise ValueError(
                f"expected a blend step over {self.weights.shape[1]} features, got {len(step)} bytes; "
                "run all workers with one configuration"
            )
        active = np.frombuffer(step, np.uint8, k, 1).astype(np.int32)
        rates = np.frombuffer(step, np.uint16, k, 1 + k)
        numbers = np.frombuffer(step, np.int16, 2 * features, 1 + 3 * k).reshape(2, features)
        _apply(self.weights, self.squares, self.updates, active, rates, numbers)
        if self.hidden.units:
            self.hidden.apply(step[end:])

    def _length(self, active: int, features: int, wide: bool) -> int:
        return 1 + 3 * active + 4 * features + self.hidden.nbytes_of_step(wide)

    def snapshot(self) -> Arrays:
        own = {"weights": self.weights, "squares": self.squares, "updates": self.updates}
        return own | self.hidden.snapshot()

    def restore(self, state: Arrays) -> None:
        for field in ("weights", "squares", "updates"):
            setattr(self, field, state[field].copy())
        self.hidden.restore(state)

    @property
    def nbytes(self) -> int:
        return self.weights.nbytes + self.squares.nbytes + self.hidden.nbytes


@njit(cache=True)
def active_contexts(
    position: int, history: int, gap_ms: int, repeat_share: float, repeats_known: bool, last_count: int, burst: int, intent: float,
    out: Any,
) -> None:  # fmt: skip
    """The eight active buckets of a request: always, session position, history, gap, own repeats, last item, burst, intent.

    ``gap_ms`` is negative without a past event, ``last_count`` without a last item; ``burst`` counts the distinct items
    among the latest 50 events of all; ``intent`` is the probability that the session converts, negative at its start.
    """
    out[0] = 0
    out[1] = 1 + (0 if position <= 1 else 1 if position == 2 else 2 if position <= 5 else 3)
    if history <= 2:
        h = 0 if history == 0 else 1
    elif history < 30:
        h = 2 if history < 10 else 3
    else:
        h = 4 if history < 100 else 5
    out[2] = 5 + h
    g = 0
    if gap_ms >= 0:
        g = 1
        for edge in (60_000, 600_000, 3_600_000, 86_400_000):
            if gap_ms >= edge:
                g += 1
    out[3] = 11 + g
    r = 0
    if repeats_known:
        r = 1 if repeat_share <= 0.0 else 2 if repeat_share < 0.2 else 3 if repeat_share < 0.5 else 4
    out[4] = 17 + r
    s = 0
    if last_count >= 0:
        s = 1 if last_count < 3 else 2 if last_count < 10 else 3 if last_count < 50 else 4
    out[5] = 22 + s
    out[6] = 27 + (0 if burst < 10 else 1 if burst < 20 else 2 if burst < 35 else 3)
    i = 0
    if intent >= 0.0:
        i = 1 if intent < 0.02 else 2 if intent < 0.1 else 3 if intent < 0.3 else 4 if intent < 1.0 else 5
    out[7] = 31 + i


ACTIVE = 8
"""Buckets active at a time."""

CONTEXTS = 37
"""Number of buckets that `active_contexts` tells apart."""

CONTEXT_NAMES = (
    "always", "position 1", "position 2", "position 3-5", "position 6+", "history 0", "history 1-2", "history 3-9",
    "history 10-29", "history 30-99", "history 100+", "gap none", "gap <1 min", "gap <10 min", "gap <1 h", "gap <1 d",
    "gap more", "repeats unknown", "repeats none", "repeats <20%", "repeats <50%", "repeats more", "last none",
    "last <3", "last <10", "last <50", "last more", "burst <10", "burst <20", "burst <35", "burst more",
    "intent unknown", "intent <2%", "intent <10%", "intent <30%", "intent more", "converted",
)  # fmt: skip
