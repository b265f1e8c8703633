"""The reward model is fitted without the rows that it predicts, and says little where it has seen little."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online_models.errors import InputError
from online_models.experiments import off_policy
from online_models.experiments.off_policy import CellMeans, Estimate, Logged


def test_a_row_is_predicted_by_a_model_that_has_not_seen_its_block() -> None:
    rng = np.random.default_rng(10)
    n = 600
    action, position, block = rng.integers(0, 3, n), rng.integers(0, 2, n), rng.integers(0, 150, n)
    reward = rng.random(n) < 0.3
    before = CellMeans.fit(action, position, reward, 3, block=block)
    changed = reward.copy()
    changed[block == block[0]] ^= True
    after = CellMeans.fit(action, position, changed, 3, block=block)
    own = before.fold == before.fold[0]
    assert (before.predicted[own] == after.predicted[own]).all()
    assert (before.predicted[~own] != after.predicted[~own]).any()


def test_cell_means_are_drawn_in_where_there_is_little() -> None:
    rng = np.random.default_rng(11)
    n = 40_000
    action = rng.choice(50, n, p=np.r_[0.7, np.full(49, 0.3 / 49)])
    single = CellMeans.fit(np.arange(6), np.zeros(6, int), [0, 0, 0, 1, 1, 1], 6, folds=6)
    assert (np.ptp(single.table, axis=2) == 0.0).all()  # one row a cell says nothing of how cells differ
    flat = CellMeans.fit(action, np.zeros(n, int), rng.random(n) < 0.1, 50)
    assert np.ptp(flat.table[:, 0, 1:]) < 0.03  # nothing to find: all near one tenth
    apart = CellMeans.fit(action, np.zeros(n, int), rng.random(n) < np.where(action < 25, 0.05, 0.4), 50)
    assert apart.table[:, 0, 25:].min() > 0.25 > 0.15 > apart.table[:, 0, :25].max()
    target = np.full((1, 50), 1 / 50)
    assert apart.expected_by_position(target) == pytest.approx(apart.expected(np.repeat(target, n, axis=0)))
    assert apart.expected_by_position(target).mean() == pytest.approx(0.225, abs=0.02)


def test_it_makes_doubly_robust_narrower() -> None:
    rng = np.random.default_rng(12)
    n, items = 20_000, 20
    worth = np.linspace(0.05, 0.9, items)
    action = rng.integers(0, items, n)
    reward = rng.random(n) < worth[action]
    target = worth / worth.sum()
    model = CellMeans.fit(action, np.zeros(n, int), reward, items)
    log = Logged(
        reward, np.full(n, 1 / items), target[action], model.predicted, model.expected_by_position(target[None])
    )
    plain, modelled = off_policy.ipw(log), off_policy.dr(log)
    assert isinstance(plain, Estimate)
    assert isinstance(modelled, Estimate)
    assert modelled.low <= float(worth @ target) <= modelled.high
    assert modelled.high - modelled.low < 0.75 * (plain.high - plain.low)


@pytest.mark.parametrize(
    "bad",
    [{"action": [0, 1, 5]}, {"action": [-1, 0, 1]}, {"position": [-1, 0, 0]}, {"folds": 1}, {"folds": 4}],
)
def test_a_wrong_fit_is_refused(bad: dict[str, Any]) -> None:
    good = {"action": [0, 1, 2], "position": [0, 0, 0], "reward": [1, 0, 1], "n_actions": 3, "folds": 3}
    CellMeans.fit(**good)
    with pytest.raises(InputError):
        CellMeans.fit(**good | bad)
