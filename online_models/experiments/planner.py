"""Before an experiment: how small an effect can be found with so many units, how many units and days an effect needs."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, sqrt

from scipy import special

from ..errors import InputError
from .effects import NoResult, Reason
from .intervals import TUNING
from .mixtures import best_rho2, two_sided

MOST_UNITS = 1 << 50


@dataclass(frozen=True)
class Design:
    """Of one variant against the control.

    ``variance`` of the metric between units, of those before the experiment: as in ``Sums.covariance``; with a covariate
    that correlates by ρ, times 1 - ρ². With ``baseline``, the metric's value now, effects are relative to it.
    ``control`` and ``treated`` are the shares of the two in all units. ``tuning``: of `intervals.gavi`, whose interval is looked
    at always; None is an interval that is looked at once (`intervals.fixed`).
    """

    variance: float
    baseline: float | None = None
    control: float = 0.5
    treated: float = 0.5
    alpha: float = 0.05
    power: float = 0.8
    tuning: float | None = TUNING

    def __post_init__(self) -> None:
        shares = self.control > 0.0 and self.treated > 0.0 and self.control + self.treated <= 1.0 + 1e-9
        levels = 0.0 < self.alpha < 0.5 <= self.power < 1.0
        sizes = self.variance > 0.0 and (self.baseline is None or self.baseline > 0.0)
        if not (shares and levels and sizes and (self.tuning is None or self.tuning > 0.0)):
            expected = "positive shares of at most 1, alpha below 0.5, power from 0.5, positive variance and baseline"
            raise InputError(expected, repr(self), "correct the design")


def detectable(design: Design, units: float) -> float | NoResult:
    """The smallest effect that is found, with the power of the design, by the time that there are so many units in all.

    For `gavi` this is what its last look finds: earlier looks can only add to it, so the power is a little higher.

    >>> round(detectable(Design(variance=4.0, tuning=None), 10_000), 3)
    0.112
    >>> round(detectable(Design(variance=4.0, tuning=10_000), 10_000), 3)
    0.155
    >>> detectable(Design(variance=400.0, baseline=1.0), 100).reason
    <Reason.TOO_FEW_UNITS: 'too_few_units'>
    """
    if not units > 0.0:
        raise InputError("a number of units above 0", repr(units), "plan with some")
    errors = _critical(design, units * (design.control + design.treated)) + float(special.ndtri(design.power))
    if design.baseline is None:
        return errors * sqrt(design.variance / units * (1.0 / design.control + 1.0 / design.treated))
    # effect² = errors² V (1 / n_treated + (1 + effect)² / n_control), for the control's noise is in the baseline too.
    of_control, of_treated = (
        errors**2 * design.variance / (design.baseline**2 * units * share) for share in (design.control, design.treated)
    )
    if of_control >= 1.0:
        return NoResult(Reason.TOO_FEW_UNITS, "no relative effect can be found: the baseline is lost in the noise")
    root = sqrt(of_control**2 + (1.0 - of_control) * (of_control + of_treated))
    return (of_control + root) / (1.0 - of_control)


def units_needed(design: Design, effect: float) -> int:
    """Units in all until an effect of this size is found with the power of the design: the least that ``detectable`` says.

    >>> units_needed(Design(variance=4.0, tuning=None), 0.112)
    10012
    >>> units_needed(Design(variance=4.0, tuning=10_000), 0.157)
    9757
    """
    if not 0.0 < effect < inf:
        raise InputError("the size of an effect, above 0", repr(effect), "give it without a sign")
    low, high = 0, 1
    while not _found(design, effect, high):
        low, high = high, 2 * high
        if high > MOST_UNITS:
            raise InputError(
                "an effect that can be found", f"{effect} of a variance of {design.variance}", "plan for more"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _found(design, effect, middle) else (middle, high)
    return high


def days_needed(design: Design, effect: float, units_per_day: float, share: float = 1.0) -> int:
    """Whole days until there are enough units, if so many *new* ones come each day and ``share`` of them take part.

    >>> days_needed(Design(variance=4.0, tuning=None), 0.112, units_per_day=2_000, share=0.5)
    11
    """
    if not (0.0 < units_per_day < inf and 0.0 < share <= 1.0):
        raise InputError("units a day above 0, a share up to 1", f"{units_per_day}, {share}", "correct them")
    return ceil(units_needed(design, effect) / (units_per_day * share))


def _critical(design: Design, n: float) -> float:
    """Standard errors that an estimate has to be from zero, when the two variants have ``n`` units."""
    if design.tuning is None:
        return float(special.ndtri(1.0 - design.alpha / 2.0))
    return float(two_sided(n * best_rho2(design.tuning, design.alpha), design.alpha))


def _found(design: Design, effect: float, units: int) -> bool:
    smallest = detectable(design, units)
    return not isinstance(smallest, NoResult) and smallest <= effect
