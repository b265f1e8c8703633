"""Which numbers a version may bring: none that could overflow where they are multiplied, in float32 and in the stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import ArtefactError

Floats = NDArray[np.float32]

LONGEST = 1e9
"""Length of an item's vector, and of a query, at most. Then their product is at most 1e18; a bias may be as much. Of the float32
numbers made of these the square of a score is the largest, 4e36 of 3.4e38. (A trained model's vectors are some 10 long.)"""


def check(ids: Sequence[str], vectors: Floats, bias: Floats | None, encoder: Mapping[str, Floats]) -> None:
    """Raises ArtefactError where ``vectors`` [items, dims], ``bias`` [items] or an encoder's weights are not finite, and where the
    first two are larger than `LONGEST` says."""
    rows: NDArray[np.bool_] = np.asarray(~np.isfinite(vectors).all(axis=1))
    if bias is not None:
        rows |= ~np.isfinite(bias)
    _refuse(rows, "finite vectors", "NaN or infinity", ids)
    with np.errstate(over="ignore"):
        rows = np.logical_not(np.einsum("ij,ij->i", vectors, vectors) <= np.float32(LONGEST**2))
    if bias is not None:
        rows |= np.abs(bias) > LONGEST**2
    _refuse(rows, f"vectors no longer than {LONGEST:g}, biases up to {LONGEST**2:g}", "larger ones", ids)
    for name, array in encoder.items():
        if not np.isfinite(array).all():
            raise ArtefactError("finite encoder weights", f"NaN or infinity in {name!r}", "train a new version")


def _refuse(rows: NDArray[np.bool_], expected: str, actual: str, ids: Sequence[str]) -> None:
    if rows.any():
        found = f"{actual} in {rows.sum()} rows, first {ids[int(rows.argmax())]!r}"
        raise ArtefactError(expected, found, "train a new version")


def usable(query: Floats) -> bool:
    """Whether a query [dims] is finite and no longer than `LONGEST`: an encoder's weights alone do not say how long it gets."""
    return bool(query @ query <= LONGEST**2)
