"""From one version's space into another's: what was learned online is turned, not lost.

Two trainings of one model give spaces that differ by a rotation at least. The rotation that takes the old vectors of the
items that both know to their new ones best (orthogonal Procrustes: Schönemann, Psychometrika 31, 1966) takes everything
else that was learned in the old space along.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import FloatArray, IntArray
from .deep import Version
from .newcomers import Learned

MOST = 20_000
"""Shared items that the rotation is fitted to: the ones seen most often."""


@dataclass(frozen=True)
class Alignment:
    """What became of the newcomers of the version before. ``fit``: share of the old vectors' weight that the rotation
    brings to the new ones, 0 to 1."""

    taken: int
    dropped: int
    fit: float


@dataclass(frozen=True)
class Heritage:
    """What a version leaves to the next one, taken from it between two events: the stream goes on changing it.

    ``counts`` [item table] are the items' events.
    """

    learned: Learned
    vectors: FloatArray
    row_of: IntArray
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, version: Version, counts: NDArray[np.int64]) -> Heritage:
        """As of now. Arrays of the item table's length are taken as they are: what is written into them later does no harm."""
        return cls(version.newcomers.learned(), version.vectors, version.row_of, counts)


def rotation(old: FloatArray, new: FloatArray, weights: NDArray[np.float64]) -> FloatArray:
    """The orthogonal R [dims, dims] with the least ``sum(weights · |old R - new|²)`` over rows."""
    u, _, vt = np.linalg.svd((old * weights[:, None]).T.astype(np.float64) @ new)
    return np.asarray(u @ vt, np.float32)


def inherit(before: Heritage, after: Version) -> Alignment:
    """Give ``after``, which has caught up, the newcomers that it was not trained with and has not met as often, turned into its
    space.

    Items that were seen often weigh more, by the root of the number of their events. Where dims differ there is no such
    rotation, and the newcomers are dropped.
    """
    new, counts = before.learned, before.counts
    slots = after.newcomers.slot_of[new.items]
    met = np.where(slots >= 0, after.newcomers.count[slots], 0)
    better = (after.row_of[new.items] < 0) & (met < new.count)
    n = min(len(before.row_of), len(after.row_of), len(counts))
    shared = np.flatnonzero((before.row_of[:n] >= 0) & (after.row_of[:n] >= 0))
    taken, dims = int(better.sum()), before.vectors.shape[1]
    if dims != after.dims or len(shared) < dims or not taken:
        return Alignment(0, taken, 0.0)
    shared = shared[np.argsort(-counts[shared], kind="stable")[:MOST]]
    weights = np.sqrt(np.maximum(counts[shared], 1).astype(np.float64))
    old, theirs = before.vectors[before.row_of[shared]], after.vectors[after.row_of[shared]]
    turn = rotation(old, theirs, weights)
    after.newcomers.take(
        Learned(new.items[better], new.means[better] @ turn, new.count[better], new.centre @ turn, new.queries),
        centre=not after.newcomers.queries,
    )
    return Alignment(taken, 0, _fit(old @ turn, theirs, weights))


def _fit(turned: FloatArray, new: FloatArray, weights: NDArray[np.float64]) -> float:
    """Weighted mean cosine between a turned vector and its counterpart, at least 0."""
    sizes = np.linalg.norm(turned, axis=1) * np.linalg.norm(new, axis=1)
    cosine = np.divide(np.einsum("ij,ij->i", turned, new), sizes, out=np.zeros(len(sizes), np.float32), where=sizes > 0)
    return max(0.0, float((cosine * weights).sum() / weights.sum()))
