"""Effects, intervals, p-values and mismatches equal those of gbstats and confseq (reference.json) to 1e-6."""

from __future__ import annotations

import json
from math import exp, sqrt
from pathlib import Path
from typing import Any

import pytest

from online_models.confidence_sequence import ConfidenceSequence
from online_models.experiments import intervals, mixtures, srm
from online_models.experiments.effects import Effect, Kind, Metric, compare
from online_models.experiments.sums import SCALE, Sums

REFERENCE: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "reference.json").read_text("utf-8"))


def close(value: float) -> Any:
    return pytest.approx(value, rel=1e-6, abs=1e-9)


def sums(moments: dict[str, Any]) -> Sums:
    return Sums(
        moments["n"],
        tuple(round(total * SCALE) for total in moments["totals"]),
        tuple(round(product * SCALE * SCALE) for product in moments["products"]),
    )


def named(case: dict[str, Any]) -> str:
    words = [case["kind"], *(["adjusted"] if case["covariate"] else []), "relative" if case["relative"] else "absolute"]
    return " ".join(words)


@pytest.mark.parametrize("case", REFERENCE["effects"], ids=named)
def test_effects_and_their_intervals_are_those_of_gbstats(case: dict[str, Any]) -> None:
    metric = Metric(Kind(case["kind"]), case["covariate"])
    effect = compare(sums(case["control"]), sums(case["treated"]), metric, relative=case["relative"])
    assert isinstance(effect, Effect)
    assert (effect.estimate, effect.error, effect.theta) == close((case["estimate"], case["error"], case["theta"]))
    assert (effect.theta != 0.0) == case["covariate"]
    for name, interval in (
        ("fixed", intervals.fixed(effect, case["alpha"])),
        ("gavi", intervals.gavi(effect, case["alpha"], case["tuning"])),
    ):
        expected = case[name]
        found = (interval.low, interval.high, interval.p_value)
        assert found == close((expected["low"], expected["high"], expected["p_value"])), name


@pytest.mark.parametrize("case", REFERENCE["mismatches"])
def test_mismatches_are_those_of_gbstats(case: dict[str, Any]) -> None:
    found = srm.chi_square(case["counts"], case["shares"])
    assert isinstance(found, srm.Mismatch)
    assert found.p_value == close(case["p_value"])


@pytest.mark.parametrize("case", REFERENCE["mixtures"])
def test_mixtures_are_those_of_confseq(case: dict[str, Any]) -> None:
    """Theirs bound a sum of intrinsic time v, ours an estimate in standard errors."""
    v, alpha = case["v"], case["alpha"]
    r = v * mixtures.best_rho2(case["best"], alpha)
    assert float(mixtures.two_sided(r, alpha)) * sqrt(v) == close(case["two_sided"])
    assert float(mixtures.two_sided_p(case["z"], r)) == close(min(1.0, exp(-case["log_mixture"])))
    one = Effect(0.0, 1.0, v, 0, 1.0, 1.0, 1.0, False, 0.0)  # type: ignore[arg-type]
    assert intervals.upper_bound(one, alpha, case["best"]) * sqrt(v) == close(case["one_sided"])


@pytest.mark.parametrize("case", REFERENCE["effects"][:10], ids=named)
def test_a_sequential_ratio_test_is_the_same_mixture(case: dict[str, Any]) -> None:
    """With tau² in the place of the variance that `gavi` derives from its tuning, the two are one."""
    effect = compare(
        sums(case["control"]), sums(case["treated"]), Metric(Kind(case["kind"])), relative=case["relative"]
    )
    assert isinstance(effect, Effect)
    tau = sqrt(effect.n * mixtures.best_rho2(case["tuning"], case["alpha"]) * effect.variance)
    assert intervals.msprt(effect, tau, case["alpha"]).low == close(case["gavi"]["low"])
    assert intervals.msprt(effect, tau, case["alpha"]).p_value == close(case["gavi"]["p_value"])


@pytest.mark.parametrize("case", REFERENCE["bernstein"], ids=lambda case: f"alpha={case['alpha']}")
def test_the_sequence_for_bounded_values_is_that_of_confseq(case: dict[str, Any]) -> None:
    """Which keeps the best bounds of all looks: of a mean that stays."""
    sequence = ConfidenceSequence(0.0, 1.0, case["alpha"])
    best = (0.0, 1.0)
    for value, low, high in zip(case["values"], case["low"], case["high"], strict=True):
        sequence.update(value)
        best = max(best[0], sequence.interval[0]), min(best[1], sequence.interval[1])
        assert best == close((low, high))
