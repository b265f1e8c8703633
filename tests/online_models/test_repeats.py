"""Repeats: own items by recency and by count, and how far the usual interval has run."""

from __future__ import annotations

import random

import numpy as np
import pytest

from online_models.repeats import Repeats, due
from tests.online_models.small import asked, listed, seen

DAY = 86_400_000


@pytest.mark.parametrize(
    ("days", "now", "expected"),
    [
        ([0], 100, 0.0),  # once: nothing is usual
        ([0, 7], 14, 1.0),
        ([0, 7], 7, 0.0),
        ([0, 7, 14], 17.5, 0.5),
        ([0, 1, 14], 28, 2.0),  # three times in 14 days: every 7
        ([0, 7, 14], 13, 0.0),  # asked before the last event
        ([5, 5, 5], 9, 0.0),  # all at one time
    ],
)
def test_due_is_the_time_waited_in_usual_intervals(days: list[int], now: float, expected: float) -> None:
    assert due(days[0] * DAY, days[-1] * DAY, len(days), int(now * DAY)) == pytest.approx(expected)


def test_again_is_the_history_backwards_and_often_goes_by_count() -> None:
    rng = random.Random(4)
    for _ in range(50):
        n = rng.randrange(40)
        own = [(row, rng.choice((1, 1, 2, 5)), 0, 0, 0, 0) for row in rng.sample(range(200), n)]
        blocked = rng.sample(range(200), 20)
        again, often = listed(Repeats(), asked(own=own, blocked=blocked), k=10)
        open_ = [(i, row, count) for i, (row, count, *_) in enumerate(own) if row not in blocked]
        expected = [(row, np.float32(1.0 / (n - i))) for i, row, _ in reversed(open_)]
        assert again == [(row, pytest.approx(score)) for row, score in expected[:10]]
        # the count decides, among equals the later one
        best = sorted(open_, key=lambda x: (-x[2], -x[0]))[:10]
        assert often == [(row, pytest.approx(count + i / (n + 1))) for i, row, count in best]


def test_weekly_milk_comes_before_yesterdays_book() -> None:
    own = [(3, 9, 0, 0, 0, 60 * DAY), (8, 1, 0, 0, 66 * DAY, 66 * DAY)]
    again, often = listed(Repeats(), asked(own=own))
    assert [row for row, _ in again] == [8, 3]
    assert [row for row, _ in often] == [3, 8]


def test_it_holds_nothing() -> None:
    model = Repeats()
    model.learn_one(seen(3))
    assert (model.snapshot(), model.nbytes) == ({}, 0)
