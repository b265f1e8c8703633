"""Nearest-neighbour recommendation over an incremental, bounded index of sessions (or of users' recent items).

Vector-multiplication session kNN as in VMIS-kNN (Kersbergen et al., "Serenade", SIGMOD 2022) with the decays of V-STAN
(Ludewig et al., "Empirical analysis of session-based recommendation algorithms", UMUAI 2021): in the current session by
position, over neighbours by age, and inside a neighbour by distance from the matching item.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ._kernels import drain_top, insert_top
from ._rows import Rows, append_ring
from .base import Arrays, FloatArray, IntArray, Observation, Query, grown


@njit(cache=True)
def _learn(
    pool: Any,
    head: Any,
    members: Any,
    length: Any,
    touched_at: Any,
    serial: Any,
    slot: int,
    item: int,
    n: int,
    cap: int,
) -> None:
    keys, weights, start, room, size, free, tail = pool
    width = members.shape[1]
    touched_at[slot] = n
    have = length[slot]
    shown = min(have, width)
    found = -1
    for i in range(shown):
        if members[slot, i] == item:
            found = i
            break
    if found >= 0 and have <= width:
        for i in range(found, shown - 1):
            members[slot, i] = members[slot, i + 1]
        members[slot, shown - 1] = item
        return
    if shown == width:
        for i in range(width - 1):
            members[slot, i] = members[slot, i + 1]
        members[slot, width - 1] = item
    else:
        members[slot, shown] = item
        length[slot] = shown + 1
    append_ring(keys, weights, start, room, size, free, tail, head, item, serial[slot], cap)


@njit(cache=True)
def _candidates(
    pool: Any, head: Any, members: Any, length: Any, touched_at: Any, serial: Any, self_slot: int, recent: Any, last: int, m: int, k: int,
    fade: float, age_decay: float, n: int, n_sessions: float, cap: int, blocked: Any, sim: Any, inner: Any, hit_at: Any,
    slots: Any, near: Any, near_sim: Any, acc: Any, touched: Any, items: Any, scores: Any,
) -> int:  # fmt: skip
    keys, _weights, start, _room, size, _free, _tail = pool
    n_slots = serial.shape[0]
    found = 0
    w = np.float32(1.0)
    for r in range(min(last, recent.shape[0])):
        row = recent[r]
        if row < size.shape[0] and size[row] > 0:
            have = size[row]
            idf = np.float32(np.log(1.0 + n_sessions / have))
            newest = (head[row] - 1) % cap if head[row] > 0 else have - 1
            for back in range(min(m, have)):
                at = newest - back
                if at < 0:
                    at += have
                number = keys[start[row] + at]
                slot = number % n_slots
                if serial[slot] != number or slot == self_slot:
                    continue
                if sim[slot] == 0.0:
                    slots[found] = slot
                    found += 1
                    hit_at[slot] = r
                sim[slot] += w * idf
        w *= np.float32(fade)
    n_near = 0
    for i in range(found):
        slot = slots[i]
        value = sim[slot] * np.float32(np.exp(-age_decay * (n - touched_at[slot])))
        sim[slot] = 0.0
        n_near = insert_top(near, near_sim, n_near, k, slot, value)
    count = 0
    for i in range(n_near):
        slot = near[i]
        match = recent[hit_at[slot]]
        shown = min(length[slot], members.shape[1])
        where = shown - 1
        for j in range(shown):
            if members[slot, j] == match:
                where = j
                break
        for j in range(shown):
            item = members[slot, j]
            distance = j - where if j > where else where - j
            if distance == 0 and item == match:
                continue
            more = near_sim[i] * inner[min(distance, inner.shape[0] - 1)]
            if more == 0.0:  # too old to count; counted, it would be touched again by every neighbour
                continue
            if acc[item] == 0.0:
                touched[count] = item
                count += 1
            acc[item] += more
    return drain_top(acc, touched, count, blocked, items.shape[0], items, scores)


@njit(cache=True)
def _forget(members: Any, length: Any, new_index: Any) -> None:
    """Rename the items of every unit; those that are gone leave it, the others close up."""
    for slot in range(length.shape[0]):
        n = 0
        for i in range(min(length[slot], members.shape[1])):
            row = new_index[members[slot, i]]
            if row >= 0:
                members[slot, n] = row
                n += 1
        length[slot] = n


@njit(cache=True)
def _unroll(keys: Any, start: Any, size: Any, head: Any, cap: int) -> None:
    """Lay every ring out from its oldest entry, so that it can start at head 0 again."""
    old = np.empty(cap, np.int32)
    for row in range(min(head.shape[0], size.shape[0])):
        n, first = size[row], head[row] % cap
        if first > 0:
            at = start[row]
            old[:n] = keys[at : at + n]
            keys[at : at + n - first] = old[first:n]
            keys[at + n - first : at + n] = old[:first]
        head[row] = 0


@njit(cache=True)
def _gather(members: Any, length: Any, entries: Any) -> None:
    """The members of all units, one unit after the other."""
    at = 0
    for slot in range(length.shape[0]):
        for i in range(length[slot]):
            entries[at] = members[slot, i]
            at += 1


@njit(cache=True)
def _spread(entries: Any, length: Any, members: Any) -> None:
    at = 0
    for slot in range(length.shape[0]):
        for i in range(length[slot]):
            members[slot, i] = entries[at]
            at += 1


class SessionKNN:
    """Session kNN that knows every event at once.

    ``unit`` says what a neighbour is: a "user" (the latest ``width`` distinct items) or a "session". The index holds the
    latest ``capacity`` units and, per item, the latest ``m`` of them; ``k`` neighbours vote. ``fade`` weighs the places of
    the current session, ``half_life`` (events) ages neighbours, ``inner`` fades with distance from the matching item.
    """

    def __init__(
        self, name: str = "knn", unit: str = "user", last: int = 5, m: int = 512, k: int = 100, fade: float = 0.8,
        half_life: float = 50_000.0, inner: float = 0.9, width: int = 32, capacity: int = 1 << 17,
    ) -> None:  # fmt: skip
        self.lists = (name,)
        self.unit, self.last, self.m, self.k, self.fade = unit, last, m, k, fade
        self.age_decay = float(np.log(2.0) / half_life)
        self.inner = (inner ** np.arange(width + 1)).astype(np.float32)
        self.width, self.capacity = width, capacity
        self.rows = Rows(m)
        self.head = np.zeros(64, np.int32)
        self.slot_of: dict[int, int] = {}
        self._allocate(min(1024, capacity))
        self.clock = np.zeros(2, np.int64)  # events learned, units begun

    def _allocate(self, slots: int) -> None:
        old = getattr(self, "members", np.zeros((0, self.width), np.int32))
        have = len(old)
        self.members = np.zeros((slots, self.width), np.int32)
        self.members[:have] = old
        self.length = grown(getattr(self, "length", np.zeros(0, np.int32)), slots)[:slots]
        self.touched_at = grown(getattr(self, "touched_at", np.zeros(0, np.int64)), slots)[:slots]
        self.serial = grown(getattr(self, "serial", np.zeros(0, np.int32)), slots, -1)[:slots]
        self.key = grown(getattr(self, "key", np.zeros(0, np.uint64)), slots)[:slots]
        self._work()

    def _work(self) -> None:
        slots = len(self.serial)
        self.sim, self.hit_at = np.zeros(slots, np.float32), np.zeros(slots, np.int32)
        self.slots = np.zeros(max(self.last * self.m, 1), np.int32)
        self.near, self.near_sim = np.zeros(self.k, np.int32), np.zeros(self.k, np.float32)

    def learn_one(self, o: Observation) -> None:
        if o.weight <= 0.0:
            return
        self.rows.reserve(o.item + 1, 1)
        if o.item >= len(self.head):
            self.head = grown(self.head, o.item + 1)
        self.clock[0] += 1
        key = o.user if self.unit == "user" else o.session
        slot = self.slot_of.get(key, -1)
        if slot < 0:
            slot = self._begin(key)
        _learn(
            self.rows.pool, self.head, self.members, self.length, self.touched_at, self.serial, slot, o.item,
            int(self.clock[0]), self.m,
        )  # fmt: skip

    def _begin(self, key: int) -> int:
        number = int(self.clock[1])
        if number == len(self.serial) < self.capacity:
            self._allocate(min(2 * number, self.capacity))
        slot = number % len(self.serial)
        if self.serial[slot] >= 0:
            del self.slot_of[int(self.key[slot])]
        self.serial[slot], self.key[slot], self.length[slot] = number, key, 0
        self.slot_of[key] = slot
        self.clock[1] = number + 1
        return slot

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        if len(q.recent) == 0:
            counts[0] = 0
            return
        own = self.slot_of.get(q.user if self.unit == "user" else q.session, -1)
        n_units = float(min(int(self.clock[1]), len(self.serial)))
        counts[0] = _candidates(
            self.rows.pool, self.head, self.members, self.length, self.touched_at, self.serial, own, q.recent, self.last,
            self.m, self.k, self.fade, self.age_decay, int(self.clock[0]), n_units, self.m, q.blocked, self.sim,
            self.inner, self.hit_at, self.slots, self.near, self.near_sim, q.scratch.acc, q.scratch.touched, items[0], scores[0],
        )  # fmt: skip

    _FIELDS = ("head", "length", "touched_at", "serial", "key", "clock")

    def snapshot(self) -> Arrays:
        """Members as one flat array, as many as there are: units are mostly much shorter than ``width``."""
        entries = np.empty(int(self.length.sum()), np.int32)
        _gather(self.members, self.length, entries)
        fields = {f: getattr(self, f) for f in self._FIELDS}
        return {**self.rows.snapshot("rows", weights=False), **fields, "entries": entries}

    def restore(self, state: Arrays) -> None:
        self.rows.restore("rows", state)
        for field in self._FIELDS:
            setattr(self, field, state[field].copy())
        self.members = np.zeros((len(self.serial), self.width), np.int32)
        _spread(state["entries"], self.length, self.members)
        self.slot_of = {int(self.key[s]): int(s) for s in np.flatnonzero(self.serial >= 0)}
        self._work()

    def remap(self, new_index: IntArray) -> None:
        _forget(self.members, self.length, new_index)
        self.rows.reserve(len(new_index), 0)
        _unroll(self.rows.keys, self.rows.start, self.rows.size, self.head, self.m)
        self.rows.remap(new_index, map_keys=False)

    @property
    def nbytes(self) -> int:
        own = sum(int(getattr(self, f).nbytes) for f in (*self._FIELDS, "members"))
        return self.rows.nbytes + own + 100 * len(self.slot_of)
