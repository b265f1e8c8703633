"""Encoders of models that take a user for the recent history: a weighted mean, a fold-in, convolutions over the latest events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._safetensors import checked

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


class MeanEncoder:
    """The mean of the latest item vectors, the older ones counting less (BPR-MF)."""

    def __init__(self, vectors: Floats, weights: Mapping[str, Floats], config: Mapping[str, Any]) -> None:
        self._vectors = vectors
        self.length = int(config["length"])
        self._weight = np.power(np.float32(config["decay"]), np.arange(self.length, dtype=np.float32)[::-1])

    def encode(self, rows: Rows) -> Floats | None:
        """See `Encoder`."""
        known = rows[rows >= 0][-self.length :]
        return self._query(self._mean(known)) if len(known) else None

    def _mean(self, known: Rows) -> Floats:
        weight = self._weight[-len(known) :]
        mean: Floats = (weight / weight.sum()) @ self._vectors[known]
        return mean

    def _query(self, mean: Floats) -> Floats:
        return mean


class WeightedMeanEncoder(MeanEncoder):
    """The mean, each dimension with a weight (NeuMF's inner product)."""

    def __init__(self, vectors: Floats, weights: Mapping[str, Floats], config: Mapping[str, Any]) -> None:
        super().__init__(vectors, weights, config)
        self._gate = checked(weights, "gate", vectors.shape[1])

    def _query(self, mean: Floats) -> Floats:
        return mean * self._gate


class TowerEncoder(MeanEncoder):
    """The mean, and a small network over it added (two towers)."""

    def __init__(self, vectors: Floats, weights: Mapping[str, Floats], config: Mapping[str, Any]) -> None:
        super().__init__(vectors, weights, config)
        d, hidden = vectors.shape[1], int(config["hidden"])
        self._up, self._up_bias = checked(weights, "up.weight", hidden, d), checked(weights, "up.bias", hidden)
        self._down, self._down_bias = checked(weights, "down.weight", d, hidden), checked(weights, "down.bias", d)

    def _query(self, mean: Floats) -> Floats:
        inner = np.maximum(self._up @ mean + self._up_bias, 0)
        query: Floats = mean + self._down @ inner + self._down_bias
        return query


class FoldInEncoder:
    """The vector that the session would have, had it been among those learned (iALS)."""

    def __init__(self, vectors: Floats, weights: Mapping[str, Floats], config: Mapping[str, Any]) -> None:
        d = vectors.shape[1]
        self._vectors, self._gram = vectors, checked(weights, "gram", d, d)
        self.length = int(config["length"])
        self._reg, self._nu = float(config["reg"]), float(config["nu"])
        self._others = float(config["unobserved"]) * len(vectors)

    def encode(self, rows: Rows) -> Floats | None:
        """See `Encoder`."""
        known = rows[rows >= 0][-self.length :]
        if not len(known):
            return None
        theirs = self._vectors[known]
        left = self._gram + theirs.T @ theirs
        left.flat[:: len(left) + 1] += np.float32(self._reg * (len(known) + self._others) ** self._nu)
        query: Floats = np.linalg.solve(left, theirs.sum(0))
        return query


class ConvolutionEncoder:
    """Filters over the latest events, across them and down each dimension (Caser)."""

    def __init__(self, vectors: Floats, weights: Mapping[str, Floats], config: Mapping[str, Any]) -> None:
        d = vectors.shape[1]
        self._vectors, self.length = vectors, int(config["length"])
        n, across, down = self.length, int(config["horizontal"]), int(config["vertical"])
        self._across = [
            (
                checked(weights, f"across.{h - 1}.weight", across, h * d).T,
                checked(weights, f"across.{h - 1}.bias", across),
            )
            for h in range(1, n + 1)
        ]
        self._down = checked(weights, "down.weight", down, n)
        self._out = checked(weights, "out.weight", d, n * across + down * d)
        self._bias = checked(weights, "out.bias", d)

    def encode(self, rows: Rows) -> Floats | None:
        """See `Encoder`."""
        known = rows[rows >= 0][-self.length :]
        if not len(known):
            return None
        image = np.zeros((self.length, self._vectors.shape[1]), np.float32)
        image[self.length - len(known) :] = self._vectors[known]
        found = []
        for height, (weight, bias) in enumerate(self._across, 1):
            strips = np.stack([image[at : at + height].ravel() for at in range(self.length - height + 1)])
            found.append(np.maximum(strips @ weight + bias, 0).max(0))
        found.append((self._down @ image).ravel())
        query: Floats = self._out @ np.concatenate(found) + self._bias
        return query
