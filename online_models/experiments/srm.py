"""Sample ratio mismatch: do the variants have the shares of the units that the experiment gives them?

If not, units were lost or counted on one side only, and no effect of the experiment is to be believed: look for the fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ..errors import InputError
from .effects import NoResult, Reason

ALARM = 0.001
"""Level of the alarm. A mismatch is a fault of the experiment, so it should be beyond doubt, and experiments are many."""

CONCENTRATION = 100.0
"""Of the other shares that are thought of: with 100 a gross mismatch is found within 60 units and 51 : 49 within 44,000; with
1,000 within 160 and 39,000, with 10,000 within 480 and 44,000 (medians at the level of the alarm)."""


@dataclass(frozen=True)
class Mismatch:
    """``alarm``: the shares are not those of the experiment."""

    p_value: float
    alarm: bool


def chi_square(counts: Sequence[int], shares: Sequence[float], alpha: float = ALARM) -> Mismatch | NoResult:
    """Pearson's test, of the units of each variant: to be looked at *once*, at the end.

    Raises InputError if shares are not positive, one for each count. No result before five units are expected in each.

    >>> found = chi_square([4_800, 5_200], [0.5, 0.5])
    >>> round(found.p_value, 6), found.alarm
    (6.3e-05, True)
    """
    expected = _expected(counts, shares)
    if min(expected) < 5.0:
        return NoResult(Reason.TOO_FEW_UNITS, f"{min(expected):.1f} units expected in a variant, at least 5 are needed")
    statistic = sum((count - mean) ** 2 / mean for count, mean in zip(counts, expected, strict=True))
    p_value = float(special.chdtrc(len(counts) - 1, statistic))
    return Mismatch(p_value, p_value < alpha)


def sequential(
    counts: Sequence[int], shares: Sequence[float], alpha: float = ALARM, concentration: float = CONCENTRATION
) -> Mismatch | NoResult:
    """The sequential multinomial test: may be looked at always; it ever raises a false alarm with probability alpha at most.

    The shares are tested against all others at once, weighted by a Dirichlet distribution round them: as narrow as
    after ``concentration`` units. Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022.
    An alarm once raised stands, also if the p-value rises again: it is the caller who remembers it.

    >>> found = sequential([4_800, 5_200], [0.5, 0.5])
    >>> round(found.p_value, 4), found.alarm
    (0.0036, False)
    >>> sequential([48_000, 52_000], [0.5, 0.5]).alarm
    True
    """
    _expected(counts, shares)
    if not sum(counts):
        return NoResult(Reason.TOO_FEW_UNITS, "no units")
    p_value = float(sequential_p(counts, shares, concentration))
    return Mismatch(p_value, p_value < alpha)


def sequential_p(counts: ArrayLike, shares: ArrayLike, concentration: float = CONCENTRATION) -> NDArray[np.float64]:
    """(...) The p-values of `sequential` for counts (..., variants): 1 over the ratio of likelihoods, at most 1."""
    counts, shares = np.asarray(counts, np.float64), np.asarray(shares, np.float64)
    null = shares / shares.sum()
    prior, n = concentration * null, counts.sum(axis=-1)
    of_variants = special.gammaln(prior + counts) - special.gammaln(prior) - counts * np.log(null)
    evidence = special.gammaln(concentration) - special.gammaln(concentration + n) + of_variants.sum(axis=-1)
    return np.asarray(np.exp(np.minimum(0.0, -evidence)))


def _expected(counts: Sequence[int], shares: Sequence[float]) -> list[float]:
    if not (len(counts) == len(shares) >= 2 and all(share > 0.0 for share in shares) and min(counts) >= 0):
        wrong = f"counts {list(counts)}, shares {list(shares)}"
        raise InputError("a count and a positive share for each of two or more variants", wrong, "correct the shares")
    return [share / sum(shares) * sum(counts) for share in shares]
