"""What a variant changes: the estimate of an effect and its variance, from the sums of two variants.

Everything here is a smooth function of the columns' means, so its variance is a quadratic form of their covariance (the delta
method; Deng, Knoblich and Lu, "Applying the delta method in metric analytics", KDD 2018).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .sums import Sums
from .weighted import Weighted

Floats = NDArray[np.float64]

CLEARLY_POSITIVE = 7.0
"""Standard errors by which a baseline exceeds zero before something is said relative to it (some 50 conversions).

The delta method is for a baseline that hardly varies. With 3, sequences of relative effects missed the truth in up to 8 % of
simulated experiments instead of 5 %, with 5 in up to 6 %, with 7 in no more than 4 % (docs/experiments.md).
"""
ALIKE = 1e-13
"""Of its terms without their signs: a variance that is no more is none. Where all units have the same ratio the terms cancel, and what
rounding leaves of them (some 1e-15, above zero or below) is no variance."""


class Kind(str, Enum):
    """What a metric is of the columns of its units."""

    MEAN = "mean"
    """Of one column."""
    PROPORTION = "proportion"
    """Of one column of zeros and ones."""
    RATIO = "ratio"
    """Of the sums of two columns, such as clicks and impressions of a user; users are the units, not impressions."""


@dataclass(frozen=True)
class Metric:
    """The columns of a unit: of the metric, and with ``covariate`` the same columns from before the experiment.

    The columns are y; or numerator, denominator; then the same in the same order from before. A unit that was not there
    before has zeros.

    >>> Metric(Kind.RATIO, covariate=True).columns
    4
    """

    kind: Kind = Kind.MEAN
    covariate: bool = False

    @property
    def width(self) -> int:
        """Columns without the covariate's."""
        return 2 if self.kind is Kind.RATIO else 1

    @property
    def columns(self) -> int:
        """That `Sums` of this metric have."""
        return self.width * (2 if self.covariate else 1)


class Reason(str, Enum):
    """Why there is no result."""

    TOO_FEW_UNITS = "too_few_units"
    ZERO_VARIANCE = "zero_variance"
    ZERO_BASELINE = "zero_baseline"
    """The control's value is not clearly above zero, so nothing can be said relative to it."""
    ZERO_DENOMINATOR = "zero_denominator"


@dataclass(frozen=True)
class NoResult:
    """There is nothing to conclude from: not an effect of zero, nor a p-value of one."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Effect:
    """Of a variant, against the control: absolute, in units of the metric, or ``relative`` to the control's value."""

    estimate: float
    variance: float
    """Of the estimate (the square of its standard error)."""
    n_control: int
    n_treated: int
    control: float
    """The metric in the control, as observed (unadjusted)."""
    treated: float
    dof: float
    """Degrees of freedom of the variance (Welch and Satterthwaite)."""
    relative: bool
    theta: float
    """What is taken off for one unit of the covariate; 0 is no adjustment."""
    clock: float | None = None
    """Units as they count, where they have weights."""

    @property
    def n(self) -> float:
        """Units of both variants: the clock of sequences of intervals."""
        return self.n_control + self.n_treated if self.clock is None else self.clock

    @property
    def error(self) -> float:
        """Standard error of the estimate."""
        return sqrt(self.variance)


@dataclass(frozen=True)
class _Variant:
    n: int
    value: float
    raw: float
    variance: float
    """Of one unit's part: the variance of ``value`` is this over n."""
    raw_variance: float
    counts: float = 1.0
    """Units that would say as much if all counted alike, over units."""


def compare(
    control: Sums | Weighted,
    treated: Sums | Weighted,
    metric: Metric,
    *,
    relative: bool = True,
    adjust: bool = True,
    min_units: int = 100,
) -> Effect | NoResult:
    """The effect of a variant. ``adjust``: by the covariate, if the metric has one (CUPED).

    Every interval made of it is an approximation by the central limit theorem: with fewer than ``min_units`` in either
    variant there is no result. Raises InputError if the sums are not of this metric.

    Relative effects: difference over the control's unadjusted value, variance by the delta method as GrowthBook's gbstats has it.
    Adjustment: Deng, Xu, Kohavi and Walker, "Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data", WSDM 2013; one theta for both variants, from both together.

    >>> control = Sums.of_units(([y, y + y % 3] for y in range(1, 201)), 2)
    >>> treated = Sums.of_units(([y + 20, y + y % 3] for y in range(1, 201)), 2)
    >>> plain = compare(control, treated, Metric(covariate=True), relative=False, adjust=False)
    >>> adjusted = compare(control, treated, Metric(covariate=True), relative=False)
    >>> plain.estimate, round(plain.error, 2), round(adjusted.estimate, 2), round(adjusted.error, 2)
    (20.0, 5.79, 20.0, 0.08)
    >>> compare(Sums.empty(1), Sums.empty(1), Metric())
    NoResult(reason=<Reason.TOO_FEW_UNITS: 'too_few_units'>, message='0 units, at least 100 are needed')
    """
    for sums in (control, treated):
        if sums.columns != metric.columns:
            raise InputError(f"sums of {metric.columns} columns", f"{sums.columns}", "pass the metric of these sums")
    fewest = min(_units(control), _units(treated))
    if fewest < max(2, min_units):
        return NoResult(Reason.TOO_FEW_UNITS, f"{fewest:.0f} units, at least {max(2, min_units)} are needed")
    if metric.kind is Kind.RATIO and min(control.totals[1], treated.totals[1]) <= 0:
        return NoResult(Reason.ZERO_DENOMINATOR, "a variant's denominator is not above zero")
    theta = _theta(control, treated, metric) if adjust and metric.covariate else 0.0
    a, b = _variant(control, metric, theta), _variant(treated, metric, theta)
    if theta and a.variance <= 0.0 < a.raw_variance:  # the covariate says all, and leaves nothing to go by
        theta = 0.0
        a, b = _variant(control, metric, theta), _variant(treated, metric, theta)
    if a.variance <= 0.0 or a.raw_variance <= 0.0:
        return NoResult(Reason.ZERO_VARIANCE, "all units of the control are alike")
    if b.variance <= 0.0 or b.raw_variance <= 0.0:
        # Nobody clicks any more, say: the worst that can happen must not be no result. Its units are taken to vary as the control's do.
        b = replace(b, variance=max(b.variance, a.variance * a.counts / b.counts))
    estimate, variance = b.value - a.value, b.variance / b.n + a.variance / a.n
    if relative:
        if a.raw <= CLEARLY_POSITIVE * sqrt(a.raw_variance / a.n):
            return NoResult(Reason.ZERO_BASELINE, _not_clear(a))
        estimate /= a.raw
        variance = (b.variance / b.n + a.variance / a.n * (b.raw / a.raw) ** 2) / a.raw**2
    clock = control.clock + treated.clock if isinstance(control, Weighted) and isinstance(treated, Weighted) else None
    return Effect(estimate, variance, a.n, b.n, a.raw, b.raw, _dof(a, b), relative, theta, clock)


def level(sums: Sums, metric: Metric, *, min_units: int = 100) -> Effect | NoResult:
    """The metric in one group, against zero: for what is zero if there is no effect, such as a preference.

    >>> found = level(Sums.of_units(([y % 3 - 0.5, 2.0] for y in range(300)), 2), Metric(Kind.RATIO))
    >>> found.estimate, round(found.error, 4), found.n
    (0.25, 0.0236, 300)
    """
    if sums.n < max(2, min_units):
        return NoResult(Reason.TOO_FEW_UNITS, f"{sums.n} units, at least {max(2, min_units)} are needed")
    if metric.kind is Kind.RATIO and sums.totals[1] <= 0:
        return NoResult(Reason.ZERO_DENOMINATOR, "the denominator is not above zero")
    found = _variant(sums, metric, 0.0)
    if found.variance <= 0.0:
        return NoResult(Reason.ZERO_VARIANCE, "all units are alike")
    return Effect(found.value, found.variance / found.n, 0, found.n, 0.0, found.value, found.n - 1.0, False, 0.0)


def _function(mean: Floats, kind: Kind) -> tuple[float, Floats]:
    """Value and gradient of a metric as a function of its columns' means."""
    if kind is not Kind.RATIO:
        return float(mean[0]), np.ones(1)
    ratio = mean[0] / mean[1]
    return float(ratio), np.array([1.0, -ratio]) / mean[1]


def _variance(gradient: Floats, covariance: Floats) -> float:
    """Of one unit's part in a function of the columns' means, by the delta method; 0 where rounding alone makes it differ from that."""
    found, terms = gradient @ covariance @ gradient, abs(gradient) @ abs(covariance) @ abs(gradient)
    return float(found) if found > ALIKE * terms else 0.0


def _units(sums: Sums | Weighted) -> float:
    return sums.effective if isinstance(sums, Weighted) else sums.n


def _joint(control: Sums | Weighted, treated: Sums | Weighted) -> Sums | Weighted:
    if isinstance(control, Weighted) and isinstance(treated, Weighted):
        return control + treated
    if isinstance(control, Weighted) or isinstance(treated, Weighted):
        raise InputError("both with weights, or none", "one", "give the units of the other the weight 1")
    return control + treated


def _theta(control: Sums | Weighted, treated: Sums | Weighted, metric: Metric) -> float:
    """Slope of the metric on what it was before, over the units of both variants; 0 if one of them does not vary, or if a ratio of
    before has nothing to divide by in either variant."""
    joint = _joint(control, treated)
    if metric.kind is Kind.RATIO and min(control.totals[-1], treated.totals[-1]) <= 0:
        return 0.0
    width, mean, covariance = metric.width, joint.mean, joint.covariance
    (_, after), (_, before) = _function(mean[:width], metric.kind), _function(mean[width:], metric.kind)
    spread = _variance(before, covariance[width:, width:])
    varies = spread > 0.0 and _variance(after, covariance[:width, :width]) > 0.0
    return float(after @ covariance[:width, width:] @ before / spread) if varies else 0.0


def _variant(sums: Sums | Weighted, metric: Metric, theta: float) -> _Variant:
    width, mean, covariance = metric.width, sums.mean, sums.covariance
    raw, gradient = _function(mean[:width], metric.kind)
    raw_variance = _variance(gradient, covariance[:width, :width])
    if metric.kind is Kind.PROPORTION:
        raw_variance = raw * (1.0 - raw) * sums.n / (_units(sums) or 1.0)
    counts = _units(sums) / sums.n
    if not theta:
        return _Variant(sums.n, raw, raw, raw_variance, raw_variance, counts)
    before, other = _function(mean[width:], metric.kind)
    gradient = np.concatenate([gradient, -theta * other])
    return _Variant(sums.n, raw - theta * before, raw, _variance(gradient, covariance), raw_variance, counts)


def _not_clear(control: _Variant) -> str:
    """Where the control's value stands, and what it takes until something may be said relative to it."""
    error = sqrt(control.raw_variance / control.n)
    above = control.raw / error
    interval = f"{control.raw - 1.96 * error:.3g} to {control.raw + 1.96 * error:.3g}"
    units = control.n * (CLEARLY_POSITIVE / above) ** 2 if above > 0.0 else 0.0
    takes = f", which takes about {units:,.0f} units of it instead of {control.n:,}" if units else ""
    return (
        f"the control's {control.raw:.3g} ({interval}, 95%) is not clearly above zero: {above:.1f} standard errors, "
        f"{CLEARLY_POSITIVE:g} are needed{takes}"
    )


def _dof(a: _Variant, b: _Variant) -> float:
    of_a, of_b = a.variance / a.n, b.variance / b.n
    return float((of_a + of_b) ** 2 / (of_a**2 / (a.n - 1) + of_b**2 / (b.n - 1)))
