"""How each candidate stands to the user's latest items: whatever source named it, every model is asked about all of them.

A source says something of its own list alone. Here the factors and the co-visitation counts speak of the whole union: what
is near the last items, what followed them, and what goes with them for how popular it is (cosine, as in Sarwar et al.,
"Item-based collaborative filtering recommendation algorithms", WWW 2001).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ._kernels import fast_log, fast_tanh
from .losses import dot

FACTORS = ("match", "dot_last", "cos_last", "cos_recent", "match_own", "match_recent", "age_last", "age_recent")
VISITS = ("transition_2", "transition_3", "transition_back", "far", "log_far", "far_cosine", "log_far_cosine")
MEAN_OF, AGES_OF = 10, 5
"""Latest items whose mean direction, and whose mean age, a candidate is compared with."""
SHY = 5.0
"""Events added to an item's total before the cosine is taken: larger trusts rare items less."""


@njit(cache=True)
def _log_seconds(now: int, first: int) -> Any:
    return fast_log(np.float32(1.0) + np.float32(max(now - first, 0)) * np.float32(0.001))


@njit(cache=True, fastmath=True)
def _dots(v: Any, own: Any, context: Any, last: Any, mean: Any) -> Any:
    """Products of a vector with four others, and its own square, in one go."""
    a = b = c = d = square = np.float32(0.0)
    for j in range(v.shape[0]):
        a += v[j] * own[j]
        b += v[j] * context[j]
        c += v[j] * last[j]
        d += v[j] * mean[j]
        square += v[j] * v[j]
    return a, b, c, d, square


@njit(cache=True, error_model="numpy")
def by_factors(
    x: Any, rows: Any, n: int, c: int, vectors: Any, own: Any, user: Any, recent: Any, first_ms: Any, now: int
) -> None:
    """Fill the columns `FACTORS` from ``c`` on. ``own`` is the user's own vector, ``user`` the same with the latest items'."""
    half, tiny = np.float32(0.5), np.float32(1e-9)
    context = user - own
    some = recent.shape[0] > 0
    mean = np.zeros(vectors.shape[1], np.float32)
    last, length = vectors[recent[0] if some else 0], np.float32(1.0)
    age = ages = np.float32(0.0)
    if some:
        m = min(recent.shape[0], MEAN_OF)
        for r in range(m):
            v = vectors[recent[r]]
            scale = np.float32(1.0 / m) / np.sqrt(dot(v, v) + tiny)
            for j in range(mean.shape[0]):
                mean[j] += scale * v[j]
        length = np.sqrt(dot(last, last) + tiny)
        m = min(recent.shape[0], AGES_OF)
        for r in range(m):
            ages += _log_seconds(now, first_ms[recent[r]]) / np.float32(m)
        age = _log_seconds(now, first_ms[recent[0]])
    for i in range(n):
        mine, late, near, among, square = _dots(vectors[rows[i]], own, context, last, mean)
        x[i, c] = half + half * fast_tanh((mine + late) * half)
        x[i, c + 4] = fast_tanh(mine * half)
        x[i, c + 5] = fast_tanh(late * half)
        if some:
            size = np.float32(1.0) / np.sqrt(square + tiny)
            x[i, c + 1] = fast_tanh(near * half)
            x[i, c + 2] = near * size / length
            x[i, c + 3] = among * size
            old = _log_seconds(now, first_ms[rows[i]])
            x[i, c + 6] = min(abs(old - age) * np.float32(0.2), np.float32(1.5))
            x[i, c + 7] = min(abs(old - ages) * np.float32(0.2), np.float32(1.5))


@njit(cache=True)
def _log(p: Any) -> Any:
    return np.float32(1.0) + fast_log(p + np.float32(0.001)) * np.float32(1.0 / 6.91)


@njit(cache=True)
def _share(pool: Any, total: Any, row: int, mark: Any, x: Any, c: int) -> None:
    keys, weights, start, size = pool
    if row < size.shape[0] and total[row] > 0.0:
        for e in range(start[row], start[row] + size[row]):
            at = mark[keys[e]] - 1
            if at >= 0:
                x[at, c] = _log(np.float32(weights[e] / total[row]))


@njit(cache=True)
def by_visits(
    x: Any, rows: Any, n: int, c: int, mark: Any, recent: Any, following: Any, following_total: Any, far: Any, far_total: Any, last: int,
    fade: float, damp: float, unit: float,
) -> None:  # fmt: skip
    """Fill the columns `VISITS` from ``c`` on; ``mark`` is all zero before and after. Both pools are `Rows.entries`."""
    for i in range(n):
        mark[rows[i]] = i + 1
    for r in range(1, min(recent.shape[0], 3)):
        _share(following, following_total, recent[r], mark, x, c + r - 1)
    keys, weights, start, size = far
    w = 1.0
    for r in range(min(last, recent.shape[0])):
        row = recent[r]
        if row < size.shape[0] and size[row] > 0:
            given = np.float32(w / (far_total[row] + damp * unit))
            cosine = np.float32(w / np.sqrt(far_total[row] + SHY * unit) / np.sqrt(unit))
            for e in range(start[row], start[row] + size[row]):
                at = mark[keys[e]] - 1
                if at >= 0:
                    x[at, c + 3] += weights[e] * given
                    x[at, c + 5] += weights[e] * cosine
        w *= fade
    for i in range(n):
        mark[rows[i]] = 0
    most = most_cosine = np.float32(0.0)
    for i in range(n):
        if x[i, c + 5] > 0.0:
            row = rows[i]
            x[i, c + 5] /= np.float32(np.sqrt(far_total[row] / unit + SHY))
        most, most_cosine = max(most, x[i, c + 3]), max(most_cosine, x[i, c + 5])
    for i in range(n):
        if x[i, c + 3] > 0.0:
            x[i, c + 3] /= most
            x[i, c + 4] = _log(x[i, c + 3])
        if x[i, c + 5] > 0.0:
            x[i, c + 5] /= most_cosine
            x[i, c + 6] = _log(x[i, c + 5])
    if recent.shape[0] > 0:
        keys, weights, start, size = following
        for i in range(n):
            row = rows[i]
            if row < size.shape[0] and following_total[row] > 0.0:
                for e in range(start[row], start[row] + size[row]):
                    if keys[e] == recent[0]:
                        x[i, c + 2] = _log(np.float32(weights[e] / following_total[row]))
                        break
