"""What has been learned, by offset and by event id: what makes a second copy of an interaction or an event harmless."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from online_models.base import Arrays

WINDOW = 1 << 16
"""Offsets remembered one by one behind the highest of a partition; older ones count as learned."""


class LearnedOffsets:
    """Per source partition, the highest offset learned and a bitmap of those close behind it.

    >>> seen = LearnedOffsets()
    >>> seen.add(0, 5), seen.add(0, 3), seen.add(0, 5), (0, 3) in seen, (0, 4) in seen
    (True, True, False, True, False)
    """

    def __init__(self) -> None:
        self._flags: dict[int, npt.NDArray[np.uint8]] = {}
        self._top: dict[int, int] = {}
        self.beyond = 0
        """Offsets that came when they were too far behind to know, and were taken for learned."""

    def __contains__(self, source: tuple[int, int]) -> bool:
        partition, offset = source
        top = self._top.get(partition, -1)
        if offset > top:
            return False
        return offset <= top - WINDOW or bool(self._flags[partition][offset % WINDOW])

    def add(self, partition: int, offset: int) -> bool:
        """Note an offset; False if it was there."""
        top = self._top.get(partition, -1)
        if top < 0 and partition not in self._flags:
            self._flags[partition] = np.zeros(WINDOW, np.uint8)
        flags = self._flags[partition]
        if offset > top:
            if offset - top >= WINDOW:
                flags[:] = 0
            elif offset - top > 1:
                flags[np.arange(top + 1, offset) % WINDOW] = 0
            self._top[partition] = offset
        elif offset <= top - WINDOW:
            self.beyond += 1
            return False
        elif flags[offset % WINDOW]:
            return False
        flags[offset % WINDOW] = 1
        return True

    def top(self) -> dict[int, int]:
        """Partition → the highest offset learned."""
        return dict(self._top)

    def snapshot(self) -> Arrays:
        parts = sorted(self._top)
        return {
            "partitions": np.array(parts, np.int64),
            "tops": np.array([self._top[p] for p in parts], np.int64),
            "flags": np.array([np.packbits(self._flags[p]) for p in parts], np.uint8).reshape(len(parts), WINDOW // 8),
        }

    def restore(self, state: Arrays) -> None:
        self._top = {int(p): int(t) for p, t in zip(state["partitions"], state["tops"], strict=True)}
        self._flags = {int(p): np.unpackbits(row) for p, row in zip(state["partitions"], state["flags"], strict=True)}

    @property
    def nbytes(self) -> int:
        return sum(f.nbytes for f in self._flags.values())


class EventWindow:
    """The latest event ids (64-bit hashes), a bounded set: what drops an event that is sent twice."""

    def __init__(self, capacity: int) -> None:
        self.ring: npt.NDArray[np.uint64] = np.zeros(capacity, np.uint64)
        self.n = 0
        self._set: set[int] = set()

    def __contains__(self, event: int) -> bool:
        return event in self._set

    def add(self, event: int) -> None:
        if event in self._set:
            return
        at = self.n % len(self.ring)
        if self.n >= len(self.ring):
            self._set.discard(int(self.ring[at]))
        self.ring[at] = event
        self._set.add(event)
        self.n += 1

    def snapshot(self) -> Arrays:
        used = min(self.n, len(self.ring))
        return {"ring": self.ring[:used], "n": np.array([self.n])}

    def restore(self, state: Arrays) -> None:
        self.ring[: len(state["ring"])] = state["ring"]
        self.n = int(state["n"][0])
        self._set = set(state["ring"].tolist())

    @property
    def nbytes(self) -> int:
        return self.ring.nbytes + 64 * len(self._set)
