"""Popularity against counts that are decayed one by one, in whole numbers of any length."""

from __future__ import annotations

import random

import numpy as np
import pytest

from online_models.popularity import TOP, Popularity
from tests.online_models.small import asked, listed, ranked, rows, same_list, seen


def test_every_half_life_is_the_decayed_count() -> None:
    half_lives, rng = [3.0, 40.0, 1_000.0, 1e6], random.Random(0)
    model, log = Popularity(half_lives), []
    for step in range(1_500):
        log.append((min(int(rng.expovariate(0.03)), 199), rng.choice((0.5, 1.0, 3.0))))
        model.learn_one(seen(log[-1][0], weight=log[-1][1]))
        if step % 300 == 299:
            for h, found in zip(half_lives, listed(model, asked()), strict=True):
                expected: dict[int, float] = {}
                for age, (item, weight) in enumerate(reversed(log)):
                    expected[item] = expected.get(item, 0.0) + weight * 2.0 ** (-age / h)
                same_list(found, expected, 20, rel=1e-6)
                at = half_lives.index(h)
                assert model.total[at] / model.unit[at] == pytest.approx(sum(expected.values()))


def test_a_list_of_the_best_is_exact_through_overflow_and_underflow() -> None:
    """At a half-life of one event the unit overflows every 665 events; Python's whole numbers say what is right."""
    rng, model, exact = random.Random(1), Popularity([1.0]), [0] * 400
    for step in range(2_500):
        item = min(int(rng.expovariate(0.02)), 399)
        exact[item] += 1 << step
        model.learn_one(seen(item))
        if step % 50 == 49:
            assert rows(listed(model, asked(n_items=400))[0]) == ranked(dict(enumerate(exact)), 20)
            order = model.ranked(0)
            assert (np.diff(model.score[0, order]) <= 0).all()
            assert (model.place[0, order] == np.arange(len(order))).all()
            assert (model.place[0] >= 0).sum() == len(order) <= TOP
    assert model.unit[0] < 1e201


def test_counts_that_never_decay_tie_by_lower_row_to_the_end_of_the_list() -> None:
    rng, model, count = random.Random(2), Popularity([1e18]), dict.fromkeys(range(400), 0)
    for step in range(4_000):
        item = rng.randrange(400)
        count[item] += 1
        model.learn_one(seen(item))
        if step % 100 == 99:
            assert model.ranked(0).tolist() == ranked(count, TOP)
            places = {item: place for place, item in enumerate(model.ranked(0).tolist())}
            assert model.place[0, :400].tolist() == [places.get(item, -1) for item in range(400)]


def test_what_underflows_together_ties_by_row() -> None:
    model = Popularity([1.0])
    for item in (9, 5, 7):
        model.learn_one(seen(item))
    model.score[0, [9, 5, 7]] = 3e-305, 2e-305, 1e-305  # all 0 after a division by the unit
    for _ in range(670):
        model.learn_one(seen(1))
    assert rows(listed(model, asked())[0]) == [1]
    for item in (9, 5):
        model.learn_one(seen(item))
    model.score[0, [9, 5]] = 4.0
    model._sort(0)
    assert [r for r in rows(listed(model, asked())[0]) if r != 1] == [5, 9]


def test_more_items_than_a_list_keeps_are_let_in_again_after_a_compaction() -> None:
    model, n = Popularity([1e6]), TOP + 100
    for item in range(n):
        for _ in range(1 + (n - item) // 40):
            model.learn_one(seen(item))
    assert len(model.ranked(0)) == TOP
    new_index = np.full(n, -1, np.int32)
    new_index[200:] = np.arange(n - 200)
    exact = model.score[0, 200:n].copy()
    model.remap(new_index)
    assert model.ranked(0).tolist() == np.lexsort((np.arange(n - 200), -exact)).tolist()
    assert not model.score[0, n - 200 :].any()


def test_a_burst_leads_the_short_half_life_and_not_the_long_one() -> None:
    model = Popularity([20.0, 1e5], name="p")
    assert model.lists == ("p-20", "p-100000")
    for step in range(600):
        model.learn_one(seen(step % 3))
    for _ in range(30):
        model.learn_one(seen(7))
    short, long = listed(model, asked())
    assert (rows(short)[0], rows(long)[-1]) == (7, 7)
    assert rows(listed(model, asked(blocked=(7,)))[0])[0] == 2


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_what_has_no_weight_does_not_count_and_ages_nothing(weight: float) -> None:
    model = Popularity([10.0])
    model.learn_one(seen(1))
    before = {name: a.tobytes() for name, a in model.snapshot().items()}
    model.learn_one(seen(100, weight=weight))
    assert {name: a.tobytes() for name, a in model.snapshot().items()} == before


def test_blocked_items_are_passed_over_to_the_end_of_the_list() -> None:
    model = Popularity([1e6])
    for item in range(TOP):
        model.learn_one(seen(item))
    found = rows(listed(model, asked(blocked=range(10, TOP)), k=5)[0])
    assert found == [9, 8, 7, 6, 5]


def test_entries_are_counted_where_a_session_begins_and_nowhere_else() -> None:
    all_events, entries = Popularity([100.0]), Popularity([100.0], "entry", entries=True)
    for item, place in ((3, 0), (7, 1), (7, 2), (5, 0), (7, 3), (5, 0)):
        o = seen(item)
        o.in_session = place
        all_events.learn_one(o)
        entries.learn_one(o)
    assert entries.lists == ("entry-100",)
    assert entries.ranked(0).tolist() == [5, 3]
    assert all_events.ranked(0).tolist() == [7, 5, 3]
    assert entries.total[0] == pytest.approx(2**0.01 + 2**0.02 + 2**0.03)
