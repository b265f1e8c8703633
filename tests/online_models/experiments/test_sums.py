"""Sums are exact in any order, can be taken back, and give the moments that numpy gives."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_models.errors import InputError
from online_models.experiments.sums import Sums

VALUES = st.lists(
    st.tuples(*[st.floats(-1e9, 1e9, allow_nan=False)] * 2), min_size=1, max_size=30
)  # a unit has two columns


@given(VALUES, st.randoms(use_true_random=False), st.integers(1, 4))
def test_workers_merged_in_any_order_hold_the_same(
    units: list[tuple[float, float]], rng: random.Random, workers: int
) -> None:
    alone = Sums.of_units(units, 2)
    parts = [Sums.empty(2)] * workers
    for unit in rng.sample(units, len(units)):
        at = rng.randrange(workers)
        parts[at] += Sums.of(unit)
    rng.shuffle(parts)
    assert sum(parts[1:], parts[0]) == alone
    assert parts[0] + (sum(parts[1:], Sums.empty(2))) == alone


@given(VALUES, st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=10))
def test_a_unit_that_changes_step_by_step_ends_where_it_would_have_begun(
    units: list[tuple[float, float]], steps: list[float]
) -> None:
    others = Sums.of_units(units, 2)
    sums, x = others + Sums.of((0.0, 1.0)), 0.0
    for d in steps:
        sums = sums.changed((x, 1.0), (x + d, 1.0))
        x += d
    assert sums == others + Sums.of((x, 1.0))
    assert sums - Sums.of((x, 1.0)) == others


def test_moments_are_those_of_numpy() -> None:
    values = np.random.default_rng(1).normal([3.0, -1.0, 0.1], [1.0, 5.0, 1e-3], (500, 3))
    sums = Sums.of_units(values, 3)
    assert sums.n == 500
    np.testing.assert_allclose(sums.mean, values.mean(axis=0), rtol=1e-8)
    np.testing.assert_allclose(sums.covariance, np.cov(values.T), rtol=1e-6, atol=1e-9)


def test_nothing_cancels_under_a_large_mean() -> None:
    """Σy² - n ȳ² in float64 has no correct digit here."""
    values = 1e9 + np.arange(100.0) / 64.0
    sums = Sums.of_units(values[:, None], 1)
    exact = np.var(np.arange(100.0) / 64.0, ddof=1)
    naive = (np.sum(values**2) - np.sum(values) ** 2 / 100) / 99
    assert sums.covariance[0, 0] == pytest.approx(exact, rel=1e-12)
    assert abs(naive / exact - 1.0) > 0.5


def test_too_few_units_have_no_variance() -> None:
    assert Sums.empty(1).mean.tolist() == [0.0]
    assert Sums.of([3.0]).covariance.tolist() == [[0.0]]


def test_they_go_through_json_as_they_are() -> None:
    sums = Sums.of_units(np.random.default_rng(2).lognormal(5.0, 3.0, (200, 2)), 2)
    assert Sums.from_plain(json.loads(json.dumps(sums.plain()))) == sums


GOOD = Sums.of([1.0, 2.0]).plain()


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {**GOOD, "n": -1},
        {**GOOD, "n": True},
        {**GOOD, "n": 1.0},
        {**GOOD, "totals": [1, 2]},
        {**GOOD, "totals": ["1", "a"]},
        {**GOOD, "totals": ["1"]},
        {**GOOD, "products": "123"},
    ],
)
def test_what_are_no_sums_is_refused(bad: dict[str, Any]) -> None:
    assert Sums.from_plain(GOOD) == Sums.of([1.0, 2.0])
    with pytest.raises(InputError, match="decimal integers"):
        Sums.from_plain(bad)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_a_value_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="finite"):
        Sums.of([1.0, value])


def test_sums_of_other_metrics_are_not_added() -> None:
    for both in (lambda a, b: a + b, lambda a, b: a - b):
        with pytest.raises(InputError, match="2 columns"):
            both(Sums.empty(2), Sums.empty(3))
    with pytest.raises(InputError, match="columns"):
        Sums.empty(2).changed([1.0], [2.0])
