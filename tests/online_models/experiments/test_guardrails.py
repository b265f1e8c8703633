"""A guardrail says what its one-sided bounds allow, and that it does not know yet, and nothing in between."""

from __future__ import annotations

import pytest

from online_models.errors import InputError
from online_models.experiments.effects import Effect, NoResult, Reason
from online_models.experiments.guardrails import Verdict, guard
from online_models.experiments.intervals import lower_bound, upper_bound


def effect(estimate: float, error: float = 0.002) -> Effect:
    return Effect(estimate, error**2, 50_000, 50_000, 1.0, 1.0 + estimate, 99_998.0, True, 0.0)


@pytest.mark.parametrize(
    ("estimate", "verdict"),
    [
        (0.05, Verdict.HOLDS),
        (0.0, Verdict.HOLDS),
        (-0.005, Verdict.UNDECIDED),
        (-0.01, Verdict.UNDECIDED),
        (-0.015, Verdict.UNDECIDED),
        (-0.03, Verdict.BREACHED),
    ],
)
def test_the_loss_is_held_against_the_margin(estimate: float, verdict: Verdict) -> None:
    found = guard(effect(estimate), 0.01)
    assert found.verdict is verdict
    assert found.low == lower_bound(effect(estimate)) < estimate < upper_bound(effect(estimate)) == found.high
    other = guard(effect(-estimate), 0.01, higher_is_better=False)
    assert other.verdict is verdict
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low))


def test_no_margin_asks_for_a_gain() -> None:
    assert guard(effect(0.001), 0.0).verdict is Verdict.UNDECIDED
    assert guard(effect(0.02), 0.0).verdict is Verdict.HOLDS
    assert guard(effect(-0.02), 0.0).verdict is Verdict.BREACHED


def test_nothing_known_is_no_permission() -> None:
    found = guard(NoResult(Reason.TOO_FEW_UNITS, "none"), 0.5)
    assert found.verdict is Verdict.UNDECIDED
    assert found.low == -found.high == float("-inf")


@pytest.mark.parametrize("margin", [-0.01, float("nan"), float("inf")])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(InputError, match="margin of at least 0"):
        guard(effect(0.0), margin)
