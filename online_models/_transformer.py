"""SASRec's blocks without torch: a session at once, or one more event on top of what is kept of the earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ._kernels import ONE_THREAD
from ._safetensors import checked

Floats = NDArray[np.float32]


ARRAY = 130
"""Bytes that an array takes besides its numbers."""


@dataclass(frozen=True)
class Memory:
    """What later events look at: ``keys`` and ``values`` [attentions, events, dims], those of the blocks first."""

    keys: Floats
    values: Floats

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.keys.nbytes + self.values.nbytes + 2 * ARRAY


class _Blocks(NamedTuple):
    """Weights of all blocks [blocks, inputs, outputs], biases [blocks, outputs], and what being so many events back adds [blocks,
    heads, length]."""

    qkv: Floats
    qkv_bias: Floats
    out: Floats
    out_bias: Floats
    up: Floats
    up_bias: Floats
    down: Floats
    down_bias: Floats
    distance: Floats


_OF_A_BLOCK = (
    "qkv.weight", "qkv.bias", "out.weight", "out.bias", "up.weight", "up.bias", "down.weight", "down.bias", "distance",
)  # fmt: skip


class _Last(NamedTuple):
    """What makes the query of the last block's output. ``pair`` [dims, 2 dims] and ``beyond`` [dims, dims] are empty where the readout
    has none."""

    scale: Floats
    shift: Floats
    pair: Floats
    pair_bias: Floats
    distance: Floats
    beyond: Floats
    beyond_bias: Floats


class TransformerEncoder:
    """Causal pre-norm attention blocks over the item vectors (SASRec). ``step`` is one event, ``encode`` a session."""

    def __init__(self, vectors: Floats, weights: Mapping[str, Floats], config: Mapping[str, Any]) -> None:
        d = self._dims = vectors.shape[1]
        self._vectors = vectors
        self.length, self._heads = int(config["length"]), int(config["heads"])
        layers, self._scale = int(config["layers"]), np.float32(config["scale"])
        items, both = config["readout"] != "state", config["readout"] == "both"
        self._attentions = layers + items
        if d % self._heads:
            raise ValueError(f"{d} dims do not divide into {self._heads} heads")
        shapes: dict[str, tuple[int, ...]] = {
            "norm1.weight": (d,), "norm1.bias": (d,), "norm2.weight": (d,), "norm2.bias": (d,),
            "qkv.weight": (3 * d, d), "qkv.bias": (3 * d,), "out.weight": (d, d), "out.bias": (d,),
            "up.weight": (2 * d, d), "up.bias": (2 * d,), "down.weight": (d, 2 * d), "down.bias": (d,),
            "distance": (self._heads, self.length),
        }  # fmt: skip
        blocks = []
        for n in range(layers):
            block = {name: checked(weights, f"blocks.{n}.{name}", *shape) for name, shape in shapes.items()}
            for norm, linear in (("norm1", "qkv"), ("norm2", "up")):  # scale and shift go into the layer behind them
                block[f"{linear}.bias"] += block[f"{linear}.weight"] @ block[f"{norm}.bias"]
                block[f"{linear}.weight"] *= block[f"{norm}.weight"]
            blocks.append({k: a.T if k.endswith("weight") else a for k, a in block.items()})
        last: dict[str, tuple[int, ...]] = {"norm.weight": (d,), "norm.bias": (d,)}
        if items:
            last |= {"pair.weight": (2 * d, d), "pair.bias": (2 * d,), "distance": (1, self.length)}
        if both:
            last |= {"beyond.weight": (d, d), "beyond.bias": (d,)}
        found = {name: checked(weights, name, *shape) for name, shape in last.items()}
        none, flat = np.zeros((0, 0), np.float32), np.zeros(0, np.float32)
        self._blocks = _Blocks(*(_fixed(np.stack([block[name] for block in blocks])) for name in _OF_A_BLOCK))
        self._last = _Last(
            found["norm.weight"], found["norm.bias"], _fixed(found.get("pair.weight", none).T), found.get("pair.bias", flat),
            found.get("distance", none), _fixed(found.get("beyond.weight", none).T), found.get("beyond.bias", flat),
        )  # fmt: skip

    def start(self) -> Memory:
        """What is kept before a session's first event."""
        none = np.zeros((self._attentions, 0, self._dims), np.float32)
        return Memory(none, none)

    def step(self, memory: Memory, row: int) -> tuple[Memory, Floats]:
        """What is kept after one more event, and the query; ``memory`` stays as it is. Raises ValueError beyond ``length`` events."""
        if memory.keys.shape[1] >= self.length:
            raise ValueError(
                f"expected at most {self.length} events, got one more; encode the latest ones as a session"
            )
        return self._run(self._vectors[row : row + 1], memory)

    def encode(self, rows: NDArray[np.int64]) -> Floats | None:
        """See `Encoder`."""
        known = rows[rows >= 0][-self.length :]
        return self._run(self._vectors[known], self.start())[1] if len(known) else None

    def _run(self, own: Floats, memory: Memory) -> tuple[Memory, Floats]:
        own = np.array(own, np.float32)
        keys, values, query = _walk(own, memory.keys, memory.values, self._blocks, self._last, self._heads)
        if self._scale:
            query = query * (self._scale / max(np.sqrt(query @ query), np.float32(1e-12)))
        return Memory(keys, values), query


@njit(cache=True)
def _walk(own: Any, keys_before: Any, values_before: Any, blocks: Any, last: Any, heads: int) -> Any:
    """Keys and values [attentions, events, dims] with those of the events ``own`` [n, dims], and the query [dims] after the last."""
    n, d = own.shape
    attentions, m = keys_before.shape[0], keys_before.shape[1]
    keys = np.empty((attentions, m + n, d), np.float32)
    values = np.empty((attentions, m + n, d), np.float32)
    keys[:, :m], values[:, :m] = keys_before, values_before
    x = own * np.float32(np.sqrt(d))
    normal, mixed = np.empty_like(x), np.empty_like(x)
    scores = np.empty(m + n, np.float32)
    for layer in range(blocks.qkv.shape[0]):
        _norm(x, normal)
        qkv = _through(normal, blocks.qkv[layer], blocks.qkv_bias[layer])
        keys[layer, m:], values[layer, m:] = qkv[:, d : 2 * d], qkv[:, 2 * d :]
        for i in range(n):
            _attend(
                qkv[i, :d], keys[layer, : m + i + 1], values[layer], blocks.distance[layer], heads, scores, mixed[i]
            )
        x += _through(mixed, blocks.out[layer], blocks.out_bias[layer])
        _norm(x, normal)
        inner = np.maximum(_through(normal, blocks.up[layer], blocks.up_bias[layer]), np.float32(0.0))
        x += _through(inner, blocks.down[layer], blocks.down_bias[layer])
    _norm(x, normal)
    state = normal * last.scale + last.shift
    if not last.pair.shape[0]:
        return keys, values, state[n - 1].copy()
    pair = _through(state, last.pair, last.pair_bias)
    keys[attentions - 1, m:], values[attentions - 1, m:] = pair[:, d:], own
    query = np.empty(d, np.float32)
    _attend(pair[n - 1, :d], keys[attentions - 1], values[attentions - 1], last.distance, 1, scores, query)
    if last.beyond.shape[0]:
        query += (np.dot(state[n - 1], last.beyond) + last.beyond_bias) * np.float32(1.0 / np.sqrt(d))
    return keys, values, query


@njit(cache=True)
def _through(x: Any, weight: Any, bias: Any) -> Any:
    """A linear layer, so few rows at a time that no work goes to other threads: bits would depend on how many there are."""
    n = x.shape[0]
    out = np.empty((n, weight.shape[1]), np.float32)
    at_a_time = max(ONE_THREAD // weight.size, 1)
    for begin in range(0, n, at_a_time):
        end = min(begin + at_a_time, n)
        out[begin:end] = np.dot(x[begin:end], weight) + bias
    return out


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _norm(x: Any, out: Any) -> None:
    n, d = x.shape
    for i in range(n):
        mean = np.float32(0.0)
        for j in range(d):
            mean += x[i, j]
        mean /= np.float32(d)
        squares = np.float32(0.0)
        for j in range(d):
            out[i, j] = x[i, j] - mean
            squares += out[i, j] * out[i, j]
        scale = np.float32(1.0) / np.sqrt(squares / np.float32(d) + np.float32(1e-5))
        for j in range(d):
            out[i, j] *= scale


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _attend(q: Any, keys: Any, values: Any, distance: Any, heads: int, scores: Any, out: Any) -> None:
    """What a query [dims] takes of ``values`` [events, dims], head by head; its own event is the last of ``keys``."""
    m, width = keys.shape[0], q.shape[0] // heads
    scale = np.float32(1.0 / np.sqrt(width))
    for h in range(heads):
        at = h * width
        top = np.float32(-np.inf)
        for e in range(m):
            s = np.float32(0.0)
            for j in range(at, at + width):
                s += q[j] * keys[e, j]
            scores[e] = s * scale + distance[h, m - 1 - e]
            top = max(top, scores[e])
        total = np.float32(0.0)
        for e in range(m):
            scores[e] = np.exp(scores[e] - top)
            total += scores[e]
        out[at : at + width] = np.float32(0.0)
        for e in range(m):
            share = scores[e] / total
            for j in range(at, at + width):
                out[j] += share * values[e, j]


def _fixed(array: Floats) -> Floats:
    return np.ascontiguousarray(array)
