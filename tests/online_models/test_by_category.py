"""Trending by category: the pools are the best of each category whatever order things come in, and every check is kept."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from online_models import checks
from online_models.base import IntArray, Observation, Query
from online_models.by_category import POOL, ByCategory
from online_models.shelf import Shelf

NOTHING: Any = np.zeros(0, np.int32)


class Told(ByCategory):
    """With a catalogue that knows each of the rows of a check, and moves when they do."""

    def __init__(self) -> None:
        super().__init__(Shelf(), half_life=100.0)
        for row in range(96):
            self.shelf.tell(f"i{row}", [f"third {row % 3}", f"block {row // 8}"], None)
            self.shelf.know(row, f"i{row}")

    def remap(self, new_index: IntArray) -> None:
        self.shelf.remap(new_index)
        super().remap(new_index)


@pytest.mark.parametrize("check", checks.all_checks(), ids=lambda check: check.__name__)
def test_with_a_catalogue_every_check_is_kept(check: checks.Check) -> None:
    check(Told)


def seen(item: int, weight: float = 1.0) -> Observation:
    return Observation(item, weight, 0, 1, 1, NOTHING, NOTHING, 0)


def query(*recent: int, n: int = 1_000) -> Query:
    rows = np.array(recent, np.int32)
    return Query(0, NOTHING, rows, np.zeros(len(rows), np.int64), np.zeros(n, np.uint8), np.zeros(4, np.float32), n)


def asked(model: ByCategory, *recent: int, k: int = 10) -> list[int]:
    items, scores, counts = np.zeros((1, k), np.int32), np.zeros((1, k), np.float32), np.zeros(1, np.int32)
    q = query(*recent)
    q.scratch.reserve(1_000)
    model.candidates(q, items, scores, counts)
    assert (np.diff(scores[0, : counts[0]]) <= 0).all()
    return items[0, : counts[0]].tolist()


def tell(model: ByCategory, row: int, kinds: list[str]) -> None:
    for item, old, new in model.shelf.tell(f"i{row}", kinds, None):
        moved = int(item[1:])
        model.shelf.know(moved, item)
        model.moved(moved, old, new)


def right(model: ByCategory, c: int) -> list[int]:
    members = [r for r in range(len(model.score)) if model.score[r] > 0 and c in model.shelf.cats[:, r].tolist()]
    return sorted(members, key=lambda r: (-model.score[r], r))[:POOL]


def test_the_pools_are_the_best_of_each_category_in_any_order_of_events_and_news() -> None:
    rng, model = random.Random(2), ByCategory(Shelf(capacity=180), half_life=300.0)
    for step in range(6_000):
        if rng.random() < 0.2:  # fewer are remembered than are told: some are forgotten
            tell(model, rng.randrange(220), rng.sample(["big", "mid", "small"], rng.choice((0, 1, 1, 2))))
        else:
            model.learn_one(seen(int(rng.random() ** 2 * 220), rng.choice((1.0, 1.0, 0.0, 2.0))))
        if step % 500 == 499:
            for c in range(model.shelf.categories):
                assert model.pool(c).tolist() == right(model, c), (step, c)
    assert max(len(model.pool(c)) for c in range(model.shelf.categories)) == POOL


def test_after_a_restart_and_when_the_catalogue_is_told_anew_the_pools_are_the_same() -> None:
    rng, one = random.Random(3), ByCategory(Shelf(), half_life=300.0)
    kinds = {row: [rng.choice("abc")] for row in range(200)}
    for row in range(200):
        tell(one, row, kinds[row])
    for _ in range(3_000):
        one.learn_one(seen(int(rng.random() ** 2 * 200)))
    early, late = ByCategory(Shelf(), half_life=300.0), ByCategory(Shelf(), half_life=300.0)
    for row in range(200):
        tell(early, row, kinds[row])
    for other in (early, late):
        other.restore({name: a.copy() for name, a in one.snapshot().items()})
    for row in range(200):
        tell(late, row, kinds[row])
    for item in (1, 50, 199):
        assert asked(one, item) == asked(early, item) == asked(late, item) != []


def test_what_trends_in_the_users_categories_comes_first_and_others_not_at_all() -> None:
    model = ByCategory(Shelf(), half_life=50.0)
    for row in range(30):
        tell(model, row, ["tea"] if row % 2 else ["soap"])
    for _ in range(20):
        model.learn_one(seen(0))  # everybody is on a soap
    for item in (1, 3, 3, 5, 5, 5):
        model.learn_one(seen(item))
    assert asked(model, 1) == [5, 3, 1]
    for _ in range(4):
        model.learn_one(seen(7))
    assert asked(model, 1)[0] == 7, "the latest counts most"
    assert asked(model) == []
    assert asked(model, 900) == [], "an item that nothing is known of"


def test_without_a_catalogue_it_names_nothing_and_counts_on() -> None:
    model = ByCategory()
    for item in (1, 2, 2):
        model.learn_one(seen(item))
    assert asked(model, 1) == []
    tell(model, 1, ["tea"])
    tell(model, 2, ["tea"])
    assert asked(model, 1) == [2, 1], "what was learned before counts"


def test_scores_are_scaled_down_before_they_are_too_large() -> None:
    model = ByCategory(Shelf(), half_life=1.0)
    for row in range(3):
        tell(model, row, ["tea"])
    for n in range(2_000):
        model.learn_one(seen(n % 3))
    assert np.isfinite(model.score).all()
    assert asked(model, 0) == [1, 0, 2]
