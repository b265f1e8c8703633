"""SASRec's blocks in numpy: a session at once, or one more event on top of what is kept of the earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._safetensors import checked

Floats = NDArray[np.float32]


ARRAY = 130
"""Bytes that an array takes besides its numbers."""


@dataclass(frozen=True)
class Memory:
    """What later events look at: ``keys`` and ``values`` [heads, events, dims / heads] of each attention."""

    keys: tuple[Floats, ...]
    values: tuple[Floats, ...]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(array.nbytes + ARRAY for array in (*self.keys, *self.values))


class TransformerEncoder:
    """Causal pre-norm attention blocks over the item vectors (SASRec). ``step`` is one event, ``encode`` a session."""

    def __init__(self, vectors: Floats, weights: Mapping[str, Floats], config: Mapping[str, Any]) -> None:
        d = self._dims = vectors.shape[1]
        self._vectors = vectors
        self.length, self._heads = int(config["length"]), int(config["heads"])
        self._layers, self._scale = int(config["layers"]), np.float32(config["scale"])
        self._items, self._both = config["readout"] != "state", config["readout"] == "both"
        shapes: dict[str, tuple[int, ...]] = {
            "norm1.weight": (d,), "norm1.bias": (d,), "norm2.weight": (d,), "norm2.bias": (d,),
            "qkv.weight": (3 * d, d), "qkv.bias": (3 * d,), "out.weight": (d, d), "out.bias": (d,),
            "up.weight": (2 * d, d), "up.bias": (2 * d,), "down.weight": (d, 2 * d), "down.bias": (d,),
            "distance": (self._heads, self.length),
        }  # fmt: skip
        self._blocks = []
        for n in range(self._layers):
            block = {name: checked(weights, f"blocks.{n}.{name}", *shape) for name, shape in shapes.items()}
            for norm, linear in (("norm1", "qkv"), ("norm2", "up")):  # scale and shift go into the layer behind them
                block[f"{linear}.bias"] += block[f"{linear}.weight"] @ block[f"{norm}.bias"]
                block[f"{linear}.weight"] *= block[f"{norm}.weight"]
            self._blocks.append({k: np.ascontiguousarray(a.T if k.endswith("weight") else a) for k, a in block.items()})
        last: dict[str, tuple[int, ...]] = {"norm.weight": (d,), "norm.bias": (d,)}
        if self._items:
            last |= {"pair.weight": (2 * d, d), "pair.bias": (2 * d,), "distance": (1, self.length)}
        if self._both:
            last |= {"beyond.weight": (d, d), "beyond.bias": (d,)}
        self._last = {name: checked(weights, name, *shape) for name, shape in last.items()}

    def start(self) -> Memory:
        """What is kept before a session's first event."""
        d = self._dims // self._heads
        none = [np.zeros((self._heads, 0, d), np.float32) for _ in range(self._layers)]
        none += [np.zeros((1, 0, self._dims), np.float32)] * self._items
        return Memory(tuple(none), tuple(none))

    def step(self, memory: Memory, row: int) -> tuple[Memory, Floats]:
        """What is kept after one more event, and the query; ``memory`` stays as it is. For up to ``length`` events."""
        return self._run(np.asarray(self._vectors[row : row + 1]), memory)

    def encode(self, rows: NDArray[np.int64]) -> Floats | None:
        """See `Encoder`."""
        known = rows[rows >= 0][-self.length :]
        return self._run(np.asarray(self._vectors[known]), self.start())[1] if len(known) else None

    def _run(self, own: Floats, memory: Memory) -> tuple[Memory, Floats]:
        n, d, heads = len(own), self._dims, self._heads
        keys, values = [], []
        x = own * np.float32(d**0.5)
        for block, k_before, v_before in zip(self._blocks, memory.keys, memory.values, strict=False):
            qkv = _norm(x) @ block["qkv.weight"] + block["qkv.bias"]
            q, k, v = qkv.reshape(n, 3, heads, d // heads).transpose(1, 2, 0, 3)
            keys.append(np.concatenate([k_before, k], 1))
            values.append(np.concatenate([v_before, v], 1))
            mixed = _attend(q, keys[-1], values[-1], block["distance"]).transpose(1, 0, 2).reshape(n, d)
            x = x + mixed @ block["out.weight"] + block["out.bias"]
            inner = _norm(x) @ block["up.weight"] + block["up.bias"]
            x = x + np.maximum(inner, 0, out=inner) @ block["down.weight"] + block["down.bias"]
        last = self._last
        state: Floats = _norm(x) * last["norm.weight"] + last["norm.bias"]
        if self._items:
            pair: Floats = state @ last["pair.weight"].T + last["pair.bias"]
            keys.append(np.concatenate([memory.keys[-1], pair[None, :, d:]], 1))
            values.append(np.concatenate([memory.values[-1], own[None]], 1))
            mean = _attend(pair[None, -1:, :d], keys[-1], values[-1], last["distance"])[0]
            if self._both:
                mean = mean + (last["beyond.weight"] @ state[-1] + last["beyond.bias"]) * np.float32(d**-0.5)
            state = mean
        query: Floats = state[-1]
        if self._scale:
            query = query * (self._scale / max(np.sqrt(query @ query), np.float32(1e-12)))
        return Memory(tuple(keys), tuple(values)), query


def _norm(x: Floats) -> Floats:
    mean = np.full(x.shape[1], 1 / x.shape[1], np.float32)
    centred = x - (x @ mean)[:, None]
    normal: Floats = centred / np.sqrt(np.square(centred) @ mean + np.float32(1e-5))[:, None]
    return normal


def _attend(q: Floats, k: Floats, v: Floats, distance: Floats) -> Floats:
    """[heads, queries, dims / heads]; the queries are the latest of the keys' events, none sees what comes after it."""
    n, m = q.shape[1], k.shape[1]
    scores: Floats = q @ k.transpose(0, 2, 1) * np.float32(q.shape[2] ** -0.5)
    if n == 1:
        scores += distance[:, None, m - 1 :: -1]
    else:
        back = np.arange(m - n, m)[:, None] - np.arange(m)
        scores += distance[:, np.maximum(back, 0)]
        scores[:, back < 0] = -np.inf
    np.exp(scores - scores.max(2, keepdims=True), out=scores)
    mixed: Floats = scores @ v / scores.sum(2, keepdims=True)
    return mixed
