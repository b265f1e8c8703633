"""Sums of units with weights say what the units themselves would, written out."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from online_models.errors import InputError
from online_models.experiments.effects import Effect, Kind, Metric, compare
from online_models.experiments.sums import Sums
from online_models.experiments.weighted import Weighted

RNG = np.random.default_rng(4)


def strata() -> list[tuple[float, np.ndarray]]:
    return [
        (w, RNG.normal(mean, 1.0, (n, 2)) + 5.0) for w, mean, n in ((0.2, 0.0, 300), (1.0, 2.0, 100), (1.8, -1.0, 50))
    ]


def weighted(parts: list[tuple[float, np.ndarray]]) -> Weighted:
    return reduce(Weighted.__add__, [Weighted.of(w, Sums.of_units(units.tolist(), 2)) for w, units in parts])


def test_mean_and_covariance_are_those_of_the_units() -> None:
    parts = strata()
    found = weighted(parts)
    x, w = np.concatenate([u for _, u in parts]), np.concatenate([np.full(len(u), w) for w, u in parts])
    mean = w @ x / w.sum()
    off = w[:, None] * (x - mean)
    n = len(x)
    assert found.n == n
    assert found.clock == pytest.approx(w.sum())
    assert found.effective == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert found.mean == pytest.approx(mean)
    assert found.totals == pytest.approx(w @ x)
    assert found.covariance / n == pytest.approx(n / (n - 1) * off.T @ off / w.sum() ** 2, rel=1e-6)


@pytest.mark.parametrize(
    "metric", [Metric(Kind.MEAN, covariate=True), Metric(Kind.RATIO), Metric(Kind.PROPORTION, covariate=True)]
)
def test_weights_that_are_alike_change_nothing(metric: Metric) -> None:
    both = strata(), strata()
    if metric.kind is Kind.PROPORTION:
        both = tuple([(w, (u > 5.0).astype(float)) for w, u in parts] for parts in both)
    plain = [Sums.of_units(np.concatenate([u for _, u in parts]).tolist(), 2) for parts in both]
    same = [weighted([(1.0, u) for _, u in parts]) for parts in both]
    one, other = compare(*plain, metric), compare(*same, metric)
    assert isinstance(one, Effect)
    assert isinstance(other, Effect)
    assert other.estimate == pytest.approx(one.estimate)
    assert other.variance == pytest.approx(one.variance)
    assert (other.n, other.dof) == (pytest.approx(one.n), pytest.approx(one.dof))


def test_the_clock_of_a_sequence_is_the_weight_that_came_and_not_how_many() -> None:
    """Who counts a fifth brings a fifth of the time; by heads the sequence would be ahead of what it knows."""
    one, other = weighted(strata()), weighted(strata())
    found = compare(one, other, Metric(Kind.RATIO))
    assert isinstance(found, Effect)
    assert found.n == pytest.approx(one.clock + other.clock)
    assert found.n < found.n_control + found.n_treated - 100


def test_only_like_is_compared_with_like() -> None:
    with pytest.raises(InputError, match="both with weights"):
        compare(Sums.of_units([[1.0, 2.0], [2.0, 1.0]] * 100, 2), weighted(strata()), Metric(covariate=True))
