"""The item table against a plain list: odd ids, growth after a restart, and who leaves when it is full."""

from __future__ import annotations

import random

import numpy as np
import pytest

from online_models.items import ItemTable, hash_id

ODD = [
    "",
    "\n",
    "a\nb",
    "\n\n",
    "naïve",
    "日本",
    "🛒",
    "\ud800",
    "\udfff\ud800",
    "a\x00b",
    " ",
    "x" * 5_000,
    "a",
    "b",
    "a\r\nb",
]
FIELDS = ("first_ms", "last_ms", "last_n", "count")


def restarted(table: ItemTable) -> ItemTable:
    state = {name: a.copy() for name, a in table.snapshot().items()}
    other = ItemTable(table.capacity)
    other.add("something else", 5)
    other.restore(state)
    return other


def same(one: ItemTable, two: ItemTable) -> None:
    n = len(one)
    assert (one.ids, one.index, one.events) == (two.ids, two.index, two.events)
    for name in FIELDS:
        assert getattr(one, name)[:n].tolist() == getattr(two, name)[:n].tolist()


def test_odd_ids_survive_a_restart_whatever_their_order() -> None:
    rng = random.Random(0)
    for _ in range(20):
        table = ItemTable()
        for item_id in rng.sample(ODD, len(ODD)):
            table.touch(table.add(item_id, 7), 7)
        same(restarted(table), table)
        assert [restarted(table).row(i) for i in table.ids] == list(range(len(ODD)))


@pytest.mark.parametrize("ids", [[], [""], ["\n"], ["", "\n"], ["a\nb"], ["a", "b"]])
def test_a_few_ids_survive_too(ids: list[str]) -> None:
    table = ItemTable()
    for item_id in ids:
        table.add(item_id, 1)
    same(restarted(table), table)


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 50, 63, 64, 65, 100, 128, 129])
def test_a_restarted_table_grows_all_its_columns_together(n: int) -> None:
    table = ItemTable()
    for item in range(n):
        table.touch(table.add(f"i{item}", item), item)
    table = restarted(table)
    for item in range(n, 300):
        row = table.add(f"i{item}", item)
        table.touch(row, item)
        table.blocked[row] = 1
        assert {len(getattr(table, field)) for field in (*FIELDS, "blocked")} == {len(table.blocked)}
    assert table.blocked[:300].tolist() == [0] * n + [1] * (300 - n)
    assert table.first_ms[:300].tolist() == list(range(300))


def test_the_items_seen_longest_ago_leave_and_the_rest_close_up() -> None:
    rng, table = random.Random(1), ItemTable(capacity=80)
    last: dict[str, int] = {}
    counts: dict[str, int] = {}
    step = 0
    while not table.full():
        item = f"i{min(int(rng.expovariate(0.02)), 200)}"
        step += 1
        table.touch(table.add(item, step), step)
        last[item], counts[item] = step, counts.get(item, 0) + 1
    before, table.blocked[:80] = list(table.ids), np.arange(80) % 7
    blocked = dict(zip(before, table.blocked[:80].tolist(), strict=True))
    new_index = table.compact()
    stay = sorted(sorted(before, key=lambda i: -last[i])[:70], key=before.index)
    assert table.ids == stay
    assert new_index.tolist() == [stay.index(i) if i in stay else -1 for i in before]
    assert table.index == {item: row for row, item in enumerate(stay)}
    assert table.count[:70].tolist() == [counts[i] for i in stay]
    assert table.last_ms[:70].tolist() == [last[i] for i in stay]
    assert table.blocked[:70].tolist() == [blocked[i] for i in stay]
    assert not table.count[70:].any()
    assert not table.blocked[70:].any()
    assert not table.full()
    assert table.row(next(i for i in before if i not in stay)) == -1


def test_an_item_is_counted_once_an_event_and_time_never_runs_back() -> None:
    table = ItemTable()
    row = table.add("a", 100)
    for timestamp in (100, 300, 200):
        table.touch(row, timestamp)
    assert table.add("a", 999) == row
    assert (table.first_ms[0], table.last_ms[0], table.count[0], table.last_n[0], table.events) == (100, 300, 3, 3, 3)


def test_hashes_are_of_64_bits_and_do_not_depend_on_the_process() -> None:
    assert hash_id("item-1") == 8406168460641299428
    assert all(0 <= hash_id(i) < 1 << 64 for i in ODD)
    assert len({hash_id(i) for i in ODD}) == len(ODD)


def test_memory_is_counted() -> None:
    table = ItemTable()
    for item in range(1_000):
        table.add(f"i{item}", 0)
    assert table.nbytes >= 1_000 * (150 + 4 * 8 + 1)
