"""The average is held at every look, also where the mean drifts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from online_models.errors import InputError
from online_models.experiments.average_sequence import AverageSequence

N = 1_500
STEADY = np.zeros(N)
DRIFT = 0.8 * np.sin(np.linspace(0.0, 2.0 * np.pi, N)) + 0.1
JUMP = np.where(np.arange(N) < 300, 0.9, -0.6)


def always_covers(sequence: AverageSequence, values: np.ndarray, averages: np.ndarray) -> bool:
    for value, average in zip(values.tolist(), averages.tolist(), strict=True):
        sequence.update(value)
        low, high = sequence.interval
        if not low <= average <= high:
            return False
    return True


@pytest.mark.parametrize("share", [1.0, 0.1], ids=["always", "rarely"])
@pytest.mark.parametrize("means", [STEADY, DRIFT, JUMP], ids=["steady", "drift", "jump"])
def test_it_covers_the_average_at_every_look(means: np.ndarray, share: float) -> None:
    """100 runs of 1,500 looks at a level of 20 %: values of ±1, at a share of the times."""
    rng = np.random.default_rng(3)
    averages = np.cumsum(share * means) / np.arange(1, N + 1)
    kept = 0
    for _ in range(100):
        values = np.where(rng.random(N) < (1.0 + means) / 2.0, 1.0, -1.0) * (rng.random(N) < share)
        kept += always_covers(AverageSequence(alpha=0.2), values, averages)
    assert kept >= 80


def test_it_is_not_much_wider_than_an_interval_for_one_look() -> None:
    rng = np.random.default_rng(5)
    for sd in (0.05, 0.2):
        sequence = AverageSequence()
        for value in np.clip(rng.normal(0.3, sd, 20_000), -1.0, 1.0).tolist():
            sequence.update(value)
        low, high = sequence.interval
        assert low < 0.3 < high
        assert high - low < 2.5 * 2.0 * 1.96 * sd / math.sqrt(20_000) + 0.006


def test_it_scales_with_the_range() -> None:
    rng = np.random.default_rng(6)
    unit, wide = AverageSequence(0.0, 1.0), AverageSequence(-5.0, 5.0)
    assert unit.interval == (0.0, 1.0)
    for value in rng.random(500).tolist():
        unit.update(value)
        wide.update(10.0 * value - 5.0)
    assert wide.interval == pytest.approx(tuple(10.0 * bound - 5.0 for bound in unit.interval))
    assert unit.n == 500


@pytest.mark.parametrize("value", [1.01, -1.01, math.nan, math.inf])
def test_a_value_outside_the_range_is_refused(value: float) -> None:
    sequence = AverageSequence()
    with pytest.raises(InputError, match="from -1"):
        sequence.update(value)
    assert sequence.n == 0


@pytest.mark.parametrize("bad", [{"low": 1.0, "high": 1.0}, {"alpha": 0.0}, {"alpha": 1.0}])
def test_bounds_that_are_none_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError):
        AverageSequence(**bad)
