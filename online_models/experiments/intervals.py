"""Intervals and p-values of an effect: one that may be looked at once, and two that may be looked at always."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from scipy import special

from ..errors import InputError
from .effects import Effect
from .mixtures import best_rho2, one_sided, two_sided, two_sided_p

TUNING = 5000.0
"""Units of both variants at which GAVI is narrowest (GrowthBook's default)."""


@dataclass(frozen=True)
class Interval:
    """Holds the effect with probability ``1 - alpha``; ``p_value`` is of no effect at all (two-sided)."""

    low: float
    high: float
    p_value: float
    alpha: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0.0 or self.high < 0.0


def fixed(effect: Effect, alpha: float = 0.05) -> Interval:
    """Welch's interval: holds at *one* moment, fixed before the experiment began. Who looks at it again and again, and
    stops when it leaves out zero, finds an effect where there is none far more often than alpha.

    >>> effect = Effect(0.05, 0.02**2, 5000, 5000, 1.0, 1.05, 9998.0, True, 0.0)
    >>> found = fixed(effect)
    >>> round(found.low, 4), round(found.high, 4), round(found.p_value, 4)
    (0.0108, 0.0892, 0.0124)
    """
    _level(alpha)
    half = float(special.stdtrit(effect.dof, 1.0 - alpha / 2.0)) * effect.error
    p_value = 2.0 * float(special.stdtr(effect.dof, -abs(effect.estimate) / effect.error))
    return Interval(effect.estimate - half, effect.estimate + half, p_value, alpha)


def gavi(effect: Effect, alpha: float = 0.05, tuning: float = TUNING) -> Interval:
    """Asymptotic confidence sequence: holds at all moments at once, from when the central limit theorem does.

    ``tuning``: units of both variants at which it is narrowest; to be fixed before the experiment. The generalised
    always-valid inference of Eppo and GrowthBook; formula by Waudby-Smith et al. (`mixtures.two_sided`).

    >>> effect = Effect(0.05, 0.02**2, 5000, 5000, 1.0, 1.05, 9998.0, True, 0.0)
    >>> found = gavi(effect)
    >>> round(found.low, 4), round(found.high, 4), round(found.p_value, 4)
    (-0.0112, 0.1112, 0.2172)
    """
    _level(alpha)
    return _mixture(effect, alpha, effect.n * best_rho2(_positive(tuning, "tuning"), alpha))


def msprt(effect: Effect, tau: float, alpha: float = 0.05) -> Interval:
    """Mixture sequential probability ratio test: as `gavi`, tuned by the size of effects instead of by units.

    ``tau``: standard deviation of the effects that are expected, in units of the effect (0.02 is effects of some 2 % if it is
    relative); to be fixed before the experiment. Johari, Koomen, Pekelis and Walsh, "Always valid inference: continuous
    monitoring of A/B tests", Operations Research 70(3), 2022.

    >>> effect = Effect(0.05, 0.02**2, 5000, 5000, 1.0, 1.05, 9998.0, True, 0.0)
    >>> found = msprt(effect, tau=0.05)
    >>> round(found.low, 4), round(found.high, 4), round(found.p_value, 4)
    (-0.0108, 0.1108, 0.1821)
    """
    _level(alpha)
    return _mixture(effect, alpha, _positive(tau, "tau") ** 2 / effect.variance)


def lower_bound(effect: Effect, alpha: float = 0.05, tuning: float = TUNING) -> float:
    """Below the effect at all moments at once with probability ``1 - alpha``: the one-sided form of `gavi`.

    >>> effect = Effect(0.05, 0.02**2, 5000, 5000, 1.0, 1.05, 9998.0, True, 0.0)
    >>> round(lower_bound(effect), 4), round(upper_bound(effect), 4)
    (-0.0058, 0.1058)
    """
    _level(alpha)
    r = effect.n * best_rho2(_positive(tuning, "tuning"), 2.0 * alpha)
    return effect.estimate - float(one_sided(r, alpha)) * effect.error


def upper_bound(effect: Effect, alpha: float = 0.05, tuning: float = TUNING) -> float:
    """Above the effect at all moments at once with probability ``1 - alpha``."""
    return 2.0 * effect.estimate - lower_bound(effect, alpha, tuning)


def _mixture(effect: Effect, alpha: float, r: float) -> Interval:
    half = float(two_sided(r, alpha)) * effect.error
    p_value = float(two_sided_p(effect.estimate / effect.error, r))
    return Interval(effect.estimate - half, effect.estimate + half, p_value, alpha)


def _level(alpha: float) -> None:
    if not 0.0 < alpha < 0.5:
        raise InputError("an alpha between 0 and 0.5", repr(alpha), "0.05 is usual")


def _positive(value: float, name: str) -> float:
    if not 0.0 < value < inf:
        raise InputError(f"a {name} above 0", repr(value), f"correct {name}")
    return value
