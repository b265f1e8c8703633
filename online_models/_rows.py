"""Growing rows in one flat pool: item → a bounded list of (key, weight), doubled in place up to a cap.

Most items have few neighbours and some have hundreds. A row starts small and moves to a block of twice the size when
it is full; blocks given up are used again. At the cap the lightest entry makes room.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FIRST_ROOM = 8
CLASSES = 24


@njit(cache=True)
def _grow(keys: Any, weights: Any, start: Any, room: Any, size: Any, free: Any, tail: Any, row: int) -> None:
    old_start, old_room = start[row], room[row]
    new_room = FIRST_ROOM if old_room == 0 else old_room * 2
    cls = 0
    while (FIRST_ROOM << cls) < new_room:
        cls += 1
    if free[cls] >= 0:
        block = free[cls]
        free[cls] = keys[block]
    else:
        block = tail[0]
        tail[0] += new_room
    for i in range(size[row]):
        keys[block + i] = keys[old_start + i]
        weights[block + i] = weights[old_start + i]
    if old_room > 0:
        keys[old_start] = free[cls - 1]
        free[cls - 1] = old_start
    start[row] = block
    room[row] = new_room


@njit(cache=True)
def add_weight(
    keys: Any,
    weights: Any,
    start: Any,
    room: Any,
    size: Any,
    free: Any,
    tail: Any,
    row: int,
    key: int,
    w: float,
    cap: int,
) -> None:
    """Add ``w`` to entry ``key`` of ``row``; a full row at its cap loses its lightest entry."""
    base, n = start[row], size[row]
    for i in range(base, base + n):
        if keys[i] == key:
            weights[i] += w
            return
    if n < cap:
        if n == room[row]:
            _grow(keys, weights, start, room, size, free, tail, row)
            base = start[row]
        keys[base + n] = key
        weights[base + n] = w
        size[row] = n + 1
        return
    light = base
    for i in range(base + 1, base + n):
        if weights[i] < weights[light]:
            light = i
    keys[light] = key
    weights[light] = w


@njit(cache=True)
def append_ring(
    keys: Any,
    weights: Any,
    start: Any,
    room: Any,
    size: Any,
    free: Any,
    tail: Any,
    head: Any,
    row: int,
    key: int,
    cap: int,
) -> None:
    """Append ``key`` to ``row``; at the cap the oldest entry is overwritten (``head`` counts appends past the cap)."""
    n = size[row]
    if n < cap:
        if n == room[row]:
            _grow(keys, weights, start, room, size, free, tail, row)
        keys[start[row] + n] = key
        size[row] = n + 1
        return
    keys[start[row] + head[row] % cap] = key
    head[row] += 1


@njit(cache=True)
def _copy_rows(
    keys: Any, weights: Any, start: Any, size: Any, new_index: Any, map_keys: bool,
    to_keys: Any, to_weights: Any, to_start: Any, to_room: Any, to_size: Any, free: Any, tail: Any, cap: int,
) -> None:  # fmt: skip
    for row in range(new_index.shape[0]):
        target = new_index[row]
        if target < 0:
            continue
        for i in range(start[row], start[row] + size[row]):
            key = new_index[keys[i]] if map_keys else keys[i]
            if key >= 0:
                n = to_size[target]
                if n == to_room[target]:
                    _grow(to_keys, to_weights, to_start, to_room, to_size, free, tail, target)
                at = to_start[target] + n
                to_keys[at] = key
                to_weights[at] = weights[i]
                to_size[target] = n + 1


class Rows:
    """The pool and its index. ``cap`` is the longest row; kernels take ``pool`` (keys, weights, start, room, size, free, tail),
    and those that only read take ``entries`` (keys, weights, start, size)."""

    def __init__(self, cap: int) -> None:
        if cap < FIRST_ROOM or cap & (cap - 1):
            raise ValueError(
                f"expected a power of two of at least {FIRST_ROOM} as the longest row, got {cap}; round it up"
            )
        self.cap = cap
        self.keys: npt.NDArray[np.int32] = np.zeros(1024, np.int32)
        self.weights: npt.NDArray[np.float32] = np.zeros(1024, np.float32)
        self.start: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self.room: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self.size: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self.free: npt.NDArray[np.int64] = np.full(CLASSES, -1, np.int64)
        self.tail: npt.NDArray[np.int64] = np.zeros(1, np.int64)
        self._bind()

    def _bind(self) -> None:
        self.pool = (self.keys, self.weights, self.start, self.room, self.size, self.free, self.tail)
        self.entries = (self.keys, self.weights, self.start, self.size)

    def reserve(self, rows: int, appends: int) -> None:
        """Make sure that ``rows`` rows exist and that ``appends`` rows may each grow once."""
        need = int(self.tail[0]) + appends * self.cap
        if rows <= len(self.start) and need <= len(self.keys):
            return
        if rows > len(self.start):
            more = max(rows, 2 * len(self.start), 64) - len(self.start)
            self.start = np.concatenate([self.start, np.zeros(more, np.int64)])
            self.room = np.concatenate([self.room, np.zeros(more, np.int32)])
            self.size = np.concatenate([self.size, np.zeros(more, np.int32)])
        if need > len(self.keys):
            more = max(need, 2 * len(self.keys)) - len(self.keys)
            self.keys = np.concatenate([self.keys, np.zeros(more, np.int32)])
            self.weights = np.concatenate([self.weights, np.zeros(more, np.float32)])
        self._bind()

    def remap(self, new_index: npt.NDArray[np.int32], map_keys: bool = True) -> None:
        """Keep the rows with ``new_index[row] >= 0`` under their new number, dropping entries whose key is gone."""
        # rows grow one after the other now, and may leave a block of each size behind that had been used again before
        self.reserve(len(new_index), 2)
        old = (self.keys, self.weights, self.start, self.size)
        self.keys, self.weights = np.zeros_like(self.keys), np.zeros_like(self.weights)
        self.start, self.room, self.size = np.zeros_like(self.start), np.zeros_like(self.room), np.zeros_like(self.size)
        self.free, self.tail = np.full(CLASSES, -1, np.int64), np.zeros(1, np.int64)
        self._bind()
        _copy_rows(*old, new_index, map_keys, *self.pool, self.cap)

    def snapshot(self, name: str, weights: bool = True) -> dict[str, npt.NDArray[Any]]:
        """Views of what is in use; of rows that are rings, which have no weights, without these."""
        used = int(self.tail[0])
        return {
            f"{name}.keys": self.keys[:used],
            f"{name}.weights": self.weights[: used if weights else 0],
            f"{name}.start": self.start,
            f"{name}.room": self.room,
            f"{name}.size": self.size,
            f"{name}.free": self.free,
            f"{name}.tail": self.tail,
        }

    def restore(self, name: str, state: dict[str, npt.NDArray[Any]]) -> None:
        for field in ("keys", "weights", "start", "room", "size", "free", "tail"):
            setattr(self, field, state[f"{name}.{field}"].copy())
        if len(self.weights) < len(self.keys):
            self.weights = np.zeros(len(self.keys), np.float32)
        self._bind()

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in self.pool)
