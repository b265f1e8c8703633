"""What each feature adds to a blend's score, hidden units taken apart.

A unit is a rectified sum without a constant, so what an active unit adds is, exactly, a sum over the features in it: its output
weight times its weight of the feature times the feature (gradient times input; Shrikumar et al., "Learning important features
through propagating activation differences", ICML 2017, section 2).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .base import FloatArray
from .hidden import Hidden

Wide = npt.NDArray[np.float64]


def attributed(x: FloatArray, weights: FloatArray, hidden: Hidden) -> tuple[Wide, Wide]:
    """What the features of each row of ``x`` [n, features] add by their own ``weights`` [features], and through the hidden units.

    Both are [n, features], zero in the units' own columns; together a row sums to the row's score.

    >>> units = Hidden(first=0, at=2, units=1)
    >>> units.weights[0] = 2.0, -1.0
    >>> own, through = attributed(np.array([[3.0, 1.0, 5.0]], np.float32), np.array([0.5, 0.0, 0.1], np.float32), units)
    >>> own.tolist(), through.round(6).tolist()
    ([[1.5, 0.0, 0.0]], [[0.6, -0.1, 0.0]])
    """
    wide, w = x.astype(np.float64), weights.astype(np.float64)
    own = wide * w
    through = np.zeros_like(own)
    if hidden.units:
        units = slice(hidden.at, hidden.at + hidden.units)
        out = np.where(wide[:, units] > 0.0, w[units], 0.0)
        seen = np.r_[hidden.first : hidden.at, hidden.more : hidden.more + hidden.extra]
        seen = seen[seen < x.shape[1]]
        through[:, seen] = (out @ hidden.weights[:, : len(seen)]) * wide[:, seen]
        own[:, units] = 0.0
    return own, through
