"""The confidence sequence holds at all times at once, finds what there is, and is as narrow as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from online_models.confidence_sequence import ConfidenceSequence
from online_models.errors import InputError


def always_covers(values: np.ndarray, mean: float, alpha: float) -> bool:
    sequence = ConfidenceSequence(alpha=alpha)
    for value in values.tolist():
        sequence.update(value)
        low, high = sequence.interval
        if not low <= mean <= high:
            return False
    return True


@pytest.mark.parametrize("share", [1.0, 0.05], ids=["always", "rarely"])
def test_it_covers_the_mean_at_every_look(share: float) -> None:
    """200 runs of 1,000 looks at a level of 20 %: a fixed-time interval, looked at as often, misses in most of them."""
    rng = np.random.default_rng(7)
    values = rng.choice([-1.0, 1.0], (200, 1_000)) * (rng.random((200, 1_000)) < share)
    kept = sum(always_covers(row, 0.0, alpha=0.2) for row in values)
    assert kept >= 160, f"covered in {kept} of 200 runs"
    n = np.arange(10, 1_001)
    sums, squares = np.cumsum(values, axis=1)[:, 9:], np.cumsum(values**2, axis=1)[:, 9:]
    fixed = np.abs(sums / n) <= 1.2816 * np.sqrt(np.maximum(squares / n, 1e-12) / n)
    assert fixed.all(axis=1).sum() < 100


@pytest.mark.parametrize("shift", [-0.05, 0.05])
def test_it_finds_a_difference_and_its_sign(shift: float) -> None:
    rng = np.random.default_rng(3)
    sequence = ConfidenceSequence(alpha=0.05)
    for value in np.clip(rng.normal(shift, 0.2, 5_000), -1.0, 1.0).tolist():
        sequence.update(value)
        low, high = sequence.interval
        if low > 0.0 or high < 0.0:
            break
    assert sequence.n < 2_000
    assert (high < 0.0) == (shift < 0.0)


def test_its_width_follows_the_variance() -> None:
    rng = np.random.default_rng(5)
    widths = []
    for sd in (0.05, 0.2):
        sequence = ConfidenceSequence(alpha=0.05)
        for value in np.clip(rng.normal(0.0, sd, 20_000), -1.0, 1.0).tolist():
            sequence.update(value)
        low, high = sequence.interval
        widths.append(high - low)
        assert high - low < 4.0 * sd * math.sqrt(2.0 * math.log(40.0) * math.log(20_000) / 20_000)
    assert widths[1] > 2.5 * widths[0]


def test_it_stays_within_the_range_and_scales_with_it() -> None:
    rng = np.random.default_rng(1)
    unit, wide = ConfidenceSequence(0.0, 1.0), ConfidenceSequence(-5.0, 5.0)
    for value in rng.random(500).tolist():
        unit.update(value)
        wide.update(10.0 * value - 5.0)
        low, high = unit.interval
        assert 0.0 <= low < high <= 1.0
        assert wide.interval == pytest.approx((10.0 * low - 5.0, 10.0 * high - 5.0))
        assert wide.mean == pytest.approx(10.0 * unit.mean - 5.0)


def test_where_the_mean_changes_it_holds_their_weighted_average_and_is_never_empty() -> None:
    """A bound of an earlier look is one of another average: kept, it would leave an empty interval."""
    rng = np.random.default_rng(2)
    means = np.where(np.arange(2_000) < 500, 0.9, -0.6)
    covered = 0
    for _ in range(50):
        sequence = ConfidenceSequence(alpha=0.2)
        weighted, kept = 0.0, True
        for mean, value in zip(
            means.tolist(), np.where(rng.random(2_000) < (1.0 + means) / 2.0, 1.0, -1.0).tolist(), strict=True
        ):
            before = sequence._weights
            sequence.update(value)
            weighted += mean * (sequence._weights - before)
            low, high = sequence.interval
            assert low < high
            kept &= low <= weighted / sequence._weights <= high
        covered += kept
    assert covered >= 40


@pytest.mark.parametrize("value", [1.01, -1.01, math.nan, math.inf])
def test_a_value_outside_the_range_is_refused(value: float) -> None:
    sequence = ConfidenceSequence()
    with pytest.raises(InputError, match="from -1"):
        sequence.update(value)
    assert sequence.n == 0


@pytest.mark.parametrize("bad", [{"low": 1.0, "high": 1.0}, {"alpha": 0.0}, {"alpha": 1.0}])
def test_bounds_that_are_none_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError):
        ConfidenceSequence(**bad)
