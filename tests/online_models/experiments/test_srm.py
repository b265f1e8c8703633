"""Mismatches are found, balanced shares are not, and the sequential test is that of its paper."""

from __future__ import annotations

import numpy as np
import pytest

from online_models.errors import InputError
from online_models.experiments.effects import NoResult, Reason
from online_models.experiments.srm import Mismatch, chi_square, sequential


def test_the_sequential_p_value_is_the_product_over_units() -> None:
    """Equation of the paper: each unit is predicted from those before it, by the mixture and by the shares."""
    rng, shares, concentration = np.random.default_rng(5), np.array([0.5, 0.3, 0.2]), 100.0
    counts, evidence = np.zeros(3), 0.0
    for unit in rng.choice(3, 2_000, p=[0.44, 0.33, 0.23]).tolist():
        predicted = (concentration * shares[unit] + counts[unit]) / (concentration + counts.sum())
        evidence += np.log(predicted / shares[unit])
        counts[unit] += 1.0
        found = sequential(counts.astype(int).tolist(), [5.0, 3.0, 2.0], concentration=concentration)
        assert isinstance(found, Mismatch)
        assert found.p_value == pytest.approx(min(1.0, np.exp(-evidence)), rel=1e-8)
    assert found.p_value < 1e-3


@pytest.mark.parametrize("test", [chi_square, sequential])
def test_a_mismatch_is_found_and_a_match_is_not(test: object) -> None:
    for counts, alarm in (([50_100, 49_900], False), ([51_000, 49_000], True), ([100, 10], True)):
        found = test(counts, [0.5, 0.5])  # type: ignore[operator]
        assert found.alarm is alarm
    assert test([9_000, 1_000], [0.9, 0.1]).p_value > 0.5  # type: ignore[operator]
    assert test([9_000, 1_000], [0.8, 0.2]).alarm  # type: ignore[operator]


def test_a_stricter_level_is_kept() -> None:
    for test in (chi_square, sequential):
        p_value = test([5_200, 4_800], [1.0, 1.0]).p_value  # type: ignore[union-attr]
        assert test([5_200, 4_800], [1.0, 1.0], alpha=1.01 * p_value).alarm  # type: ignore[union-attr]
        assert not test([5_200, 4_800], [1.0, 1.0], alpha=0.99 * p_value).alarm  # type: ignore[union-attr]


def test_too_few_units_say_nothing() -> None:
    for found in (chi_square([4, 0], [0.5, 0.5]), chi_square([0, 0], [1.0, 1.0]), sequential([0, 0], [1.0, 1.0])):
        assert isinstance(found, NoResult)
        assert found.reason is Reason.TOO_FEW_UNITS


@pytest.mark.parametrize(
    ("counts", "shares"), [([1, 2], [1.0]), ([1], [1.0]), ([1, 2], [1.0, 0.0]), ([-1, 2], [1.0, 1.0]), ([], [])]
)
def test_shares_that_are_none_are_refused(counts: list[int], shares: list[float]) -> None:
    for test in (chi_square, sequential):
        with pytest.raises(InputError, match="positive share"):
            test(counts, shares)
