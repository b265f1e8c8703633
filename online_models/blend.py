"""A contextual linear softmax over the united candidates, learned in the stream after each event.

Each of ``contexts`` buckets has a weight vector; a request is scored with the sum of the vectors of its active buckets
(bucket 0 is always active). The loss is softmax cross-entropy of the item that came; each active vector takes the same
gradient with an Adagrad of its own (Duchi et al., JMLR 2011; the same step as River's ``optim.AdaGrad``).

Steps travel between workers, so they are rounded: gradients to 2**-15, steps to 2**-20, both int16. Sums of these are exact in
float64, and applying them commutes to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from .base import Arrays, FloatArray, IntArray

G_UNIT, W_UNIT = 2.0**-15, 2.0**-20


@njit(cache=True)
def _collapse(weights: Any, active: Any, out: Any) -> None:
    for f in range(out.shape[0]):
        s = 0.0
        for a in active:
            s += weights[a, f]
        out[f] = np.float32(s)


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
def _gradient(x: Any, n: int, scores: Any, target: int, g: Any) -> float:
    best = scores[0]
    for i in range(n):
        best = max(best, scores[i])
    total = 0.0
    for i in range(n):
        total += np.exp(np.float64(scores[i] - best))
    for f in range(g.shape[0]):
        g[f] = np.float32(0.0)
    for i in range(n):
        p = np.float32(np.exp(np.float64(scores[i] - best)) / total)
        if p > 1e-7:
            for f in range(g.shape[0]):
                g[f] += p * x[i, f]
    for f in range(g.shape[0]):
        g[f] -= x[target, f]
    return np.log(total) - np.float64(scores[target] - best)


@njit(cache=True)
def _quantize(g: Any, squares: Any, active: Any, lr: float, eps: float, g16: Any, steps: Any) -> None:
    for f in range(g.shape[0]):
        r = np.rint(g[f] / G_UNIT)
        g16[f] = np.int16(min(max(r, -32767.0), 32767.0))
        value = g16[f] * G_UNIT
        for a in range(active.shape[0]):
            square = squares[active[a], f] + value * value
            step = np.rint(-lr * value / np.sqrt(square + eps) / W_UNIT)
            steps[a, f] = np.int16(min(max(step, -32767.0), 32767.0))


@njit(cache=True)
def _apply(weights: Any, squares: Any, active: Any, g16: Any, steps: Any) -> None:
    for a in range(active.shape[0]):
        for f in range(g16.shape[0]):
            value = g16[f] * G_UNIT
            squares[active[a], f] += value * value
            weights[active[a], f] += steps[a, f] * W_UNIT


class Blend:
    """Weights [contexts, features], Adagrad sums, and counts of updates by context."""

    def __init__(
        self, contexts: int, features: int, lr: float = 0.03, eps: float = 0.1, prior: FloatArray | None = None
    ) -> None:
        if lr > 0.031:
            raise ValueError(
                f"expected a learning rate of at most 0.031 (steps are rounded to int16), got {lr}; lower it"
            )
        self.lr, self.eps = lr, eps
        self.weights: npt.NDArray[np.float64] = np.zeros((contexts, features))
        if prior is not None:
            self.weights[0] = np.rint(prior / W_UNIT) * W_UNIT
        self.start: FloatArray = self.weights[0].astype(np.float32)
        """What the weights [features] were before anything was learned."""
        self.squares: npt.NDArray[np.float64] = np.zeros((contexts, features))
        self.updates: npt.NDArray[np.int64] = np.zeros(contexts, np.int64)
        self._g = np.zeros(features, np.float32)

    def collapse(self, active: IntArray) -> FloatArray:
        """The one weight vector [features] that the ``active`` contexts add up to."""
        out = np.empty(self.weights.shape[1], np.float32)
        _collapse(self.weights, active, out)
        return out

    def rank(
        self, x: FloatArray, n: int, weights: FloatArray, rows: IntArray, scores: FloatArray, items: IntArray, out: FloatArray, at: IntArray
    ) -> int:  # fmt: skip
        """Score the first ``n`` rows of ``x`` into ``scores``; the best ``len(items)`` into ``items`` (their ``rows``), ``out`` (scores)
        and ``at`` (rows of ``x``), ties by lower item row. Returns how many."""
        return int(_rank(x, n, weights, rows, scores, items, out, at))

    def propose(self, x: FloatArray, n: int, target: int, active: IntArray) -> bytes:
        """The packed step for one positive, row ``target`` of ``x``: active contexts, gradient, steps. Changes nothing."""
        scores = np.empty(n, np.float32)
        _scores(x, n, self.collapse(active), scores)
        _gradient(x, n, scores, target, self._g)
        features = len(self._g)
        g16 = np.empty(features, np.int16)
        steps = np.empty((len(active), features), np.int16)
        _quantize(self._g, self.squares, active, self.lr, self.eps, g16, steps)
        return bytes([len(active), *active.tolist()]) + g16.tobytes() + steps.tobytes()

    def apply(self, step: bytes) -> None:
        """Add a packed step. Any order of any steps gives the same bits. Raises ValueError if it is of another shape."""
        k = step[0] if step else 0
        features = self.weights.shape[1]
        if not k or len(step) != 1 + k + 2 * features * (1 + k) or max(step[1 : 1 + k]) >= len(self.weights):
            raise ValueError(
                f"expected a blend step over {features} features, got {len(step)} bytes; run all workers with one configuration"
            )
        active = np.frombuffer(step, np.uint8, k, 1).astype(np.int32)
        numbers = np.frombuffer(step, np.int16, offset=len(step) - 2 * features * (1 + k))
        _apply(self.weights, self.squares, active, numbers[:features], numbers[features:].reshape(k, features))
        self.updates[active] += 1

    def snapshot(self) -> Arrays:
        return {"weights": self.weights, "squares": self.squares, "updates": self.updates}

    def restore(self, state: Arrays) -> None:
        for field in ("weights", "squares", "updates"):
            setattr(self, field, state[field].copy())

    @property
    def nbytes(self) -> int:
        return self.weights.nbytes + self.squares.nbytes


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
