"""Guardrails: a metric that must not get worse by more than a margin."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import inf

from ..errors import InputError
from .effects import Effect, NoResult
from .intervals import TUNING, lower_bound, upper_bound


class Verdict(str, Enum):
    """What may be said, at any moment, of a guardrail."""

    HOLDS = "holds"
    """The loss is smaller than the margin."""
    BREACHED = "breached"
    """The loss is greater than the margin."""
    UNDECIDED = "undecided"
    """Not enough is known. It is not a permission."""


@dataclass(frozen=True)
class Guarded:
    """``low``: below the effect at all moments with probability ``1 - alpha``; ``high``: above it, likewise. Each by itself,
    so that together they hold it with probability ``1 - 2 alpha``."""

    verdict: Verdict
    low: float
    high: float


def judge(low: float, high: float, margin: float) -> Verdict:
    """What an interval of a gain says of a loss of ``margin``, in its units: non-inferiority. The verdict holds as often as the
    interval does.

    >>> judge(-0.02, 0.01, margin=0.03), judge(-0.02, 0.01, margin=0.02), judge(-0.02, -0.01, margin=0.0)
    (<Verdict.HOLDS: 'holds'>, <Verdict.UNDECIDED: 'undecided'>, <Verdict.BREACHED: 'breached'>)
    """
    if low > -margin:
        return Verdict.HOLDS
    return Verdict.BREACHED if high < -margin else Verdict.UNDECIDED


def guard(
    effect: Effect | NoResult,
    margin: float,
    *,
    higher_is_better: bool = True,
    alpha: float = 0.05,
    tuning: float = TUNING,
) -> Guarded:
    """Test of non-inferiority by one-sided sequences: ``holds`` and ``breached`` are each wrong, at any of all looks, with
    probability alpha at most. ``margin``: the greatest loss that is accepted, in units of the effect, at least 0 (0.01 of a
    relative effect is 1 %). Raises InputError if it is less.

    >>> effect = Effect(0.001, 0.002**2, 50_000, 50_000, 1.0, 1.001, 99_998.0, True, 0.0)
    >>> guard(effect, margin=0.01, tuning=50_000).verdict
    <Verdict.HOLDS: 'holds'>
    >>> guard(effect, margin=0.001).verdict
    <Verdict.UNDECIDED: 'undecided'>
    """
    if not 0.0 <= margin < inf:
        raise InputError("a margin of at least 0", repr(margin), "give the size of the loss, without a sign")
    if isinstance(effect, NoResult):
        return Guarded(Verdict.UNDECIDED, -inf, inf)
    low, high = lower_bound(effect, alpha, tuning), upper_bound(effect, alpha, tuning)
    worst, best = (low, high) if higher_is_better else (-high, -low)
    return Guarded(judge(worst, best, margin), low, high)
