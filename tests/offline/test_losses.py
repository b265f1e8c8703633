"""The losses against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from offline import losses
from offline.model import DeviceBatch, Sampler, build
from tests.offline.planted import ITEMS, ring_log, rows_of


def scores(n: int = 5, items: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(n, items, dtype=torch.float64), torch.randint(0, items, (n,))


def test_with_all_items_as_candidates_it_is_the_softmax() -> None:
    s, targets = scores()
    hit = targets[:, None] == torch.arange(30)
    found = losses.sampled_softmax(s.gather(1, targets[:, None])[:, 0], s, hit, torch.zeros(30))
    assert found.item() == pytest.approx(F.cross_entropy(s, targets).item())


@pytest.mark.parametrize("corrected", [True, False])
def test_the_denominator_is_unbiased_only_with_the_correction(corrected: bool) -> None:
    s, targets = scores(1)
    popularity = torch.arange(1, 31, dtype=torch.float64)
    q = popularity / popularity.sum()
    positive = s[0, targets]
    true = torch.logsumexp(s, 1).item()
    drawn = torch.multinomial(q, 200_000, replacement=True)
    log_count = (
        torch.log(q * len(drawn))[drawn] if corrected else torch.full((len(drawn),), float(len(drawn) / 30)).log()
    )
    loss = losses.sampled_softmax(positive, s[:, drawn], (targets[:, None] == drawn), log_count)
    assert ((loss + positive).item() == pytest.approx(true, abs=0.01)) == corrected


def test_the_pairs_of_neumf_are_corrected_by_how_often_they_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its candidates are draws only, no targets of others, so that what is expected of all items together is their number."""
    made = rows_of(ring_log())[0]
    sampler = Sampler(made, ITEMS, 32, 0.5, torch.device("cpu"))
    model = build("neumf", ITEMS, {"dims": 8, "against": 16})
    [batch, *_] = model.epoch(made, 64, np.random.default_rng(0), None)
    draw = sampler.draw(batch.events, np.random.default_rng(0))
    assert draw.log_drawn.exp().sum().item() == pytest.approx(32)
    calls = []
    monkeypatch.setattr(losses, "sampled_softmax", lambda *arguments: calls.append(arguments) or torch.zeros(()))
    model.loss(DeviceBatch.of(batch, torch.device("cpu")), draw, None, 0.0)
    torch.testing.assert_close(calls[1][3], draw.log_drawn[draw.rows[:16]] + np.log(16 / 32))


def test_a_negative_that_is_the_target_itself_does_not_count() -> None:
    model = build("sasrec", ITEMS, {"dims": 8, "loss": "bce"})
    positive, scores = torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 0.0, 5.0, 3.0], [0.0, 2.0, 3.0, 4.0]])
    none = torch.zeros(2, 4, dtype=torch.bool)
    hit = none.clone()
    hit[1, 3] = True  # the second row's negative
    alone = losses.one_negative(positive, torch.tensor([5.0, 4.0]))
    assert model.objective(positive, scores, none, torch.zeros(4)).item() == pytest.approx(alone.item())
    without = (F.softplus(-positive).sum() + F.softplus(torch.tensor(5.0))) / 2
    assert model.objective(positive, scores, hit, torch.zeros(4)).item() == pytest.approx(without.item())


def test_bpr_max_is_as_in_the_paper() -> None:
    s, targets = scores()
    positive = s.gather(1, targets[:, None])[:, 0]
    hit = targets[:, None] == torch.arange(30)
    total = 0.0
    for i in range(5):
        others = s[i][~hit[i]]
        weight = torch.softmax(others, 0)
        total += (
            -torch.log((weight * torch.sigmoid(positive[i] - others)).sum()) + 0.5 * (weight * others**2).sum()
        ).item()
    assert losses.bpr_max(positive, s, hit, 0.5).item() == pytest.approx(total / 5, rel=1e-6)


def test_distillation_is_least_where_both_agree() -> None:
    s, _ = scores()
    zero = torch.zeros(30)
    assert losses.distillation(s, s, zero) < losses.distillation(s + torch.randn_like(s), s, zero)
    assert losses.distillation(s + 3, s, zero).item() == pytest.approx(losses.distillation(s, s, zero).item())
