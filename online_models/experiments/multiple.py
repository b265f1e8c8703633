"""Several questions at once: p-values adjusted for how many were asked. Compare an adjusted one with alpha as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Correction = Literal["holm", "bh"]


def adjusted(p_values: Sequence[float], correction: Correction = "holm") -> list[float]:
    """By Holm, or by Benjamini and Hochberg. In the order given.

    >>> [round(p, 3) for p in adjusted([0.01, 0.04, 0.03], "bh")]
    [0.03, 0.04, 0.04]
    """
    return holm(p_values) if correction == "holm" else benjamini_hochberg(p_values)


def holm(p_values: Sequence[float]) -> list[float]:
    """With probability ``1 - alpha`` *no* null is called an effect, whatever depends on what. In the order given.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2), 1979.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p, order = _sorted(p_values)
    return _restored(np.maximum.accumulate(p * np.arange(len(p), 0, -1)), order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Of what is called an effect, a share of alpha at most is none, on average, if the p-values are independent or
    positively dependent, as those of variants with one control are. In the order given.

    Benjamini and Hochberg, "Controlling the false discovery rate", Journal of the Royal Statistical Society B 57(1), 1995.

    >>> [round(p, 3) for p in benjamini_hochberg([0.01, 0.04, 0.03])]
    [0.03, 0.04, 0.04]
    """
    p, order = _sorted(p_values)
    steps = p * len(p) / np.arange(1, len(p) + 1)
    return _restored(np.minimum.accumulate(steps[::-1])[::-1], order)


def _sorted(p_values: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    p = np.asarray(p_values, np.float64)
    if not ((p >= 0.0) & (p <= 1.0)).all():
        raise InputError("p-values from 0 to 1", repr(list(p_values)), "leave out what has no result")
    order = np.argsort(p, kind="stable")
    return p[order], order


def _restored(adjusted: NDArray[np.float64], order: NDArray[np.intp]) -> list[float]:
    found = np.empty_like(adjusted)
    found[order] = np.minimum(adjusted, 1.0)
    return found.tolist()
