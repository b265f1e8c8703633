"""Hidden units: the step is the gradient of the blend's loss, steps commute, and what no weighted sum can say is learned."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from online_models.blend import Blend
from online_models.hidden import FINEST, Hidden

FIRST, UNITS, FEATURES = 3, 6, 7
ALL = np.zeros(1, np.int32)


def made(units: int = UNITS, **more: Any) -> Blend:
    return Blend(1, FEATURES + units, hidden=Hidden(FIRST, FEATURES, units, **more))


def union(blend: Blend, rng: np.random.Generator, n: int = 30) -> Any:
    x = np.zeros((n, FEATURES + blend.hidden.units), np.float32)
    x[:, :FEATURES] = rng.random((n, FEATURES))
    blend.hidden.fill(x, n)
    return x


def frozen(blend: Blend) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in blend.snapshot().items()}


def test_the_columns_are_rectified_sums_of_the_features() -> None:
    blend, rng = made(), np.random.default_rng(0)
    blend.hidden._at_a_time = 192
    x = np.full((500, FEATURES + UNITS), -7.0, np.float32)
    x[:, :FEATURES] = rng.random((500, FEATURES))
    blend.hidden.fill(x, 450)  # more than are multiplied at a time
    right = np.maximum(x[:450, FIRST:FEATURES].astype(float) @ blend.hidden.weights.T, 0.0)
    np.testing.assert_allclose(x[:450, FEATURES:], right, atol=1e-5)
    assert (right > 0).any()
    assert (right == 0).any()
    assert (x[450:, FEATURES:] == -7.0).all()


def test_columns_that_are_not_in_use_change_nothing_to_the_bit() -> None:
    """A blend with further columns, which are not in use, makes the steps and holds the numbers of one without."""
    rng = np.random.default_rng(8)
    extra = 5
    more = Hidden(FIRST, FEATURES, UNITS, seed=4, more=(FEATURES + UNITS + 2, extra - 2))
    plain, beside = made(seed=4), Blend(1, FEATURES + UNITS + extra, hidden=more, more=extra)
    for step in range(40):
        x = union(plain, rng)
        y = np.full((len(x), FEATURES + UNITS + extra), 7.0, np.float32)  # what is not in use may be anything
        y[:, :FEATURES] = x[:, :FEATURES]
        beside.hidden.fill(y, len(y), wide=False)
        assert np.array_equal(y[:, : FEATURES + UNITS], x)
        packed = plain.propose(x, 30, step % 30, ALL)
        assert beside.propose(y, 30, step % 30, ALL, wide=False) == packed
        plain.apply(packed)
        beside.apply(packed)
        weights = beside.collapse(ALL, wide=False)
        assert np.array_equal(weights, plain.collapse(ALL))
    assert not beside.weights[0, FEATURES + UNITS :].any()
    assert np.array_equal(beside.hidden.weights[:, : FEATURES - FIRST], plain.hidden.weights)


def test_columns_that_are_in_use_are_summed_up_and_learned_too() -> None:
    rng, extra = np.random.default_rng(9), 3
    at = FEATURES + UNITS
    blend = Blend(1, at + extra, hidden=Hidden(FIRST, FEATURES, UNITS, more=(at + 1, extra - 1)), more=extra)
    x = np.zeros((30, at + extra), np.float32)
    x[:, :FEATURES], x[:, at:] = rng.random((30, FEATURES)), rng.random((30, extra))
    blend.hidden.fill(x, 30)
    seen = np.hstack([x[:, FIRST:FEATURES], x[:, at + 1 :]])
    np.testing.assert_allclose(x[:, FEATURES:at], np.maximum(seen @ blend.hidden.weights.T, 0.0), atol=1e-5)
    blend.weights[0] = rng.normal(size=at + extra)
    before = blend.hidden.weights.copy()
    blend.apply(blend.propose(x, 30, 3, ALL))
    assert (blend.hidden.weights != before).any(axis=0).all()
    narrow = blend.propose(x, 30, 3, ALL, wide=False)
    assert len(narrow) < len(blend.propose(x, 30, 3, ALL))
    before = blend.hidden.weights.copy()
    blend.apply(narrow)
    changed = (blend.hidden.weights != before).any(axis=0)
    assert changed[: FEATURES - FIRST].all()
    assert not changed[FEATURES - FIRST :].any()


def loss(blend: Blend, weights: Any, x: Any, target: int) -> float:
    hidden = np.maximum(x[:, FIRST:FEATURES].astype(float) @ weights.T, 0.0)
    w = blend.weights[0]
    scores = x[:, :FEATURES] @ w[:FEATURES] + hidden @ w[FEATURES:]
    return float(np.log(np.exp(scores - scores[target]).sum()))


def test_a_step_goes_against_the_gradient_of_the_loss() -> None:
    blend, rng = made(lr=0.05, eps=0.01), np.random.default_rng(1)
    blend.weights[0] = rng.normal(size=FEATURES + UNITS)
    h, x = blend.hidden, union(blend, rng)
    gradient = np.zeros_like(h.weights)
    for place in np.ndindex(*gradient.shape):
        nudge = np.zeros_like(gradient)
        nudge[place] = 1e-5
        gradient[place] = (loss(blend, h.weights + nudge, x, 4) - loss(blend, h.weights - nudge, x, 4)) / 2e-5
    before = h.weights.copy()
    blend.apply(blend.propose(x, 30, 4, ALL))
    size = np.sqrt((gradient**2).mean(axis=1))
    np.testing.assert_allclose(np.sqrt(h.squares), size, atol=1e-4)
    right = -0.05 * gradient / np.sqrt(size**2 + 0.01)[:, None]
    off = np.abs(h.weights - before - right).max(axis=1)
    assert (off <= np.abs(right).max(axis=1) / 127 + 1e-4).all()  # rounded to eight bits
    assert loss(blend, h.weights, x, 4) < loss(blend, before, x, 4)


def test_steps_commute_to_the_bit_and_proposing_changes_nothing() -> None:
    blend, rng, steps = made(), np.random.default_rng(2), []
    for _ in range(300):
        x = union(blend, rng)
        before = frozen(blend)
        steps.append(blend.propose(x, 30, int(rng.integers(30)), ALL))
        assert frozen(blend) == before
        if rng.random() < 0.7:
            blend.apply(steps[-1])
    told = set()
    for seed in range(3):
        random.Random(seed).shuffle(steps)
        other = made()
        for step in steps:
            other.apply(step)
        told.add(tuple(frozen(other).values()))
    assert len(told) == 1
    assert (np.mod(other.hidden.weights, 2.0**FINEST) == 0.0).all()
    assert np.abs(other.hidden.weights - made().hidden.weights).max() > 1e-3


def test_what_no_weighted_sum_can_say_is_learned() -> None:
    """The item that comes has both of two features or neither: neither of them tells anything by itself."""
    last = {}
    for units in (0, 16):
        blend, rng, losses = made(units), np.random.default_rng(3), []
        for _ in range(4_000):
            x = np.zeros((20, FEATURES + units), np.float32)
            x[:, [3, 5]] = rng.integers(0, 2, (20, 2))
            x[:, 4] = 1.0
            alike = np.flatnonzero(x[:, 3] == x[:, 5])
            if len(alike):
                target = int(rng.choice(alike))
                blend.hidden.fill(x, 20)
                scores = x.astype(float) @ blend.weights[0]
                losses.append(np.log(np.exp(scores - scores[target]).sum()))
                blend.apply(blend.propose(x, 20, target, ALL))
        last[units] = np.mean(losses[-500:])
    assert last[0] == pytest.approx(np.log(20), abs=0.05)
    assert last[16] < last[0] - 0.4


def test_a_restored_copy_goes_on_as_before_and_the_start_is_the_seeds() -> None:
    one, two, rng = made(), made(), np.random.default_rng(4)
    assert frozen(one) == frozen(two)
    assert made(seed=1).hidden.weights.tolist() != one.hidden.weights.tolist()
    for n in range(40):
        if n == 20:
            two.restore({name: a.copy() for name, a in one.snapshot().items()})
        x = union(one, rng)
        step = one.propose(x, 30, n % 30, ALL)
        one.apply(step)
        if n >= 20:
            y = x.copy()
            two.hidden.fill(y, 30)
            np.testing.assert_array_equal(x, y)
            two.apply(two.propose(y, 30, n % 30, ALL))
    assert frozen(one) == frozen(two)


def test_a_step_of_other_units_is_refused() -> None:
    step = made(5).propose(union(made(5), np.random.default_rng(5)), 30, 0, ALL)
    blend = made()
    before = frozen(blend)
    with pytest.raises(ValueError, match="one configuration"):
        blend.apply(step)
    assert frozen(blend) == before
