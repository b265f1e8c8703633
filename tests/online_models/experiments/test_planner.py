"""What is planned is what happens: experiments of the planned size find the planned effect as often as planned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from online_models.errors import InputError
from online_models.experiments import mixtures
from online_models.experiments.effects import NoResult, Reason
from online_models.experiments.planner import Design, days_needed, detectable, units_needed

DESIGNS = [
    Design(variance=4.0, tuning=None),
    Design(variance=4.0, control=0.2, treated=0.3, tuning=None),
    Design(variance=4.0, baseline=2.0, control=0.4, treated=0.1, tuning=None),
    Design(variance=4.0),
    Design(variance=4.0, control=0.2, treated=0.3, tuning=2_000.0, alpha=0.01, power=0.9),
    Design(variance=4.0, baseline=2.0),
]


def found(design: Design, effect: float, units: int, looks: int) -> float:
    """The share of experiments that find the effect at one of so many looks, by normal batches of the two variants."""
    rng, experiments = np.random.default_rng(9), 4_000
    means = []
    n = []
    for share, shift in ((design.control, 0.0), (design.treated, effect)):
        mean = (design.baseline or 0.0) + shift * (design.baseline or 1.0)
        batch = units * share / looks
        sums = rng.normal(batch * mean, np.sqrt(batch * design.variance), (experiments, looks)).cumsum(axis=1)
        n.append(batch * np.arange(1, looks + 1))
        means.append(sums / n[-1])
    (a, b), (n_a, n_b) = means, n
    estimate, variance = b - a, design.variance * (1.0 / n_a + 1.0 / n_b)
    if design.baseline is not None:
        estimate, variance = estimate / a, design.variance * (1.0 / n_b + (b / a) ** 2 / n_a) / a**2
    if design.tuning is None:
        half = 1.959964
    else:
        half = mixtures.two_sided((n_a + n_b) * mixtures.best_rho2(design.tuning, design.alpha), design.alpha)
    return float((estimate > half * np.sqrt(variance)).any(axis=1).mean())


@pytest.mark.parametrize("design", DESIGNS)
def test_the_planned_power_is_reached(design: Design) -> None:
    units = units_needed(design, 0.1)
    power = found(design, 0.1, units, looks=1)
    assert power == pytest.approx(design.power, abs=0.025)
    assert found(design, 0.1, units // 2, looks=1) < power - 0.1
    if design.tuning is not None:
        assert power <= found(design, 0.1, units, looks=50) < power + 0.08


@pytest.mark.parametrize("design", DESIGNS)
def test_the_two_questions_have_one_answer(design: Design) -> None:
    for effect in (0.02, 0.1, 0.4):
        units = units_needed(design, effect)
        before, after = detectable(design, units - 1), detectable(design, units)
        assert isinstance(before, float)
        assert isinstance(after, float)
        assert after <= effect < before


def test_units_of_other_variants_do_not_count() -> None:
    some, all_ = Design(variance=4.0, control=0.2, treated=0.2, tuning=500.0), Design(variance=4.0, tuning=500.0)
    assert detectable(some, 100_000) == pytest.approx(detectable(all_, 40_000))


def test_to_look_always_costs_units_and_a_covariate_saves_them() -> None:
    once = Design(variance=4.0, tuning=None)
    needed = units_needed(once, 0.1)
    always = units_needed(replace(once, tuning=1.5 * needed), 0.1)
    assert 1.4 * needed < always < 2.2 * needed
    assert units_needed(replace(once, variance=4.0 * (1.0 - 0.7**2)), 0.1) == pytest.approx(0.51 * needed, abs=1.0)


def test_days_are_whole_and_of_those_who_take_part() -> None:
    design = Design(variance=4.0, tuning=None)
    needed = units_needed(design, 0.1)
    assert days_needed(design, 0.1, needed) == 1
    assert days_needed(design, 0.1, needed - 1) == 2
    assert days_needed(design, 0.1, needed / 7.0, share=0.5) in (14, 15)


def test_a_baseline_lost_in_noise_has_no_relative_effect() -> None:
    none = detectable(Design(variance=400.0, baseline=1.0), 100)
    assert isinstance(none, NoResult)
    assert none.reason is Reason.TOO_FEW_UNITS
    assert units_needed(Design(variance=400.0, baseline=1.0), 0.5) > 10_000


@pytest.mark.parametrize(
    "bad",
    [
        {"variance": 0.0},
        {"baseline": 0.0},
        {"control": 0.6, "treated": 0.6},
        {"treated": 0.0},
        {"alpha": 0.5},
        {"power": 1.0},
        {"tuning": 0.0},
    ],
)
def test_a_design_that_is_none_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="correct the design"):
        Design(**{"variance": 1.0, **bad})


def test_questions_that_are_none_are_refused() -> None:
    design = Design(variance=1.0)
    for ask in (
        lambda: detectable(design, 0),
        lambda: units_needed(design, 0.0),
        lambda: units_needed(design, -0.1),
        lambda: units_needed(design, 1e-12),
        lambda: days_needed(design, 0.1, 0.0),
        lambda: days_needed(design, 0.1, 10.0, share=1.1),
    ):
        with pytest.raises(InputError):
            ask()
