"""What the intervals keep whatever the numbers are; that they are the right ones is in test_reference and test_simulated."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_models.errors import InputError
from online_models.experiments.effects import Effect
from online_models.experiments.intervals import Interval, fixed, gavi, lower_bound, msprt, upper_bound


def effect(estimate: float = 0.05, error: float = 0.02, n: int = 10_000) -> Effect:
    return Effect(estimate, error**2, n // 2, n - n // 2, 1.0, 1.0 + estimate, n - 2.0, True, 0.0)


EFFECTS = st.builds(effect, st.floats(-1.0, 1.0), st.floats(1e-4, 1.0), st.integers(4, 10**7))
INTERVALS: list[Callable[[Effect, float], Interval]] = [
    lambda e, alpha: fixed(e, alpha),
    lambda e, alpha: gavi(e, alpha),
    lambda e, alpha: msprt(e, 0.05, alpha),
]


@pytest.mark.parametrize("interval", INTERVALS, ids=["fixed", "gavi", "msprt"])
@given(found=EFFECTS, alpha=st.sampled_from([0.001, 0.01, 0.05, 0.2]))
def test_an_interval_is_round_its_estimate_and_agrees_with_its_p_value(
    interval: Callable[[Effect, float], Interval], found: Effect, alpha: float
) -> None:
    whole = interval(found, alpha)
    assert whole.low < found.estimate < whole.high
    assert whole.high + whole.low == pytest.approx(2.0 * found.estimate, abs=1e-9)
    assert 0.0 <= whole.p_value <= 1.0
    if abs(whole.p_value - alpha) > 1e-6 * alpha:
        assert whole.excludes_zero == (whole.p_value < alpha)
    mirrored = interval(effect(-found.estimate, found.error, found.n), alpha)
    assert (mirrored.low, mirrored.high, mirrored.p_value) == pytest.approx((-whole.high, -whole.low, whole.p_value))


@given(EFFECTS)
def test_who_may_look_always_pays_with_width(found: Effect) -> None:
    once = fixed(found)
    for always in (gavi(found), msprt(found, 0.05)):
        assert always.high > found.estimate + 2.5 * found.error
        assert found.n < 1_000 or always.high > once.high


@given(EFFECTS, st.sampled_from([500.0, 5_000.0, 1e6]))
def test_one_side_is_narrower_than_two(found: Effect, tuning: float) -> None:
    half = gavi(found, 0.05, tuning)
    low, high = lower_bound(found, 0.05, tuning), upper_bound(found, 0.05, tuning)
    assert half.low < low < found.estimate < high < half.high
    assert high - found.estimate == pytest.approx(found.estimate - low)


@pytest.mark.parametrize("tuning", [500.0, 5_000.0, 50_000.0])
def test_gavi_is_narrowest_at_the_units_that_it_is_tuned_to(tuning: float) -> None:
    """For a given number of units no other tuning gives a narrower interval."""
    found = effect(n=int(tuning))
    width = gavi(found, tuning=tuning).high
    assert all(width < gavi(found, tuning=tuning * factor).high for factor in (0.5, 0.8, 1.25, 2.0))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, -0.1, float("nan")])
def test_a_level_that_is_none_is_refused(alpha: float) -> None:
    for interval in (*INTERVALS, lower_bound, upper_bound):
        with pytest.raises(InputError, match="alpha"):
            interval(effect(), alpha)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_a_tuning_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="tuning above 0"):
        gavi(effect(), tuning=value)
    with pytest.raises(InputError, match="tuning above 0"):
        lower_bound(effect(), tuning=value)
    with pytest.raises(InputError, match="tau above 0"):
        msprt(effect(), value)
