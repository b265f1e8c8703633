"""Session encoders without torch: from the items of a session to the query vector that item vectors are multiplied with.

Made from an artefact by `load`. The weights are those of the offline models of the same names, the results equal torch's within 1e-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ._histories import ConvolutionEncoder, FoldInEncoder, MeanEncoder, TowerEncoder, WeightedMeanEncoder
from ._safetensors import checked
from ._transformer import ARRAY as ARRAY
from ._transformer import TransformerEncoder
from .embeddings import Artefact
from .errors import ArtefactError

MOST_EVENTS = 10_000
"""That an encoder may look at, latest ones of a session."""

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


class Encoder(Protocol):
    """A pure function of a session. ``length``: latest events of it that matter."""

    length: int

    def encode(self, rows: Rows) -> Floats | None:
        """The query [dims] after the items ``rows`` (oldest first; -1 for unknown ones); None when none is known."""


@runtime_checkable
class Stepping(Protocol):
    """An encoder that takes one event on top of what it keeps of the earlier ones, which says how many bytes it has (``nbytes``)."""

    length: int

    def start(self) -> Any:
        """What is kept before a session's first event."""

    def step(self, memory: Any, row: int) -> tuple[Any, Floats]:
        """What is kept after one more event, and the query; ``memory`` stays as it is. For up to ``length`` events."""


def load(artefact: Artefact) -> Encoder | None:
    """The artefact's encoder, None when it has none. Raises ArtefactError for one that this code cannot run."""
    described = artefact.manifest.encoder
    if described is None:
        return None
    kind = described.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ArtefactError(f"an encoder of a kind out of {', '.join(KINDS)}", repr(kind), "upgrade Headrace")
    try:
        return KINDS[kind](artefact.vectors, artefact.encoder, _config(described.get("config", {})))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ArtefactError(
            f"the settings and the weights of a {kind} encoder in {artefact.folder}", repr(error), "train a new version"
        ) from error


def _config(found: Any) -> dict[str, Any]:
    """Raises TypeError or ValueError for settings that no encoder has: numbers are finite, and a session has a length."""
    odd = {
        name: value
        for name, value in dict(found).items()
        if not isinstance(value, (str, int, float)) or (isinstance(value, float) and not isfinite(value))
    }
    if odd or type(found["length"]) is not int or not 1 <= found["length"] <= MOST_EVENTS:
        raise ValueError(f"settings {odd or {'length': found['length']}}, a length is from 1 to {MOST_EVENTS}")
    return dict(found)


@njit(cache=True, fastmath=False)
def _gru_step(x: Any, h: Any, wi: Any, wh: Any, bi: Any, bh: Any) -> Any:
    """Gates in torch's order r, z, n; ``wi``, ``wh`` [dims, 3 dims]."""
    d = h.shape[0]
    a = np.dot(x, wi) + bi
    b = np.dot(h, wh) + bh
    out = np.empty_like(h)
    for i in range(d):
        r = 1.0 / (1.0 + np.exp(-(a[i] + b[i])))
        z = 1.0 / (1.0 + np.exp(-(a[d + i] + b[d + i])))
        n = np.tanh(a[2 * d + i] + r * b[2 * d + i])
        out[i] = (1.0 - z) * n + z * h[i]
    return out


class GruEncoder:
    """One GRU layer over the item vectors (GRU4Rec). ``step`` is one event; ``encode`` steps through a session."""

    def __init__(self, vectors: Floats, weights: Mapping[str, Floats], config: Mapping[str, Any]) -> None:
        d = vectors.shape[1]
        self._vectors = vectors
        self.length, self._scale = int(config["length"]), np.float32(config["scale"])
        self._wi = np.ascontiguousarray(checked(weights, "gru.weight_ih_l0", 3 * d, d).T)
        self._wh = np.ascontiguousarray(checked(weights, "gru.weight_hh_l0", 3 * d, d).T)
        self._bi = checked(weights, "gru.bias_ih_l0", 3 * d)
        self._bh = checked(weights, "gru.bias_hh_l0", 3 * d)

    def start(self) -> Floats:
        """The state [dims] before a session's first event."""
        return np.zeros(len(self._bi) // 3, np.float32)

    def step(self, state: Floats, row: int) -> tuple[Floats, Floats]:
        """The state after one more event, and the query; ``state`` stays as it is."""
        x = np.asarray(self._vectors[row])
        found: Floats = _gru_step(x, state, self._wi, self._wh, self._bi, self._bh)
        return found, self._query(found)

    def encode(self, rows: Rows) -> Floats | None:
        """See `Encoder`."""
        state, known = self.start(), rows[rows >= 0][-self.length :]
        for row in known:
            state = _gru_step(np.asarray(self._vectors[row]), state, self._wi, self._wh, self._bi, self._bh)
        return self._query(state) if len(known) else None

    def _query(self, state: Floats) -> Floats:
        if not self._scale:
            return state
        found: Floats = state * (self._scale / max(np.sqrt(state @ state), np.float32(1e-12)))
        return found


KINDS: dict[str, Any] = {
    "gru4rec": GruEncoder, "sasrec": TransformerEncoder, "caser": ConvolutionEncoder, "two_tower": TowerEncoder,
    "neumf": WeightedMeanEncoder, "bprmf": MeanEncoder, "ials": FoldInEncoder,
}  # fmt: skip
"""Encoder kind, as the manifest names it → its class."""
