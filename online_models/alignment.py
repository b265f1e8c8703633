"""From one version's space into another's: what was learned online is turned, not lost.

Two trainings of one model give spaces that differ by a rotation at least. The rotation that takes the old vectors of the
items that both know to their new ones best (orthogonal Procrustes: Schönemann, Psychometrika 31, 1966) takes everything
else that was learned in the old space along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import FloatArray
from .deep import Version

MOST = 20_000
"""Shared items that the rotation is fitted to: the ones seen most often."""


@dataclass(frozen=True)
class Alignment:
    """What became of the newcomers of the version before. ``fit``: share of the old vectors' weight that the rotation
    brings to the new ones, 0 to 1."""

    taken: int
    dropped: int
    fit: float


def rotation(old: FloatArray, new: FloatArray, weights: NDArray[np.float64]) -> FloatArray:
    """The orthogonal R [dims, dims] with the least ``sum(weights · |old R - new|²)`` over rows."""
    u, _, vt = np.linalg.svd((old * weights[:, None]).T.astype(np.float64) @ new)
    return np.asarray(u @ vt, np.float32)


def inherit(before: Version, after: Version, counts: NDArray[np.int64]) -> Alignment:
    """Give ``after`` the newcomers of ``before`` that it was not trained with and has not met as often, turned into its space.

    ``counts`` [item table] are the items' events: frequent items weigh more, by the root of their number. Where dims
    differ there is no such rotation, and the newcomers are dropped.
    """
    held = np.flatnonzero(before.newcomers.item[: before.newcomers.used] >= 0)
    items = before.newcomers.item[held]
    slots = after.newcomers.slot_of[items]
    met = np.where(slots >= 0, after.newcomers.count[slots], 0)
    better = (after.row_of[items] < 0) & (met < before.newcomers.count[held])
    held, items = held[better], items[better]
    n = min(len(before.row_of), len(after.row_of), len(counts))
    shared = np.flatnonzero((before.row_of[:n] >= 0) & (after.row_of[:n] >= 0))
    if before.dims != after.dims or len(shared) < before.dims or not len(held):
        return Alignment(0, len(held), 0.0)
    shared = shared[np.argsort(-counts[shared], kind="stable")[:MOST]]
    weights = np.sqrt(np.maximum(counts[shared], 1).astype(np.float64))
    old, new = before.vectors[before.row_of[shared]], after.vectors[after.row_of[shared]]
    turn = rotation(old, new, weights)
    own = after.newcomers
    if not own.queries:
        own.centre, own.queries = before.newcomers.centre @ turn, before.newcomers.queries
    for slot, item, mean in zip(held, items.tolist(), before.newcomers.means[held] @ turn, strict=True):
        own.put(own.slot(item), mean, int(before.newcomers.count[slot]))
    return Alignment(len(held), 0, _fit(old @ turn, new, weights))


def _fit(turned: FloatArray, new: FloatArray, weights: NDArray[np.float64]) -> float:
    """Weighted mean cosine between a turned vector and its counterpart, at least 0."""
    sizes = np.linalg.norm(turned, axis=1) * np.linalg.norm(new, axis=1)
    cosine = np.divide(np.einsum("ij,ij->i", turned, new), sizes, out=np.zeros(len(sizes), np.float32), where=sizes > 0)
    return max(0.0, float((cosine * weights).sum() / weights.sum()))
