"""Ranking metrics: the only definitions, for the stream, for replay and for offline jobs.

A *moment* has a set of targets T and a ranked list; n = min(|T|, k). With the 0-based ranks of the targets found:

* hit rate: 1 if any target is in the list
* recall: targets found / n
* MRR: 1 / (1 + rank of the first), or 0
* NDCG: sum of 1/log2(rank + 2) over targets found, over the same sum for ranks 0..n-1 (Järvelin and Kekäläinen, TOIS 2002)

`expected` has what they come to on average where items are level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

K = 20
NAMES = ("hr@20", "recall@20", "mrr@20", "ndcg@20")

DISCOUNT: npt.NDArray[np.float64] = 1.0 / np.log2(np.arange(K) + 2.0)
"""1/log2(rank + 2) for ranks 0..19."""
_IDEAL = np.concatenate([[0.0], np.cumsum(DISCOUNT)])


@njit(cache=True)
def score_lists(lists: Any, targets: Any, discount: Any, ideal: Any, out: Any) -> None:
    """Metrics of each list [lists, k] against ``targets`` into ``out`` [lists, 4].

    Lists hold row numbers, -1 where one ends; other negative numbers match nothing.
    """
    n = min(targets.shape[0], lists.shape[1])
    for s in range(lists.shape[0]):
        found, first, gain = 0, -1, 0.0
        for r in range(lists.shape[1]):
            row = lists[s, r]
            if row < 0:
                break
            for t in range(targets.shape[0]):
                if targets[t] == row:
                    found += 1
                    gain += discount[r]
                    if first < 0:
                        first = r
                    break
        out[s, 0] = 1.0 if found > 0 else 0.0
        out[s, 1] = found / n
        out[s, 2] = 1.0 / (1.0 + first) if first >= 0 else 0.0
        out[s, 3] = gain / ideal[n]


def evaluate(lists: npt.NDArray[np.int32], targets: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """The four metrics (in the order of `NAMES`) of each of ``lists`` [lists, 20] against one moment's distinct ``targets``.

    >>> lists = np.full((1, 20), -1, np.int32)
    >>> lists[0, :3] = 7, 8, 9
    >>> evaluate(lists, np.array([8], np.int32)).round(4).tolist()
    [[1.0, 1.0, 0.5, 0.6309]]
    """
    out = np.zeros((len(lists), len(NAMES)))
    score_lists(lists, targets, DISCOUNT, _IDEAL, out)
    return out
