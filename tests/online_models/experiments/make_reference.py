# /// script
# requires-python = ">=3.11"
# dependencies = ["gbstats==0.8.0", "confseq==0.0.11"]
# ///
"""Writes reference.json: random inputs and what gbstats and confseq make of them.

gbstats 0.8 needs numpy < 2 and pandas < 2, which this project's constraints rule out, and confseq is built with Boost. So they
run in an environment of their own, and their answers are kept: ``python make_reference.py > reference.json``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from confseq.betting_strategies import lambda_predmix_eb
from confseq.boundaries import normal_log_mixture, normal_mixture_bound
from confseq.predmix import predmix_lower_cs
from gbstats.frequentist.tests import FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest, TwoSidedTTest
from gbstats.models.statistics import (
    ProportionStatistic,
    RatioStatistic,
    RegressionAdjustedStatistic,
    SampleMeanStatistic,
)
from gbstats.utils import check_srm

RNG = np.random.default_rng(20)
ALPHAS = (0.01, 0.05, 0.1)
TUNINGS = (500.0, 5_000.0, 100_000.0)


def units(kind: str, n: int, lift: float, covariate: bool) -> np.ndarray:
    """(n, columns) Values of so many units."""
    quality = RNG.gamma(2.0, 1.0, n)
    if kind == "proportion":
        return (RNG.random((n, 1)) < 0.2 * (1.0 + lift)).astype(float)
    if kind == "ratio":
        shown = 1.0 + RNG.poisson(5.0 * quality)
        return np.stack([RNG.binomial(shown.astype(int), 0.3 * (1.0 + lift)), shown], axis=1).astype(float)
    after = quality * (1.0 + lift) + RNG.normal(0.5, 0.4, n)
    before = 0.8 * quality + RNG.normal(0.3, 0.3, n)
    return np.round(np.stack([after, before], axis=1)[:, : 1 + covariate], 4)


def moments(values: np.ndarray) -> dict[str, Any]:
    columns = range(values.shape[1])
    return {
        "n": len(values),
        "totals": [float(values[:, i].sum()) for i in columns],
        "products": [float(values[:, i] @ values[:, j]) for i in columns for j in columns if j >= i],
    }


def statistic(kind: str, m: dict[str, Any]) -> Any:
    """The same in the words of gbstats."""
    n, totals, products = m["n"], m["totals"], m["products"]
    if kind == "proportion":
        return ProportionStatistic(n=n, sum=totals[0])
    first = SampleMeanStatistic(n=n, sum=totals[0], sum_squares=products[0])
    if len(totals) == 1:
        return first
    second = SampleMeanStatistic(n=n, sum=totals[1], sum_squares=products[2])
    if kind == "ratio":
        return RatioStatistic(n=n, m_statistic=first, d_statistic=second, m_d_sum_of_products=products[1])
    return RegressionAdjustedStatistic(
        n=n, post_statistic=first, pre_statistic=second, post_pre_sum_of_products=products[1], theta=0.0
    )


def effect(kind: str, covariate: bool, relative: bool) -> dict[str, Any]:
    lift = float(RNG.choice([0.0, 0.05, 0.2]))
    values = [units(kind, int(RNG.integers(150, 4_000)), each, covariate) for each in (0.0, lift)]
    alpha, tuning = float(RNG.choice(ALPHAS)), float(RNG.choice(TUNINGS))
    control, treated = map(moments, values)
    type_ = "relative" if relative else "absolute"
    tests = {
        "fixed": (TwoSidedTTest, FrequentistConfig(difference_type=type_, alpha=alpha)),
        "gavi": (
            SequentialTwoSidedTTest,
            SequentialConfig(difference_type=type_, alpha=alpha, sequential_tuning_parameter=tuning),
        ),
    }
    found = {}
    for name, (test, config) in tests.items():
        ran = test(statistic(kind, control), statistic(kind, treated), config)
        result = ran.compute_result()
        assert result.error_message is None, result
        found[name] = {"low": result.ci[0], "high": result.ci[1], "p_value": float(result.p_value)}
    return {
        "kind": kind, "covariate": covariate, "relative": relative, "alpha": alpha, "tuning": tuning,
        "control": control, "treated": treated, "estimate": result.expected, "error": float(result.uplift.stddev),
        "theta": getattr(ran.stat_a, "theta", 0.0), **found,
    }  # fmt: skip


def mismatch() -> dict[str, Any]:
    shares = RNG.dirichlet(np.full(RNG.integers(2, 5), 20.0)).round(3)
    counts = RNG.multinomial(RNG.integers(500, 50_000), shares / shares.sum())
    tilted = (counts * (1.0 + RNG.normal(0.0, 0.02, len(counts)))).astype(int).tolist()
    return {"counts": tilted, "shares": shares.tolist(), "p_value": float(check_srm(tilted, shares.tolist()))}


def mixture() -> dict[str, Any]:
    v, best = (float(x) for x in np.exp(RNG.uniform(3.0, 12.0, 2)))
    alpha, z = float(RNG.choice(ALPHAS)), float(RNG.uniform(0.0, 5.0))
    given = {"v_opt": best, "alpha_opt": alpha}
    return {
        "v": v, "best": best, "alpha": alpha, "z": z,
        "two_sided": float(normal_mixture_bound(v, alpha=alpha, is_one_sided=False, **given)),
        "one_sided": float(normal_mixture_bound(v, alpha=alpha, is_one_sided=True, **given)),
        "log_mixture": float(normal_log_mixture(z * v**0.5, v, is_one_sided=False, **given)),
    }  # fmt: skip


def bernstein(alpha: float) -> dict[str, Any]:
    """With the mean and bets of theorem 2 of the paper; the package's own function begins with a mean of zero."""
    x = RNG.beta(2.0, 5.0, 80).round(4)

    def lower(x: np.ndarray) -> np.ndarray:
        t = np.arange(len(x))
        before = (0.5 + np.append(0.0, np.cumsum(x)[:-1])) / (t + 1.0)
        return predmix_lower_cs(
            x,
            v=(x - before) ** 2,
            lambdas_fn=lambda y: lambda_predmix_eb(y, truncation=0.5, alpha=alpha / 2.0),
            psi_fn=lambda bets: -np.log(1.0 - bets) - bets,
            alpha=alpha / 2.0,
            running_intersection=True,
        )

    return {"alpha": alpha, "values": x.tolist(), "low": lower(x).tolist(), "high": (1.0 - lower(1.0 - x)).tolist()}


def main() -> None:
    kinds = [("mean", False), ("mean", True), ("proportion", False), ("ratio", False)]
    found = {
        "effects": [effect(*kind, relative) for kind in kinds for relative in (False, True) for _ in range(5)],
        "mismatches": [mismatch() for _ in range(20)],
        "mixtures": [mixture() for _ in range(30)],
        "bernstein": [bernstein(alpha) for alpha in ALPHAS],
    }
    json.dump(found, sys.stdout, indent=None, separators=(",", ":"))
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
