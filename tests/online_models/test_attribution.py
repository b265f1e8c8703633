"""What features add, by their own weights and through hidden units, is the score and nothing else."""

from __future__ import annotations

import numpy as np

from online_models.attribution import attributed
from online_models.blend import CONTEXTS, Blend
from online_models.hidden import Hidden

FEATURES, UNITS = 12, 5


def learned(units: int, steps: int = 40) -> tuple[Blend, np.ndarray]:
    rng = np.random.default_rng(2)
    width = FEATURES + units
    blend = Blend(CONTEXTS, width, lr=0.2, hidden=Hidden(3, FEATURES, units, lr=0.2))
    active = np.array([0, 3, 7], np.int32)
    for _ in range(steps):
        x = np.zeros((30, width), np.float32)
        x[:, :FEATURES] = rng.random((30, FEATURES))
        blend.hidden.fill(x, 30)
        blend.apply(blend.propose(x, 30, int(x[:, 4].argmax()), active))
    blend.hidden.fill(x, 30)
    return blend, x


def test_rows_sum_to_the_scores_with_hidden_units_and_without() -> None:
    for units in (0, UNITS):
        blend, x = learned(units)
        weights = blend.collapse(np.array([0, 3, 7], np.int32))
        own, through = attributed(x, weights, blend.hidden)
        assert np.abs((own + through).sum(axis=1) - x @ weights).max() < 1e-5
        assert bool(np.abs(through).sum() > 0.1) == bool(units)
        assert not own[:, FEATURES:].any()
        assert not through[:, FEATURES:].any()


def test_a_feature_that_no_unit_sees_adds_nothing_through_them() -> None:
    blend, x = learned(UNITS)
    _, through = attributed(x, blend.collapse(np.array([0], np.int32)), blend.hidden)
    assert not through[:, :3].any()
    assert through[:, 3:FEATURES].any()


def test_a_unit_that_is_off_adds_nothing() -> None:
    units = Hidden(first=0, at=1, units=1)
    units.weights[0] = -1.0
    x = np.array([[2.0, 0.0]], np.float32)
    _, through = attributed(x, np.array([0.0, 3.0], np.float32), units)
    assert not through.any()
