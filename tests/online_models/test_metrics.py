"""The ranking metrics against their definitions in plain Python."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from online_models.metrics import DISCOUNT, NAMES, K, evaluate


def plain(found: list[int], targets: list[int]) -> list[float]:
    n = min(len(targets), K)
    ranks = [rank for rank, row in enumerate(found) if row in targets]
    gain = sum(1 / math.log2(rank + 2) for rank in ranks)
    ideal = sum(1 / math.log2(rank + 2) for rank in range(n))
    return [float(bool(ranks)), len(ranks) / n, 1 / (1 + ranks[0]) if ranks else 0.0, gain / ideal]


def padded(found: list[int]) -> list[int]:
    return found + [-1] * (K - len(found))


def test_metrics_are_their_definitions() -> None:
    rng = random.Random(0)
    for _ in range(300):
        lists = [rng.sample(range(60), rng.randrange(K + 1)) for _ in range(3)]
        targets = rng.sample(range(60), rng.choice((1, 1, 2, 5, 19, 20, 21, 40)))
        got = evaluate(np.array([padded(x) for x in lists], np.int32), np.array(targets, np.int32))
        np.testing.assert_allclose(got, [plain(x, targets) for x in lists], rtol=1e-12)


@pytest.mark.parametrize(
    ("found", "targets", "expected"),
    [
        ([3], [3], [1, 1, 1, 1]),
        ([1, 3], [3], [1, 1, 0.5, 1 / math.log2(3)]),
        ([3, 4], [4, 3], [1, 1, 1, 1]),  # the order among targets plays no part
        ([3], [3, 4], [1, 0.5, 1, 1 / (1 + 1 / math.log2(3))]),
        ([], [3], [0, 0, 0, 0]),
        ([1, 2], [3], [0, 0, 0, 0]),
        (list(range(20)), list(range(30)), [1, 1, 1, 1]),  # no more can be found than there are places
        ([*range(1, 20), 99], [99], [1, 1, 0.05, 1 / math.log2(21)]),
    ],
)
def test_lists_whose_metrics_are_known(found: list[int], targets: list[int], expected: list[float]) -> None:
    got = evaluate(np.array([padded(found)], np.int32), np.array(targets, np.int32))
    assert got[0].tolist() == pytest.approx(expected)


def test_a_list_ends_at_its_first_gap_and_gaps_match_nothing() -> None:
    targets = np.array([5, -1], np.int32)
    assert evaluate(np.array([padded([])], np.int32), targets)[0, 0] == 0.0
    assert evaluate(np.array([[*padded([4])[:10], 5, *([-1] * 9)]], np.int32), targets)[0, 0] == 0.0
    assert evaluate(np.array([padded([4, 5])], np.int32), np.array([5, -2], np.int32))[0].tolist()[1] == 0.5


def test_names_and_discounts() -> None:
    assert NAMES == ("hr@20", "recall@20", "mrr@20", "ndcg@20")
    assert DISCOUNT.tolist() == pytest.approx([1 / math.log2(rank + 2) for rank in range(K)])
