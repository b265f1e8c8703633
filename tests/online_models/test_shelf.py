"""What the catalogue says of items, against plain Python, and what of it is kept."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np

from online_models import shelf as module
from online_models.base import OWN
from online_models.shelf import FADE, HISTORY, NAMES, RECENT, WIDTH, Shelf

N = 40
KINDS = [f"kind {n}" for n in range(9)]


def told(rng: random.Random) -> tuple[Shelf, dict[int, list[str]], dict[int, float]]:
    shelf, kinds, prices = Shelf(), {}, {}
    for row in range(N):
        kinds[row] = rng.sample(KINDS, rng.randrange(4)) if rng.random() < 0.8 else []
        price = rng.choice((None, 0.5, 3.0, 20.0))
        shelf.tell(f"i{row}", kinds[row], price)
        shelf.know(row, f"i{row}")
        if price is not None:
            prices[row] = price
    return shelf, kinds, prices


def plain(
    row: int, kinds: dict[int, list[str]], prices: dict[int, float], recent: list[int], inside: int, own: list[int]
) -> list[float]:
    """One row, as the names of the columns say it."""
    described = [r for r in kinds if kinds[r] or r in prices]
    weight = {
        k: math.log((len(described) + 1) / sum(k in kinds[r] for r in kinds))
        for k in {k for of in kinds.values() for k in of}
    }
    recent, own = recent[:RECENT], own[-HISTORY:]
    fades = [FADE**n for n in range(len(recent))]

    def share(items: list[int], weights: list[float]) -> float:
        of = {
            k: sum(w for r, w in zip(items, weights, strict=True) if k in kinds[r]) / sum(weights) for k in kinds[row]
        }
        return sum(weight[k] * of[k] for k in kinds[row]) / sum(weight[k] for k in kinds[row])

    out = [0.0] * len(NAMES)
    if kinds[row]:
        out[0] = 1.0
        if recent:
            out[1] = share(recent[:1], [1.0])
            out[2] = share(recent, fades)
        if inside:
            out[3] = share(recent[:inside], [1.0] * inside)
        if own:
            out[4] = share(own, [1.0] * len(own))
    priced = [(math.log(prices[r]), w) for r, w in zip(recent, fades, strict=True) if r in prices]
    if priced and row in prices:
        ratio = math.log(prices[row]) - sum(p * w for p, w in priced) / sum(w for _, w in priced)
        out[5], out[6] = max(1 - abs(ratio) / 2, 0), min(max(0.5 + ratio / 4, 0), 1)
    return out


def described(shelf: Shelf, rows: list[int], recent: list[int], inside: int, own: list[int]) -> Any:
    mine = np.zeros(len(own), OWN)
    mine["item"] = own
    x = np.zeros((len(rows), 3 + len(NAMES)), np.float32)
    shelf.describe(x, np.array(rows, np.int32), len(rows), 3, np.array(recent, np.int32), inside, mine)
    assert not shelf._work.any()
    assert not x[:, :3].any()
    return x[:, 3:]


def test_every_column_says_what_its_name_says() -> None:
    rng = random.Random(0)
    for _ in range(60):
        shelf, kinds, prices = told(rng)
        own = rng.sample(range(N), rng.randrange(N))
        recent = own[::-1][: rng.choice((0, 1, 5, 25))]
        inside, rows = rng.randrange(min(len(recent), RECENT) + 1), rng.sample(range(N), 12)
        got = described(shelf, rows, recent, inside, own)
        right = [plain(row, kinds, prices, recent, inside, own) for row in rows]
        np.testing.assert_allclose(got, right, atol=1e-4)
        assert (got >= 0).all()
        assert (got <= 1.0001).all()


def test_the_order_of_categories_plays_no_part_and_a_common_one_says_little() -> None:
    shelf = Shelf()
    for row, kinds in enumerate((["food", "tea"], ["tea", "food"], ["food", "soap"], ["food"], ["food"])):
        shelf.tell(f"i{row}", kinds, None)
        shelf.know(row, f"i{row}")
    same, other = described(shelf, [1, 2], [0], 1, [0])[:, NAMES.index("category_last")].tolist()
    assert same == 1.0
    assert 0.0 < other < 0.3


def test_an_item_that_the_catalogue_knows_nothing_of_has_no_columns() -> None:
    shelf = Shelf()
    shelf.tell("a", ["tea"], 1.0)
    shelf.know(0, "a")
    shelf.know(1, "b")
    assert not described(shelf, [1], [0], 1, [0]).any()
    assert described(shelf, [0], [0], 1, [0]).any()
    assert not described(shelf, [0], [1], 1, [1])[:, 1:].any()


def test_categories_come_and_go_and_their_numbers_are_used_again() -> None:
    shelf = Shelf()
    for n in range(500):
        shelf.tell("a", [f"kind {n}", "always"], None)
    assert shelf.categories <= 4
    assert shelf.sizes() == {"described": 1.0, "categories": 2.0, "categories_left_out": 0.0}
    shelf.know(0, "a")
    assert sorted(shelf.name_of(c) for c in shelf.cats[:2, 0].tolist()) == ["always", "kind 499"]
    shelf.tell("a", [], None)
    assert shelf.sizes()["categories"] == 0.0


def test_what_is_kept_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MOST", 5)
    shelf = Shelf(capacity=10)
    moves = [move for n in range(30) for move in shelf.tell(f"i{n}", [f"kind {n % 7}"], 1.0)]
    assert len(shelf) == 10
    assert shelf.categories == 5
    assert shelf.left_out > 0
    assert [item for item, _, new in moves if not new and item == "i0"], "whoever holds rows is told what was forgotten"
    held = shelf.nbytes
    for n in range(300):
        shelf.tell(f"j{n}", [f"other {n}"] * 3 + [f"more {m}" for m in range(20)], None)
    assert shelf.nbytes < 2 * held
    shelf.know(0, "j299")
    assert shelf.cats.shape[0] == WIDTH


def test_the_same_news_again_are_no_news() -> None:
    shelf = Shelf()
    shelf.tell("a", ["tea", "food"], 2.0)
    assert shelf.tell("a", ["tea", "food"], 2.0) == []
    assert [item for item, *_ in shelf.tell("a", ["tea", "food"], 3.0)] == ["a"]


def test_odd_prices_are_no_prices() -> None:
    shelf = Shelf()
    for price in (0.0, -1.0, math.nan, math.inf):
        shelf.tell("a", [], price)
        assert not shelf.told
        assert len(shelf) == 0
    shelf.tell("a", [], 1.0)
    assert shelf.told


def test_rows_move_with_the_item_table() -> None:
    shelf, _, _ = told(random.Random(1))
    cats, prices = shelf.cats[:, :N].copy(), shelf.prices[:N].copy()
    kept = np.arange(0, N, 3)
    new_index = np.full(N, -1, np.int32)
    new_index[kept] = np.arange(len(kept))
    shelf.remap(new_index)
    assert np.array_equal(shelf.cats[:, : len(kept)], cats[:, kept])
    assert np.array_equal(shelf.prices[: len(kept)], prices[kept], equal_nan=True)
    assert (shelf.cats[:, len(kept) :] == -1).all()
    shelf.follow(f"i{row}" for row in range(N))
    assert np.array_equal(shelf.cats[:, :N], cats)
