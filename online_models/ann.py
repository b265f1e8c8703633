"""The items of largest inner product with a query, among very many: exact for small tables, inverted lists for large ones.

An inverted file (Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", TPAMI 2011, without the
quantization) over directions: items whose vectors point the same way share a list, and a query looks into the lists it
points to. It keeps 8 bytes an item and reads the vectors where they are, memory-mapped or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .base import FloatArray, IntArray

FLAT = 8_192
"""Tables of at most so many items are searched whole: some 100 µs at 64 dims."""

SAMPLE, ROUNDS, CHUNK = 40, 8, 16_384
BESIDE = 3
"""Groups of lists that a row may be sorted into: those it points to most."""


@dataclass(frozen=True)
class Lists:
    """``groups`` [groups, dims] and ``centroids`` [lists, dims] are of length 1; the lists of group ``g`` are those from
    ``first[g]`` to ``first[g + 1]``, the rows of list ``i`` are ``order[starts[i]:starts[i + 1]]``."""

    groups: FloatArray
    first: NDArray[np.int64]
    centroids: FloatArray
    order: IntArray
    starts: NDArray[np.int64]


def lists_for(vectors: FloatArray, seed: int = 0) -> Lists | None:
    """Sort rows into about ``4 sqrt(n)`` lists by spherical k-means on a sample; None where a table is small enough.

    In two levels, groups and the lists of a group, so that a row is compared with some ``sqrt(lists)`` centroids and not with
    all. The same vectors and seed give the same lists.
    """
    n = len(vectors)
    if n <= FLAT:
        return None
    count = int(4 * np.sqrt(n))
    rng = np.random.default_rng(seed)
    sample = _directions(vectors[np.sort(rng.choice(n, min(n, SAMPLE * count), replace=False))])
    groups = _means(sample, int(np.sqrt(count)), rng)
    group = _nearest(sample, groups)
    parts = []
    for g in range(len(groups)):
        members = sample[group == g]
        if len(members):
            parts.append(_means(members, max(1, round(count * len(members) / len(sample))), rng))
        else:
            parts.append(groups[g : g + 1])
    nearest = _sorted_in(vectors, groups, parts)
    centroids = np.concatenate(parts)
    sizes = np.bincount(nearest, minlength=len(centroids))
    order = np.argsort(nearest, kind="stable").astype(np.int32)
    first = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    starts = np.cumsum(np.append(0, sizes), dtype=np.int64)
    return Lists(*(_fixed(array) for array in (groups, first, centroids, order, starts)))


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    """Read-only, as it is when it comes from a file: the search is compiled for that."""
    array.setflags(write=False)
    return array


def _directions(vectors: Any) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros(vectors.shape, np.float32), where=norms > 0.0, casting="unsafe")


def _means(sample: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Spherical k-means of directions: [count or fewer, dims]."""
    count = min(count, len(sample))
    centroids: FloatArray = sample[rng.choice(len(sample), count, replace=False)]
    for _ in range(ROUNDS):
        nearest = _nearest(sample, centroids)
        held, first = np.unique(np.sort(nearest), return_index=True)
        centroids = sample[rng.choice(len(sample), count)]  # for those that have lost all their rows
        centroids[held] = _directions(np.add.reduceat(sample[np.argsort(nearest, kind="stable")], first))
    return centroids


def _nearest(vectors: FloatArray, centroids: FloatArray) -> IntArray:
    """The centroid that each row points to most; chunk by chunk, so that little memory is taken. (A row's length does not matter.)"""
    out = np.empty(len(vectors), np.int32)
    for at in range(0, len(vectors), CHUNK):
        out[at : at + CHUNK] = (vectors[at : at + CHUNK] @ centroids.T).argmax(axis=1)
    return out


def _sorted_in(vectors: FloatArray, groups: FloatArray, parts: list[FloatArray]) -> IntArray:
    """The list of each row: the nearest of those in the `BESIDE` groups that it points to most."""
    first = np.cumsum([0, *map(len, parts)])
    out = np.empty(len(vectors), np.int32)
    beside = min(BESIDE, len(groups))
    for at in range(0, len(vectors), CHUNK):
        chunk = vectors[at : at + CHUNK]
        best = np.full(len(chunk), -np.inf, np.float32)
        near = np.argpartition(-(chunk @ groups.T), beside - 1, axis=1)[:, :beside]
        for g, centroids in enumerate(parts):
            rows = np.flatnonzero((near == g).any(axis=1))
            scores = chunk[rows] @ centroids.T
            found = scores.argmax(axis=1)
            highest = scores[np.arange(len(rows)), found]
            better = highest > best[rows]
            best[rows[better]] = highest[better]
            out[at + rows[better]] = first[g] + found[better]
    return out


_NONE: FloatArray = np.zeros(0, np.float32)


@njit(cache=True)
def _offer(item: int, score: Any, items: Any, scores: Any, n: int) -> int:
    """Insert into a list sorted by score, then by item; returns its new length."""
    k = items.shape[0]
    if n == k and not (score > scores[n - 1] or (score == scores[n - 1] and item < items[n - 1])):
        return n
    at = n if n < k else k - 1
    while at > 0 and (score > scores[at - 1] or (score == scores[at - 1] and item < items[at - 1])):
        items[at] = items[at - 1]
        scores[at] = scores[at - 1]
        at -= 1
    items[at] = item
    scores[at] = score
    return min(n + 1, k)


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _score(vectors: Any, bias: Any, row: int, query: Any) -> Any:
    s = bias[row] if bias.shape[0] else np.float32(0.0)
    for j in range(query.shape[0]):
        s += vectors[row, j] * query[j]
    return s


@njit(cache=True)
def scan(
    vectors: Any, bias: Any, query: Any, rows: Any, item_of: Any, blocked: Any, items: Any, scores: Any, n: int
) -> int:
    """Offer ``rows`` to the list ``items``/``scores`` of ``n`` so far, by inner product. ``item_of`` [rows of the table]
    says which item a row is (-1: none that may be listed); ``blocked[item] != 0`` keeps an item out."""
    for row in rows:
        item = item_of[row]
        if item >= 0 and blocked[item] == 0:
            n = _offer(item, _score(vectors, bias, row, query), items, scores, n)
    return n


@njit(cache=True)
def scan_long(
    vectors: Any, lengths: Any, query: Any, item_of: Any, blocked: Any, items: Any, scores: Any, n: int
) -> int:
    """As `scan`, of all rows that have one of the ``lengths``, without a bias. Vectors too short to get into the list are not looked at
    (Cauchy-Schwarz), which leaves the result as it is."""
    longest = np.float32(1.001 * np.sqrt(np.dot(query, query)))
    for row in range(lengths.shape[0]):
        if n == items.shape[0] and lengths[row] * longest < scores[n - 1]:
            continue
        item = item_of[row]
        if item >= 0 and blocked[item] == 0:
            n = _offer(item, _score(vectors, _NONE, row, query), items, scores, n)
    return n


@njit(cache=True)
def probe(groups: Any, first: Any, centroids: Any, starts: Any, query: Any, wide: int, chosen: Any) -> int:
    """Lists that the query points to most, of the ``wide`` groups that it points to most, into ``chosen``; returns how many."""
    near = np.empty(wide, np.int32)
    best = np.empty(max(wide, chosen.shape[0]), np.float32)
    found = 0
    for g in range(groups.shape[0]):
        found = _offer(g, _score(groups, _NONE, g, query), near, best, found)
    n = 0
    for i in range(found):
        for c in range(first[near[i]], first[near[i] + 1]):
            if starts[c] < starts[c + 1]:
                n = _offer(c, _score(centroids, _NONE, c, query), chosen, best, n)
    return n


@njit(cache=True)
def search(
    vectors: Any, bias: Any, groups: Any, first: Any, centroids: Any, order: Any, starts: Any, query: Any, wide: int, probes: int,
    item_of: Any, blocked: Any, items: Any, scores: Any,
) -> int:  # fmt: skip
    """The best ``len(items)`` of a table with inverted lists; returns how many there are."""
    chosen = np.empty(probes, np.int32)
    n = 0
    for i in range(probe(groups, first, centroids, starts, query, wide, chosen)):
        c = chosen[i]
        n = scan(vectors, bias, query, order[starts[c] : starts[c + 1]], item_of, blocked, items, scores, n)
    return n


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def cosines(vectors: Any, query: Any, row_of: Any, items: Any, out: Any) -> None:
    """How near each item's vector is to the query, -1 to 1, into ``out``; left as it is for items without a vector."""
    size = np.float32(0.0)
    for j in range(query.shape[0]):
        size += query[j] * query[j]
    for i in range(items.shape[0]):
        row = row_of[items[i]]
        if row < 0:
            continue
        s = np.float32(0.0)
        length = np.float32(0.0)
        for j in range(query.shape[0]):
            s += vectors[row, j] * query[j]
            length += vectors[row, j] * vectors[row, j]
        if length > 0.0 and size > 0.0:
            out[i] = s / np.sqrt(np.float64(length) * size)  # of two small ones nothing would be left in float32
