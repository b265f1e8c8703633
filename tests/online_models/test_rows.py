"""Growing rows against a dict of lists, through growth, eviction, compaction and restarts."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_models._rows import FIRST_ROOM, Rows, add_weight, append_ring

Plain = dict[int, list[list[float]]]
"""Row → its entries [key, weight], in the order in which they stand."""


def add(pool: Rows, plain: Plain, row: int, key: int, weight: float) -> None:
    pool.reserve(row + 1, 1)
    add_weight(*pool.pool, row, key, weight, pool.cap)
    entries = plain.setdefault(row, [])
    known = [entry for entry in entries if entry[0] == key]
    if known:
        known[0][1] += weight
    elif len(entries) < pool.cap:
        entries.append([key, weight])
    else:
        entries[min(range(len(entries)), key=lambda i: entries[i][1])] = [key, weight]


def entries_of(pool: Rows) -> Plain:
    found = {}
    for row in np.flatnonzero(pool.size).tolist():
        at, n = int(pool.start[row]), int(pool.size[row])
        found[row] = [
            list(x) for x in zip(pool.keys[at : at + n].tolist(), pool.weights[at : at + n].tolist(), strict=True)
        ]
    return found


def check_blocks(pool: Rows) -> None:
    """Every place before the tail belongs to one row or one free block, and the tail is inside the arrays."""
    assert int(pool.tail[0]) <= len(pool.keys) == len(pool.weights)
    owners = np.zeros(int(pool.tail[0]), int)
    for row in np.flatnonzero(pool.room).tolist():
        assert pool.size[row] <= pool.room[row] <= pool.cap
        owners[pool.start[row] : pool.start[row] + pool.room[row]] += 1
    for cls, block in enumerate(pool.free.tolist()):
        while block >= 0:
            owners[block : block + (FIRST_ROOM << cls)] += 1
            assert owners[block] == 1  # or the list of free blocks runs in a circle
            block = int(pool.keys[block])
    assert (owners == 1).all()


def restarted(pool: Rows) -> Rows:
    state = {name: a.copy() for name, a in pool.snapshot("x").items()}
    pool = Rows(pool.cap)
    pool.restore("x", state)
    return pool


def compacted(plain: Plain, new_index: list[int], map_keys: bool) -> Plain:
    out = {}
    for row, entries in plain.items():
        if row < len(new_index) and new_index[row] >= 0:
            moved = [[new_index[int(k)] if map_keys else k, w] for k, w in entries]
            out[new_index[row]] = [entry for entry in moved if entry[0] >= 0]
    return {row: entries for row, entries in out.items() if entries}


@pytest.mark.parametrize("cap", [8, 32])
@pytest.mark.parametrize("map_keys", [True, False])
def test_rows_are_those_of_a_dict(cap: int, map_keys: bool) -> None:
    rng, pool, plain, n, longest = random.Random(cap), Rows(cap), {}, 60, 0
    for step in range(6_000):
        row, key = min(int(rng.expovariate(0.2)), n - 1), rng.randrange(n)
        add(pool, plain, row, key, rng.choice((0.25, 0.5, 1.0, 2.0)))  # sums of these are exact
        if step % 400 == 399:
            check_blocks(pool)
            assert entries_of(pool) == plain
            longest = max(longest, *map(len, plain.values()))
            kept = sorted(rng.sample(range(n), 50))
            new_index = [kept.index(row) if row in kept else -1 for row in range(n)]
            pool.remap(np.array(new_index, np.int32), map_keys)
            plain = compacted(plain, new_index, map_keys)
            check_blocks(pool)
            assert entries_of(pool) == plain
        if step % 700 == 0:
            pool = restarted(pool)
    assert longest == cap


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40)), max_size=12), st.permutations(range(6)), st.booleans()
)
def test_any_growth_survives_a_restart_and_a_compaction_at_once(
    growths: list[tuple[int, int]], order: list[int], map_keys: bool
) -> None:
    """Rows are copied one after the other: that can take blocks that first came had shared, and no more were there."""
    pool, plain, key = Rows(64), {}, 0
    for row, times in growths:
        for _ in range(times):
            add(pool, plain, row, key % 200, 1.0)
            key += 1
    new_index = [*order, *range(6, 200)]
    pool = restarted(pool)
    pool.remap(np.array(new_index, np.int32), map_keys)
    check_blocks(pool)
    assert entries_of(pool) == compacted(plain, new_index, map_keys)


def test_a_block_that_was_used_again_is_there_twice_after_a_compaction() -> None:
    """Row 1 grew first and left its small block to row 0: in row order, both need a small block at first."""
    pool, plain = Rows(16), {}
    for row, times in ((1, 9), (0, 8)):
        for key in range(times):
            add(pool, plain, row, key, 1.0)
    pool = restarted(pool)
    assert len(pool.keys) == int(pool.tail[0]) == 24
    pool.remap(np.arange(16, dtype=np.int32))
    check_blocks(pool)
    assert entries_of(pool) == plain
    assert int(pool.tail[0]) == 32


def test_a_ring_keeps_the_latest() -> None:
    rng, pool, cap = random.Random(3), Rows(8), 8
    head, plain = np.zeros(5, np.int32), {row: [] for row in range(5)}
    for key in range(400):
        row = rng.randrange(5)
        pool.reserve(5, 1)
        append_ring(*pool.pool, head, row, key, cap)
        plain[row] = [*plain[row], key][-cap:]
        at, n = int(pool.start[row]), int(pool.size[row])
        ring = pool.keys[at : at + n].tolist()
        turn = int(head[row]) % cap
        assert ring[turn:] + ring[:turn] == plain[row]
    check_blocks(pool)


def test_memory_is_that_of_the_entries() -> None:
    pool, plain = Rows(256), {}
    for row in range(2_000):
        for key in range(3):
            add(pool, plain, row, key, 1.0)
    assert int(pool.tail[0]) == 2_000 * FIRST_ROOM
    assert pool.nbytes == sum(a.nbytes for a in pool.pool)


@pytest.mark.parametrize("cap", [0, 4, 12, 100])
def test_caps_that_blocks_cannot_double_to_are_refused(cap: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Rows(cap)
