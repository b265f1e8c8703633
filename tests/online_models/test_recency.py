"""Recency against a plain list that every event moves to the front of."""

from __future__ import annotations

import random

import numpy as np

from online_models.recency import KEEP, Recency
from tests.online_models.small import asked, listed, rows, seen


def test_latest_and_newest_are_those_of_a_plain_list() -> None:
    rng, model, latest, known = random.Random(2), Recency(), [], 0
    n_items = 2 * KEEP
    for step in range(3_000):
        item, weight = min(rng.randrange(step // 4 + 1), n_items - 1), rng.choice((1.0, 1.0, 0.0))
        model.learn_one(seen(item, weight=weight))
        known = max(known, item + 1)
        if weight:
            latest = [item, *(other for other in latest if other != item)][:KEEP]
        if step % 97 == 0:
            blocked = set(rng.sample(range(n_items), 30))
            found = listed(model, asked(blocked=sorted(blocked), n_items=n_items), k=25)
            right = [(row, i) for i, row in enumerate(latest) if row not in blocked][:25]
            assert found[0] == [(row, np.float32(1 / (1 + i))) for row, i in right]
            back = [(row, known - 1 - row) for row in range(known - 1, max(known - KEEP, 0) - 1, -1)]
            right = [(row, i) for row, i in back if row not in blocked][:25]
            assert found[1] == [(row, np.float32(1 / (1 + i))) for row, i in right]
    assert len(latest) == KEEP == int(model.n[0])
    for found, right in zip(
        listed(model, asked(n_items=n_items), k=n_items), (latest, range(known - 1, -1, -1)), strict=True
    ):
        assert rows(found) == [*right][:KEEP]


def test_news_is_first_by_one_event_and_old_stories_are_not() -> None:
    model = Recency()
    for item in (0, 1, 2, 0, 0, 3, 1):
        model.learn_one(seen(item))
    latest, newest = listed(model, asked())
    assert rows(latest) == [1, 3, 0, 2]
    assert rows(newest) == [3, 2, 1, 0]


def test_a_compaction_closes_the_ranks() -> None:
    model = Recency()
    for item in (0, 1, 2, 3, 4, 2):
        model.learn_one(seen(item))
    model.remap(np.array([-1, 0, 1, -1, 2], np.int32))
    latest, newest = listed(model, asked(n_items=3))
    assert (rows(latest), rows(newest)) == ([1, 2, 0], [2, 1, 0])
    model.learn_one(seen(3))
    assert [rows(x) for x in listed(model, asked(n_items=4))] == [[3, 1, 2, 0], [3, 2, 1, 0]]
