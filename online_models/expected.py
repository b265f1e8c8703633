"""The ranking metrics where items may be level: their expectation over all orders of items with the same score.

For lists without level items these are the metrics of `online_models.metrics`, at more places. A scorer that gives every item the same
score gets exactly what a random order gets on average; counting each level item as half a place above would give it nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from .metrics import DISCOUNT

NAMES = ("hr@1", "hr@5", "hr@10", "hr@20", "recall@20", "mrr@20", "ndcg@10", "ndcg@20")
"""Columns of what `expected` returns."""

_HITS = np.array([1, 5, 10, 20])
_IDEAL = np.concatenate([[0.0], np.cumsum(DISCOUNT)])


@njit(cache=True)
def _none_before(level: int, found: int, places: int) -> float:
    """Probability that none of ``found`` items is among the first ``places`` of ``level`` items in random order."""
    p = 1.0
    for t in range(found):
        p *= max(level - places - t, 0) / (level - t)
    return p


@njit(cache=True)
def _level(begin: int, end: int, found: int, first: bool, hits: Any, discount: Any, out: Any) -> None:
    """Add what ``found`` targets bring that are somewhere in places ``begin`` to ``end``; ``first``: no target stands before."""
    level = end - begin
    for c in range(hits.shape[0]):
        if begin < hits[c] and out[c] < 1.0:
            out[c] = 1.0 - _none_before(level, found, hits[c] - begin)
    last = min(end, 20)
    if begin >= last:
        return
    out[4] += found * (last - begin) / level
    if first:
        for place in range(begin, last):
            here = _none_before(level, found, place - begin) - _none_before(level, found, place - begin + 1)
            out[5] += here / (1.0 + place)
    for place in range(begin, last):
        gain = found * discount[place] / level
        out[7] += gain
        if place < 10:
            out[6] += gain


@njit(cache=True)
def _expected(scores: Any, at: Any, targets: int, hits: Any, discount: Any, ideal: Any, out: Any) -> None:
    n = scores.shape[0]
    i = 0
    while i < at.shape[0]:
        begin = at[i]
        end = begin + 1
        while begin > 0 and scores[begin - 1] == scores[begin]:
            begin -= 1
        while end < n and scores[end] == scores[begin]:
            end += 1
        here = i
        while i < at.shape[0] and at[i] < end:
            i += 1
        _level(begin, end, i - here, here == 0, hits, discount, out)
    out[4] /= min(targets, 20)
    out[6] /= ideal[min(targets, 10)]
    out[7] /= ideal[min(targets, 20)]


def expected(scores: npt.NDArray[np.floating[Any]], at: npt.NDArray[np.int64], targets: int) -> npt.NDArray[np.float64]:
    """Expected metrics [8], in the order of `NAMES`, of a whole ranking by its ``scores`` [n], best first.

    ``at`` are the places of the targets that are in it, rising, from 0; ``targets`` (1 or more) counts those that are not, too.
    Definitions are those of `online_models.metrics`: recall is over min(targets, 20).

    >>> expected(np.array([3.0, 2.0, 1.0]), np.array([1]), 1).round(4).tolist()
    [0.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.6309, 0.6309]
    >>> expected(np.zeros(40), np.array([7]), 1)[:5].round(4).tolist()
    [0.025, 0.125, 0.25, 0.5, 0.5]
    """
    out = np.zeros(len(NAMES))
    _expected(scores, at, targets, _HITS, DISCOUNT, _IDEAL, out)
    return out
