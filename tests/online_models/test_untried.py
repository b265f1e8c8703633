"""New items that hardly anybody has touched: the bonus shrinks as n/(n + kappa) says, by events and by lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online_models.base import Observation, Query
from online_models.untried import SCAN, Untried

NOTHING: Any = np.zeros(0, np.int32)


def seen(item: int, weight: float = 1.0) -> Observation:
    return Observation(item, weight, 0, 1, 1, NOTHING, NOTHING, 0)


def asked(model: Untried, blocked: tuple[int, ...] = (), k: int = 5) -> tuple[list[int], list[float]]:
    items, scores, counts = np.zeros((1, k), np.int32), np.zeros((1, k), np.float32), np.zeros(1, np.int32)
    out = np.zeros(5_000, np.uint8)
    out[list(blocked)] = 1
    q = Query(0, NOTHING, NOTHING, np.zeros(0, np.int64), out, np.zeros(4, np.float32), 5_000)
    model.candidates(q, items, scores, counts)
    return items[0, : counts[0]].tolist(), scores[0, : counts[0]].tolist()


def bonus(model: Untried, *rows: int) -> list[float]:
    x = np.zeros((len(rows), 3), np.float32)
    model.describe(x, np.array(rows, np.int32), len(rows), 2)
    assert not x[:, :2].any()
    return x[:, 2].tolist()


def test_the_bonus_shrinks_with_every_event_whatever_it_weighs_and_with_every_list() -> None:
    model = Untried(kappa=4.0)
    for n in range(1, 60):
        model.learn_one(seen(3, weight=0.0 if n % 2 else 1.0))
        model.show([7, 3])
        assert bonus(model, 3, 7, 99) == pytest.approx([4 / (4 + 2 * n), 4 / (4 + n), 1.0])


def test_those_tried_least_come_first_and_those_tried_enough_not_at_all() -> None:
    model = Untried(kappa=3.0)
    for item, times in ((0, 9), (1, 3), (2, 1), (3, 2), (4, 1), (5, 4)):
        for _ in range(times):
            model.learn_one(seen(item))
    assert asked(model) == ([2, 4, 3, 1], pytest.approx([3 / 4, 3 / 4, 3 / 5, 3 / 6]))
    assert asked(model, blocked=(2,))[0] == [4, 3, 1]
    assert [model.is_untried(row) for row in (0, 1, 2, 5, 77)] == [False, True, True, False, True]
    model.show([2, 2, 2])
    assert asked(model)[0] == [4, 3, 1]


def test_only_the_newest_rows_are_looked_through() -> None:
    model = Untried(kappa=3.0)
    for item in range(SCAN + 10):
        model.learn_one(seen(item))
    assert asked(model)[0] == [10, 11, 12, 13, 14]
