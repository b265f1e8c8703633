"""Traffic that follows what is learned: variants by Thompson sampling, with the probability of each choice known.

Thompson sampling shows a variant as often as it is believed to be the best (Thompson, Biometrika 1933; Chapelle and Li, "An
empirical evaluation of Thompson sampling", NIPS 2011). River's policy draws a belief for each arm and takes the
largest, from one generator: what is drawn depends on all draws before, and with which probability is not told. Here that
probability is computed from River's beta distributions, and the variant is drawn with exactly that probability
by a key: any worker draws the same, and what is logged is good for `off_policy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from river import proba

from ..errors import InputError
from .average_sequence import AverageSequence
from .draws import uniform

_STEPS = 160  # of a belief's range; the error of a probability is about 1e-4
_RANGE = 8.0  # standard deviations either way
_GRID = 2.0**-20


@dataclass(frozen=True)
class Arm:
    """What is known of a variant: impressions that were answered, and that were not. Counts of several workers add up.

    >>> Arm(2, 5) + Arm(1, 0)
    Arm(successes=3, failures=5)
    """

    successes: int = 0
    failures: int = 0

    def __post_init__(self) -> None:
        if self.successes < 0 or self.failures < 0:
            raise InputError("counts >= 0", f"{self.successes} and {self.failures}", "count impressions")

    def __add__(self, other: Arm) -> Arm:
        return Arm(self.successes + other.successes, self.failures + other.failures)

    def belief(self, prior: tuple[float, float] = (1.0, 1.0)) -> proba.Beta:
        """The posterior of the success rate: River's distribution, with ``prior`` successes and failures added."""
        return proba.Beta(self.successes + prior[0], self.failures + prior[1])


@dataclass(frozen=True)
class Allocation:
    """The probability of each variant, in multiples of 2⁻²⁰ that sum to 1."""

    probabilities: tuple[float, ...]

    def draw(self, key: int) -> tuple[int, float]:
        """The variant of a key (64 bits, of seed and event or user id), and its propensity.

        >>> Allocation((0.25, 0.75)).draw(7)
        (1, 0.75)
        """
        at, left = 0, uniform(key)
        while left >= self.probabilities[at]:
            left -= self.probabilities[at]
            at += 1
        return at, self.probabilities[at]


def allocate(arms: Sequence[Arm], floor: float = 0.02, prior: tuple[float, float] = (1.0, 1.0)) -> Allocation:
    """Thompson sampling's probabilities, none below ``floor``.

    The floor keeps importance weights below 1 / floor, and lets a variant come back that had bad luck or whose time comes
    later. Raises InputError if the floors alone sum to more than 1, or a prior is not positive.

    >>> allocate([Arm(10, 90), Arm(30, 70)]).probabilities[1] > 0.97
    True
    """
    n = len(arms)
    if n < 1 or not 0.0 < floor <= 1.0 / n or not min(prior) > 0.0:
        found = f"{n} arms, floor={floor}, prior={prior}"
        raise InputError("an arm, 0 < floor <= 1 / arms and a positive prior", found, "correct them")
    chances = floor + (1.0 - n * floor) * probability_best(arms, prior)
    steps = np.rint(chances / _GRID).astype(np.int64)
    steps[int(np.argmax(steps))] += round(1.0 / _GRID) - int(steps.sum())  # sums of multiples of 2⁻²⁰ are exact
    return Allocation(tuple((steps * _GRID).tolist()))


def probability_best(arms: Sequence[Arm], prior: tuple[float, float] = (1.0, 1.0)) -> npt.NDArray[np.float64]:
    """The probability of each arm that its rate is the highest: ∫ ∏_{j≠i} F_j dF_i over the beliefs, by trapezoids.

    >>> probability_best([Arm(5, 5), Arm(5, 5)]).tolist()
    [0.5, 0.5]
    """
    beliefs = [arm.belief(prior) for arm in arms]
    grid = np.unique(np.concatenate([_range(belief) for belief in beliefs]))
    below = np.array([[belief.cdf(x) for x in grid.tolist()] for belief in beliefs])
    out = np.empty(len(arms))
    for i in range(len(arms)):
        others = np.prod(np.delete(below, i, axis=0), axis=0)
        out[i] = np.sum(np.diff(below[i]) * (others[1:] + others[:-1]) / 2.0)
    return np.asarray(out / out.sum(), np.float64)


def _range(belief: proba.Beta) -> npt.NDArray[np.float64]:
    """Points over nearly all of a belief, 0 and 1."""
    a, b = belief.alpha, belief.beta
    mean, sd = a / (a + b), sqrt(a * b / (a + b + 1.0)) / (a + b)
    inner = np.linspace(max(mean - _RANGE * sd, 0.0), min(mean + _RANGE * sd, 1.0), _STEPS)
    return np.r_[0.0, inner, 1.0]


class ArmValue:
    """The success rate of one arm from a log in which the allocation changed on the way, readable at any time.

    The share of successes of an arm is too low on average: an arm that starts badly is shown less, and so its bad luck
    stays in its mean (Nie et al., "Why adaptively collected data have negative bias", AISTATS 2018). Weighted by
    1 / propensity every impression has the arm's rate as its expectation, whatever came before; that is all that the
    interval needs.

    >>> value = ArmValue(floor=0.5)
    >>> for n in range(4000):
    ...     value.update(chosen=n % 2 == 0, success=n % 8 == 0, propensity=0.5)
    >>> round(value.mean, 2), [round(bound, 2) for bound in value.interval]
    (0.25, [0.2, 0.3])
    """

    def __init__(self, floor: float, alpha: float = 0.05) -> None:
        if not 0.0 < floor <= 1.0:
            raise InputError("0 < floor <= 1", repr(floor), "give the lowest propensity that occurs")
        self.floor = floor
        self.sequence = AverageSequence(0.0, 1.0 / floor, alpha)

    def update(self, chosen: bool, success: bool, propensity: float) -> None:
        """One impression of any arm: whether it was this arm's, and the propensity of this arm then."""
        if not self.floor - _GRID <= propensity <= 1.0:
            raise InputError(f"a propensity from {self.floor} to 1", repr(propensity), "lower the floor")
        worth = 1.0 / max(propensity, self.floor) if chosen and success else 0.0
        self.sequence.update(min(worth, self.sequence.high))

    @property
    def mean(self) -> float:
        """Inverse propensity weighted success rate."""
        return self.sequence.mean

    @property
    def interval(self) -> tuple[float, float]:
        """Holds the arm's average rate so far at all times at once with probability 1 - alpha."""
        low, high = self.sequence.interval
        return low, min(high, 1.0)
