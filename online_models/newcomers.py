"""Items that a version of the deep model was not trained with: the vectors that the stream gives them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import FloatArray, IntArray, grown, remapped

NEWCOMERS = 4_096
"""Items beside the artefact's that have a vector, at most; the one that got its first longest ago makes room."""
STEADY, STEADIER = 50, 20_000
"""Queries after which a newcomer's mean, and the mean of all, follow as an average of about so many."""
DOUBT, FEW = 2.0, 100
"""Queries that a newcomer needs for half of its vector's length, and that the mean of all needs to count half."""
_TINY = np.float32(1e-12)


@dataclass(frozen=True)
class Learned:
    """What was learned of newcomers, as of one moment: rows of the item table ``items`` [n], the one that came first first, with
    ``means`` [n, dims] and ``count`` [n]; the mean of all ``queries``, ``centre`` [dims]."""

    items: IntArray
    means: FloatArray
    count: NDArray[np.int32]
    centre: FloatArray
    queries: int


class Newcomers:
    """Vectors of items that a version does not know, from the queries that led to them.

    Queries resemble one another more than items do, so what counts is where an item's mean query (``means``, of directions)
    lies from the mean of all (``centre``): that direction, at the length that the version's vectors usually have. One that
    was seen n times has n / (n + `DOUBT`) of it.
    """

    def __init__(self, dims: int, length: float, capacity: int = NEWCOMERS) -> None:
        self.length = np.float32(length)
        self.vectors: FloatArray = np.zeros((capacity, dims), np.float32)
        self.lengths: FloatArray = np.zeros(capacity, np.float32)
        self.means: FloatArray = np.zeros((capacity, dims), np.float32)
        self.count: NDArray[np.int32] = np.zeros(capacity, np.int32)
        self.centre, self.queries = np.zeros(dims, np.float32), 0
        self.item: IntArray = np.full(capacity, -1, np.int32)
        self.slot_of: IntArray = np.full(64, -1, np.int32)
        self.used = self.next = 0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        arrays = self.vectors, self.lengths, self.means, self.count, self.centre, self.item, self.slot_of
        return sum(array.nbytes for array in arrays)

    def know(self, item: int) -> None:
        """There is such a row in the item table."""
        self.slot_of = grown(self.slot_of, item + 1, -1)

    def asked(self, query: FloatArray) -> FloatArray | None:
        """Take a query into the mean of all; its direction, None where it has none."""
        size = np.float32(np.sqrt(query @ query))
        if size == 0.0:
            return None
        direction = query / size
        self.queries = n = min(self.queries + 1, STEADIER)
        self.centre += (direction - self.centre) / np.float32(n)
        return direction

    def learn(self, item: int, direction: FloatArray) -> None:
        """A session whose query has this direction went on to ``item`` (a row of the item table)."""
        slot = self.slot(item)
        self.put(slot, self.means[slot], min(int(self.count[slot]) + 1, STEADY), direction)

    def put(self, slot: int, mean: FloatArray, count: int, direction: FloatArray | None = None) -> None:
        """Set a slot's mean query, moved by one more ``direction``, and its vector."""
        if direction is not None:
            mean = mean + (direction - mean) / np.float32(count)
        self.means[slot], self.count[slot] = mean, count
        away = mean - self.centre * np.float32(self.queries / (self.queries + FEW))
        size = np.float32(np.sqrt(away @ away))
        self.vectors[slot] = v = away * (self.length * np.float32(count / (count + DOUBT)) / max(size, _TINY))
        self.lengths[slot] = np.sqrt(v @ v)

    def learned(self) -> Learned:
        """A copy of what is known now: the stream goes on changing it."""
        held = np.flatnonzero(self.item[: self.used] >= 0)
        held = held[np.argsort((held - self.next) % len(self.item), kind="stable")]
        return Learned(self.item[held], self.means[held], self.count[held], self.centre.copy(), self.queries)

    def take(self, learned: Learned, centre: bool = True) -> None:
        """Take over what was learned elsewhere; ``centre``: the mean of all queries too."""
        if centre:
            self.centre, self.queries = learned.centre, learned.queries
        for item, mean, count in zip(learned.items.tolist(), learned.means, learned.count.tolist(), strict=True):
            self.put(self.slot(item), mean, count)

    def slot(self, item: int) -> int:
        """The item's slot, a new one if need be."""
        self.know(item)
        slot = int(self.slot_of[item])
        if slot < 0:
            slot = self.next
            self.next = (slot + 1) % len(self.item)
            if self.item[slot] >= 0:
                self.slot_of[self.item[slot]] = -1
            self.item[slot], self.slot_of[item] = item, slot
            self.vectors[slot], self.lengths[slot], self.means[slot], self.count[slot] = 0.0, 0.0, 0.0, 0
            self.used = max(self.used, slot + 1)
        return slot

    def remap(self, new_index: IntArray) -> None:
        """The item table was compacted."""
        self.slot_of = remapped(self.slot_of, new_index, -1)
        held = self.item[: self.used]
        known = held >= 0
        held[known] = new_index[held[known]]
