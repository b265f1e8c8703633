"""Ranks against sorting, and the metrics against the only definitions of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from offline.evaluate import MISS, Ranks, ranks
from offline.model import build
from online_models import metrics
from tests.offline.test_dataset import sessions


def model_of(items: int, length: int = 4) -> torch.nn.Module:
    model = build("gru4rec", items, {"dims": 8, "length": length})
    torch.nn.init.normal_(model.bias)
    return model.eval()


@torch.no_grad()
def test_ranks_are_those_of_sorting() -> None:
    model = model_of(30, 20)
    made = sessions([3, 1, 4, 1, 5], [9, 2], [6], [5, 3, 5])
    expected = []
    for prefix, target in (([3], 1), ([3, 1], 4), ([3, 1, 4], 1), ([3, 1, 4, 1], 5), ([9], 2), ([5], 3), ([5, 3], 5)):
        query = model(torch.tensor([prefix]))[0, -1]
        order = torch.argsort(model.vectors() @ query + model.bias, descending=True)
        expected.append(float((order == target).nonzero()[0, 0]))
    found = ranks(model, made)
    assert found.ranks.tolist() == expected
    assert found.session.tolist() == [0, 0, 0, 0, 1, 3, 3]
    assert ranks(model, made, chunk=2).ranks.tolist() == expected


def test_unknown_items_are_passed_over_and_missed() -> None:
    model = model_of(30)
    with_unknown = ranks(model, sessions([3, -1, 4], [-1, 7], [-1, 2, 8]))
    assert np.isinf(with_unknown.ranks).tolist() == [True, False, True, True, False]
    assert with_unknown.ranks[[1, 4]].tolist() == ranks(model, sessions([3, 4], [2, 8])).ranks.tolist()


def test_only_the_window_counts() -> None:
    model = model_of(30)
    made = sessions([3, 1, 4], [5, 9], times=[[0, 10, 20], [11, 12]])
    assert ranks(model, made, 12).ranks.tolist() == ranks(model, made).ranks[[1, 2]].tolist()


@torch.no_grad()
def test_a_long_session_is_seen_through_its_latest_events() -> None:
    """At least half the window is seen, and an event within the first window sees all before it."""
    model = model_of(30, 4)
    items = np.random.default_rng(0).integers(0, 30, 15).tolist()
    found = ranks(model, sessions(items)).ranks
    for at in range(1, 15):
        begin = 0 if at <= 4 else 2 * ((at - 3) // 2)
        alone = ranks(model, sessions([*items[begin:at], items[at]])).ranks[-1]
        assert found[at - 1] == alone


def test_ties_are_halves() -> None:
    model = model_of(5)
    with torch.no_grad():
        model.items.weight.zero_()
        model.bias.zero_()
    assert ranks(model, sessions([0, 1])).ranks.tolist() == [2.0]


@pytest.mark.parametrize("rank", [0, 1, 7, 19, 20, 500])
def test_the_metrics_are_those_of_the_stream(rank: int) -> None:
    listed = np.full((1, metrics.K), 9, np.int32)
    listed[0] = np.arange(100, 100 + metrics.K)
    if rank < metrics.K:
        listed[0, rank] = 7
    theirs = dict(zip(metrics.NAMES, metrics.evaluate(listed, np.array([7], np.int32))[0], strict=True))
    ours = Ranks(np.array([float(rank)]), np.zeros(1, np.int64))
    assert {name: float(ours.scores(name)[0]) for name in ("hr@20", "mrr@20", "ndcg@20")} == pytest.approx(
        {name: theirs[name] for name in ("hr@20", "mrr@20", "ndcg@20")}
    )


def test_a_score_that_is_no_number_is_a_miss() -> None:
    """Finite weights can overflow; no comparison with NaN holds, and that would be first place."""
    model = model_of(5)
    with torch.no_grad():
        model.items.weight[3] = 1e38
        model.bias[3] = float("nan")
    assert ranks(model, sessions([0, 3], [0, 1])).ranks.tolist()[0] == MISS
