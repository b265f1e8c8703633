"""The item table: external ids ↔ rows, and what is counted for every item.

Rows are numbered in order of first sight. The table is bounded: when it is full, the items that were seen longest ago
leave together and the rest close up (`compact`), which every model follows with ``remap``.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .base import Arrays, IntArray, grown, remapped


def hash_id(text: str) -> int:
    """64 bits of a string, the same in every process.

    >>> hash_id("a") == hash_id("a") != hash_id("b")
    True
    """
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class Standing(NamedTuple):
    """An item table as it is now: `ItemTable.generation`, and the hashes of its items; they stay as they are when it changes."""

    generation: int
    hashes: npt.NDArray[np.uint64]


class ItemTable:
    """Items seen so far, at most ``capacity``. ``count`` is the exact number of events, whatever their type.

    >>> t = ItemTable()
    >>> t.add("x", 0), t.add("y", 0), t.row("x"), t.row("z")
    (0, 1, 0, -1)
    """

    _FIELDS = ("first_ms", "last_ms", "last_n", "count")

    def __init__(self, capacity: int = 1_000_000) -> None:
        self.capacity = capacity
        self.ids: list[str] = []
        self.index: dict[str, int] = {}
        self.events = 0
        self.generation = 0
        """Times that the rows have moved."""
        self.first_ms: npt.NDArray[np.int64] = np.zeros(64, np.int64)
        self.last_ms: npt.NDArray[np.int64] = np.zeros(64, np.int64)
        self.last_n: npt.NDArray[np.int64] = np.zeros(64, np.int64)
        self.count: npt.NDArray[np.int64] = np.zeros(64, np.int64)
        self.hashes: npt.NDArray[np.uint64] = np.zeros(64, np.uint64)
        self.blocked: npt.NDArray[np.uint8] = np.zeros(64, np.uint8)
        """Not zero: may not be recommended to anyone now (set by filters; not part of the snapshot)."""

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, item_id: str) -> int:
        """The row of an item, or -1."""
        return self.index.get(item_id, -1)

    @property
    def standing(self) -> Standing:
        """For whoever reads on while the table changes."""
        return Standing(self.generation, self.hashes[: len(self.ids)])

    def hash_of(self, row: int) -> int:
        """64 bits of the item's id."""
        return int(self.hashes[row])

    def add(self, item_id: str, timestamp: int) -> int:
        """The row of an item, new if need be."""
        row = self.index.get(item_id, -1)
        if row < 0:
            row = len(self.ids)
            self.ids.append(item_id)
            self.index[item_id] = row
            if row >= len(self.count):
                for field in (*self._FIELDS, "hashes", "blocked"):
                    setattr(self, field, grown(getattr(self, field), row + 1))
            self.hashes[row] = hash_id(item_id)
            self.first_ms[row] = self.last_ms[row] = timestamp
            self.count[row] = 0
            self.last_n[row] = self.events
        return row

    def touch(self, row: int, timestamp: int) -> None:
        """Count one event."""
        self.events += 1
        self.count[row] += 1
        self.last_n[row] = self.events
        if timestamp > self.last_ms[row]:
            self.last_ms[row] = timestamp

    def full(self) -> bool:
        return len(self.ids) >= self.capacity

    def compact(self, keep: float = 0.875) -> IntArray:
        """Drop the items seen longest ago; returns where every old row went (-1: gone)."""
        n = len(self.ids)
        kept = np.sort(np.argsort(-self.last_n[:n], kind="stable")[: int(n * keep)])
        self.generation += 1
        new_index = np.full(n, -1, np.int32)
        new_index[kept] = np.arange(len(kept), dtype=np.int32)
        self.ids = [self.ids[i] for i in kept]
        self.index = {item: row for row, item in enumerate(self.ids)}
        for field in (*self._FIELDS, "hashes", "blocked"):
            setattr(self, field, remapped(getattr(self, field), new_index))
        return new_index

    def snapshot(self) -> Arrays:
        n = len(self.ids)
        text = "\n".join(self.ids).encode("utf-8", "surrogatepass")
        lengths = np.fromiter((len(i.encode("utf-8", "surrogatepass")) for i in self.ids), np.int32, n)
        return {
            "ids": np.frombuffer(text, np.uint8), "lengths": lengths, "events": np.array([self.events]),
            **{f: getattr(self, f)[:n] for f in self._FIELDS},
        }  # fmt: skip

    def restore(self, state: Arrays) -> None:
        raw, at = state["ids"].tobytes(), 0
        self.ids = []
        for length in state["lengths"].tolist():
            self.ids.append(raw[at : at + length].decode("utf-8", "surrogatepass"))
            at += length + 1
        self.index = {item: row for row, item in enumerate(self.ids)}
        self.events = int(state["events"][0])
        for field in self._FIELDS:
            setattr(self, field, grown(state[field].copy(), 64))
        self.hashes = grown(np.fromiter(map(hash_id, self.ids), np.uint64, len(self.ids)), 64)
        self.blocked = np.zeros(len(self.count), np.uint8)  # `add` grows all of them when the counts are full

    @property
    def nbytes(self) -> int:
        """Bytes held, ids and index estimated at 150 an item."""
        held: Any = sum(getattr(self, f).nbytes for f in (*self._FIELDS, "hashes", "blocked"))
        return int(held) + 150 * len(self.ids)
