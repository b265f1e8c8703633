"""The losses of incremental factorisation: what one positive asks of the factors, as steps on a binary grid.

* ``softmax`` over the item that came and a few items drawn from the latest events. The user is the user's own vector plus the
  latest items'. Each item row has an Adagrad sum of its own (Duchi et al., JMLR 2011).
* ``isgd``: the squared error of 1 - p·q on the positive alone (Vinagre, Jorge, Gama: "Fast incremental matrix factorization for
  recommendation with positive-only feedback", UMAP 2014), by plain gradient steps.
* ``isgd-negatives``: the same, and before it p·q is drawn to 0 for the items that nobody has seen for longest. These move the
  user's vector and not their own (the same authors: "Collaborative filtering with recency-based negative feedback", SAC 2015).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numba import njit

Loss = Literal["softmax", "isgd", "isgd-negatives"]
LOSSES: tuple[Loss, ...] = get_args(Loss)

W_UNIT, G_UNIT = 2.0**-16, 2.0**-12
GRID = np.float32(W_UNIT)
SUPPORT = 0.05
"""Sum of squared gradients at which a row's rate has fallen to 0.7 of the first."""
LIMIT = 127.0
"""Factors stay within ±127, where multiples of the grid are exact in float32."""
_LITTLE = np.float32(1e-3)
"""A negative whose probability is below this is not worth a step."""


@njit(cache=True)
def mix(x: Any) -> Any:
    """splitmix64: the next well-mixed 64-bit number."""
    x = (x + np.uint64(0x9E3779B97F4A7C15)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, fastmath=True)
def dot(a: Any, b: Any) -> Any:
    s = np.float32(0.0)
    for j in range(a.shape[0]):
        s += a[j] * b[j]
    return s


@njit(cache=True)
def _round(x: float, unit: float) -> int:
    v = np.rint(x / unit)
    return int(min(max(v, -32767.0), 32767.0))


@njit(cache=True)
def places_of(n: int, fade: float, out: Any) -> None:
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
def moment_of(vectors: Any, user: Any, recent: Any, places: Any, out: Any) -> None:
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
def softmax(
    vectors: Any, squares: Any, user: Any, recent: Any, fade: float, item: int, ring: Any, n_ring: int, draws: int, seed: Any, lr: float,
    user_lr: float, reg: float, rows: Any, steps: Any, user_step: Any,
) -> int:  # fmt: skip
    d = vectors.shape[1]
    now, g = np.empty(d, np.float32), np.empty(d, np.float32)
    places = np.empty(recent.shape[0], np.float32)
    places_of(recent.shape[0], fade, places)
    moment_of(vectors, user, recent, places, now)
    rows[0] = item
    p = np.empty(draws + 1, np.float32)
    p[0] = best = dot(now, vectors[item])
    n = 1
    state = np.uint64(seed)
    for _ in range(draws):
        state = mix(state)
        other = ring[np.int64(state % np.uint64(n_ring))]
        if other != item:
            rows[n] = other
            p[n] = dot(now, vectors[other])
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
def _pull(now: Any, vector: Any, error: Any, lr: float, reg: float) -> None:
    """One gradient step of the user's vector, in place; within the limit, so that no rate can lead to what is not a number."""
    for j in range(now.shape[0]):
        v = now[j] + np.float32(lr) * (error * vector[j] - np.float32(reg) * now[j])
        now[j] = min(max(v, -LIMIT), LIMIT)


@njit(cache=True)
def isgd(
    vectors: Any, user: Any, item: int, others: Any, lr: float, user_lr: float, reg: float, rows: Any, steps: Any, user_step: Any
) -> int:  # fmt: skip
    """ISGD, after the ``others`` as negatives in their order. Only the item's own row is stepped; returns the number of rows."""
    d = vectors.shape[1]
    now = user.copy()
    for i in range(others.shape[0]):
        other = vectors[others[i]]
        _pull(now, other, -dot(now, other), user_lr, reg)
    q = vectors[item]
    error = np.float32(1.0) - dot(now, q)
    rows[0] = item
    for j in range(d):
        steps[0, j] = _round(lr * (error * now[j] - reg * q[j]), W_UNIT)
    steps[0, d] = 0
    _pull(now, q, error, user_lr, reg)
    for j in range(d):
        user_step[j] = _round(now[j] - user[j], W_UNIT)
    return 1
