"""Normal mixtures: how many standard errors an estimate may be off, if it is looked at again and again.

A sequence of estimates is tested against all effects at once, weighted by a normal distribution of effects round zero. The
ratio of likelihoods is a martingale when there is no effect, so that it ever exceeds 1 / alpha with probability alpha at
most (Ville), at whatever moments it is looked at. What the effects are weighted by is given here as ``r``, the variance of that
distribution over the variance of the estimate: it grows with the number of units.

All functions take numbers or arrays of one shape and return arrays of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]


def best_rho2(units: float, alpha: float) -> float:
    """ρ², for which the interval is narrowest when there are ``units``; then r = n ρ².

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
    sequences", Annals of Statistics 52(6), 2024 (arXiv 2103.06476, appendix on the choice of ρ).

    >>> round(best_rho2(5000, 0.05), 6)
    0.001587
    """
    spent = -2.0 * np.log(alpha)
    return float((spent + np.log1p(spent)) / units)


def two_sided(r: ArrayLike, alpha: float) -> Floats:
    """Half the width in standard errors, valid at all times: √((1 + 1/r) (2 log(1/α) + log(1 + r))).

    Robbins, "Statistical methods related to the law of the iterated logarithm", 1970; for estimated variances, as n
    grows, theorem 2.2 of Waudby-Smith et al. (see `best_rho2`).

    >>> two_sided([1.0, 10.0, 1000.0], 0.05).round(3).tolist()
    [3.656, 3.038, 3.593]
    """
    r = np.asarray(r, np.float64)
    return _array(np.sqrt((1.0 + 1.0 / r) * (-2.0 * np.log(alpha) + np.log1p(r))))


def two_sided_p(z: ArrayLike, r: ArrayLike) -> Floats:
    """The smallest alpha whose interval leaves zero out, with ``r`` kept: min(1, √(1 + r) exp(-z² r / (2 (1 + r)))).

    ``z`` is the estimate in standard errors.

    >>> r = 10.0
    >>> two_sided_p(two_sided(r, 0.01), r).round(9).tolist()
    0.01
    """
    z, r = np.asarray(z, np.float64), np.asarray(r, np.float64)
    return _array(np.exp(np.minimum(0.0, 0.5 * np.log1p(r) - 0.5 * z * z * r / (1.0 + r))))


def one_sided(r: ArrayLike, alpha: float) -> Floats:
    """What to take from the estimate, in standard errors, for a lower bound that is valid at all times.

    Effects are weighted by half a normal distribution: 2 / √(1 + r) · exp(x² / 2) Φ(x) = 1 / α, where
    x = z √(r / (1 + r)), solved for z. Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic
    confidence sequences", Annals of Statistics 49(2), 2021, proposition 6.

    >>> one_sided([1.0, 10.0, 1000.0], 0.05).round(3).tolist()
    [3.262, 2.777, 3.395]
    """
    r = np.asarray(r, np.float64)
    target = 0.5 * np.log1p(r) - np.log(2.0 * alpha)
    # Φ ≤ 1 makes this start too small; the left side is convex and rises, so Newton comes down from above after one step.
    x = np.sqrt(2.0 * np.maximum(target, 0.0))
    for _ in range(50):
        log_cdf = special.log_ndtr(x)
        above = 0.5 * x * x + log_cdf - target
        slope = x + np.exp(-0.5 * x * x - log_cdf) / np.sqrt(2.0 * np.pi)
        x = x - above / slope
        if np.all(np.abs(above) < 1e-13):
            break
    return _array(x * np.sqrt(1.0 + 1.0 / r))


def _array(found: Any) -> Floats:
    return np.asarray(found, np.float64)
