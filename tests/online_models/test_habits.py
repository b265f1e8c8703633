"""What becomes of items: shares against counting, and that little is said of what is hardly known."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from online_models.habits import NAMES, PRIOR, Habits

N = 90


def lived(habits: Habits, n: int = 2_000, ratings: bool = True) -> list[tuple[int, bool, bool, float | None]]:
    rng = random.Random(3)
    events = []
    for _ in range(n):
        item = rng.randrange(N - 1)
        rating = float(rng.randrange(1, 6)) if ratings and rng.random() < 0.7 else None
        events.append((item, rng.random() < item / N, rng.random() < 0.3, rating))
        habits.learn_one(*events[-1])
    return events


def described(habits: Habits, top: float) -> np.ndarray:
    habits.know(N - 1)
    x, rows = np.zeros((N, 1 + len(NAMES)), np.float32), np.arange(N, dtype=np.int32)
    x[::2, 0] = 1.0  # the user's own
    habits.describe(x, rows, N, 1, 0, top)
    return x[:, 1:]


@pytest.mark.parametrize("ratings", [True, False])
def test_the_columns_are_shares_drawn_to_that_of_all(ratings: bool) -> None:
    habits = Habits()
    events = lived(habits, ratings=ratings)
    values = [e[3] for e in events if e[3] is not None]
    mean = sum(values) / max(len(values), 1)
    wanted = (sum(e[1] for e in events) + 1) / (len(events) + 1)
    again = (sum(e[2] for e in events) + 0.1) / (len(events) + 1)
    found = described(habits, 5.0 if ratings else 0.0)
    for item in range(N):
        of = [e for e in events if e[0] == item]
        rated = [e[3] for e in of if e[3] is not None]
        share = (sum(e[2] for e in of) + PRIOR * again) / (len(of) + PRIOR)
        right = [
            (sum(rated) + PRIOR * mean) / (len(rated) + PRIOR) - mean if ratings else 0.0,
            math.log1p(len(rated)) / 10,
            (sum(e[1] for e in of) + PRIOR * wanted) / (len(of) + PRIOR),
            share, 1 + math.log(share + 0.01) / 5, share if item % 2 == 0 else 0.0,
        ]  # fmt: skip
        np.testing.assert_allclose(found[item], right, atol=1e-4, err_msg=str(item))


def test_an_item_without_events_is_as_all_are_and_asking_changes_nothing() -> None:
    habits = Habits()
    lived(habits)
    before = {name: a.tobytes() for name, a in habits.snapshot().items()}
    columns = described(habits, 5.0)[N - 1]
    assert columns[0] == 0.0
    assert columns[2] == pytest.approx((habits.totals[1] + 1) / (habits.totals[0] + 1))
    assert {name: a.tobytes() for name, a in habits.snapshot().items()} == before
    assert np.isfinite(described(Habits(), 0.0)).all()


def test_a_restored_copy_goes_on_as_before_and_a_compaction_moves_the_items() -> None:
    one, two = Habits(), Habits()
    lived(one)
    two.restore({name: a.copy() for name, a in one.snapshot().items()})
    for habits in (one, two):
        lived(habits)
    np.testing.assert_array_equal(one.sums, two.sums)
    new_index = np.where(np.arange(N) % 3 == 0, -1, np.cumsum(np.arange(N) % 3 != 0) - 1).astype(np.int32)
    kept, totals = one.sums[:, :N][:, new_index >= 0].copy(), one.totals.copy()
    one.remap(new_index)
    np.testing.assert_array_equal(one.sums[:, : kept.shape[1]], kept)
    assert not one.sums[:, kept.shape[1] :].any()
    np.testing.assert_array_equal(one.totals, totals)
    assert one.nbytes > 0
