"""Metrics with level items: the average over all their orders, and the plain metrics where none are level."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from online_models import metrics
from online_models.expected import NAMES, expected

Order = list[int]


def plain(order: Order, targets: set[int], wanted: int) -> list[float]:
    """The definitions, for one order of all items."""
    ranks = [rank for rank, item in enumerate(order) if item in targets]
    hits = [float(any(r < k for r in ranks)) for k in (1, 5, 10, 20)]
    recall = sum(r < 20 for r in ranks) / min(wanted, 20)
    reciprocal = 1 / (1 + ranks[0]) if ranks and ranks[0] < 20 else 0.0
    gains = [
        sum(metrics.DISCOUNT[r] for r in ranks if r < k) / sum(metrics.DISCOUNT[: min(wanted, k)]) for k in (10, 20)
    ]
    return [*hits, recall, reciprocal, *gains]


def drawn(scores: np.ndarray, rng: random.Random) -> Order:
    """Best first, level items in random order."""
    return sorted(range(len(scores)), key=lambda i: (-scores[i], rng.random()))


@pytest.mark.parametrize("seed", range(30))
def test_it_is_the_mean_over_all_orders_of_level_items(seed: int) -> None:
    rng = random.Random(seed)
    scores = np.sort(np.array([rng.randrange(3) for _ in range(6)], float))[::-1]
    targets = set(rng.sample(range(6), rng.choice((1, 2, 3))))
    wanted = len(targets) + rng.randrange(2)
    orders = [
        o for o in itertools.permutations(range(6)) if all(scores[a] >= scores[b] for a, b in itertools.pairwise(o))
    ]
    mean = np.mean([plain(list(o), targets, wanted) for o in orders], axis=0)
    assert expected(scores, np.array(sorted(targets)), wanted) == pytest.approx(mean)


@pytest.mark.parametrize("seed", range(6))
def test_a_level_group_across_the_last_place(seed: int) -> None:
    rng = random.Random(seed)
    scores = np.repeat([3.0, 2.0, 1.0], [rng.choice((3, 17)), rng.choice((1, 9)), 20])
    targets = set(rng.sample(range(len(scores)), rng.choice((1, 4, 23))))
    mean = np.mean([plain(drawn(scores, rng), targets, len(targets)) for _ in range(20_000)], axis=0)
    assert expected(scores, np.array(sorted(targets)), len(targets)) == pytest.approx(mean, abs=0.015)


def test_without_level_items_it_is_the_plain_metrics() -> None:
    rng = random.Random(0)
    both = [NAMES.index(name) for name in metrics.NAMES]
    for _ in range(200):
        ranked = rng.sample(range(80), rng.choice((20, 50)))
        targets = rng.sample(range(80), rng.choice((1, 1, 3, 25)))
        at = np.flatnonzero(np.isin(ranked, targets))
        lists = np.array([ranked[:20]], np.int32)
        theirs = metrics.evaluate(lists, np.array(targets, np.int32))[0]
        assert expected(-np.arange(len(ranked), dtype=float), at, len(targets))[both] == pytest.approx(theirs)


@pytest.mark.parametrize("items", [20, 100, 5_000])
def test_a_constant_scorer_is_worth_what_a_random_one_is(items: int) -> None:
    found = dict(zip(NAMES, expected(np.zeros(items), np.array([items // 3]), 1), strict=True))
    assert found["hr@20"] == pytest.approx(20 / items)
    assert found["recall@20"] == pytest.approx(20 / items)
    assert found["hr@1"] == pytest.approx(1 / items)
    assert found["mrr@20"] == pytest.approx(sum(1 / r for r in range(1, 21)) / items)
    assert found["ndcg@20"] == pytest.approx(metrics.DISCOUNT.sum() / items)


def test_what_is_not_in_the_ranking_is_missed() -> None:
    assert expected(np.zeros(0), np.array([], np.int64), 2).tolist() == [0.0] * len(NAMES)
    assert expected(np.array([1.0]), np.array([0]), 2)[NAMES.index("recall@20")] == 0.5
