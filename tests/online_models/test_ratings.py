"""Ratings as a source: planted tastes, silence for those who rated nothing, and the items rated last."""

from __future__ import annotations

import random

import numpy as np

from online_models.ratings import Ratings
from tests.online_models.small import asked, listed, rows, seen


def test_planted_tastes_are_listed_first() -> None:
    """Items of two kinds are liked by one half of the users each, so that all have the same mean."""
    rng, model = random.Random(0), Ratings()
    for _ in range(5_000):
        user, item = rng.randrange(40), rng.randrange(30)
        model.learn_one(seen(item, user=user, value=4.5 if user % 2 == item % 2 else 1.5))
    for user in range(40):
        [found] = listed(model, asked(user=user, blocked=(0, 1)), k=10)
        assert all(row % 2 == user % 2 for row in rows(found))
        assert not {0, 1} & set(rows(found))
        assert all(3.5 < score < 5.5 for _, score in found)


def test_who_has_rated_nothing_is_shown_nothing() -> None:
    model = Ratings()
    model.learn_one(seen(1, user=1, value=5.0))
    model.learn_one(seen(2, user=2))
    assert rows(listed(model, asked(user=1))[0]) == [1]
    assert listed(model, asked(user=2)) == [[]]
    assert listed(Ratings(), asked(user=2)) == [[]]


def test_only_ratings_are_learned() -> None:
    model = Ratings()
    model.learn_one(seen(3, user=1, value=5.0))
    before = {name: a.tobytes() for name, a in model.snapshot().items()}
    model.learn_one(seen(4, user=1))
    unrated = seen(5, user=1, value=2.0)
    unrated.rated = False  # a price, a duration
    model.learn_one(unrated)
    missing = seen(6, user=1)
    missing.rated = True
    model.learn_one(missing)
    assert {name: a.tobytes() for name, a in model.snapshot().items()} == before


def test_the_items_rated_last_are_scanned() -> None:
    model = Ratings(scan=16)
    for step in range(1_024):  # the set is renewed every 512 ratings
        model.learn_one(seen(step % 100 if step < 900 else 200 + step % 10, user=1, value=3.0 + step % 2))
    # 124 ratings of ten items, and before them one each of 94 to 99
    assert model.active.tolist() == [*range(94, 100), *range(200, 210)]
    assert sorted(rows(listed(model, asked(user=1))[0])) == model.active.tolist()


def test_users_beyond_the_cap_are_forgotten_the_longest_ago_first() -> None:
    model = Ratings(max_users=2)
    for user in (1, 2, 1, 3):
        model.learn_one(seen(0, user=user, value=4.0))
    assert [bool(listed(model, asked(user=user))[0]) for user in (1, 2, 3)] == [True, False, True]


def test_a_compaction_renews_the_set() -> None:
    model = Ratings(scan=4)
    for item in range(10):
        model.learn_one(seen(item, user=1, value=float(1 + item % 5)))
    assert model.active.tolist() == [0, 1, 2, 3]
    new_index = np.array([-1, -1, *range(8)], np.int32)
    model.remap(new_index)
    assert model.active.tolist() == [4, 5, 6, 7]
    assert len(rows(listed(model, asked(user=1, n_items=8))[0])) == 4
