"""A confidence sequence for a mean: an interval that may be looked at after every observation.

A usual confidence interval holds at one sample size fixed beforehand; whoever looks again and again and stops when it
excludes zero is wrong far more often than it says. A confidence sequence covers the mean at *all* times at once with
probability ``1 - alpha``, so that it may be watched, and acted on, at any moment.
"""

from __future__ import annotations

from math import log, log1p, sqrt

from .errors import InputError


class ConfidenceSequence:
    """The mean of values in [``low``, ``high``], by the empirical-Bernstein confidence sequence with predictable plug-in
    of Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86(1), 2024, theorem 2.

    No sample size, variance or distribution is assumed. Where the mean changes on the way, what is held is an average of the
    means so far, in which the n-th weighs like ``1 / sqrt(var n log n)``, by the variance until then. (For that reason no bound
    of an earlier look is kept: it was of another average.) The width shrinks with the variance: about
    ``sqrt(2 var log(2 / alpha) log(n) / n)``.

    >>> difference = ConfidenceSequence(low=-1.0, high=1.0, alpha=0.05)
    >>> difference.interval
    (-1.0, 1.0)
    >>> for n in range(2000):
    ...     difference.update(0.1 if n % 2 else 0.0)
    >>> [round(bound, 2) for bound in difference.interval], round(difference.mean, 3)
    ([0.04, 0.06], 0.05)
    """

    def __init__(self, low: float = -1.0, high: float = 1.0, alpha: float = 0.05) -> None:
        if not (low < high and 0.0 < alpha < 1.0):
            raise InputError(
                "low < high and 0 < alpha < 1", f"low={low}, high={high}, alpha={alpha}", "correct the bounds"
            )
        self.low, self.high, self.alpha = low, high, alpha
        self.n = 0
        self._sum = 0.0
        self._squares = 0.25  # of deviations from the running mean, with a first guess of the variance
        self._weights = self._weighted = self._spent = 0.0
        self._interval = (0.0, 1.0)

    @property
    def mean(self) -> float:
        """Of the values so far; the middle of the range before the first."""
        return self.low + (self.high - self.low) * (self._sum / self.n if self.n else 0.5)

    @property
    def interval(self) -> tuple[float, float]:
        """At all times at once, with probability ``1 - alpha``, holds the mean."""
        a, b = self._interval
        return self.low + (self.high - self.low) * a, self.low + (self.high - self.low) * b

    def update(self, value: float) -> None:
        """Take one more value. Raises InputError if it is outside the range."""
        if not self.low <= value <= self.high:
            raise InputError(f"a value from {self.low} to {self.high}", repr(value), "correct the range or the value")
        x = (value - self.low) / (self.high - self.low)
        before = (0.5 + self._sum) / (self.n + 1)
        variance = self._squares / (self.n + 1)
        self.n += 1
        bet = min(0.5, sqrt(2.0 * log(2.0 / self.alpha) / (variance * self.n * log1p(self.n))))
        self._weights += bet
        self._weighted += bet * x
        self._spent += (x - before) ** 2 * (-log1p(-bet) - bet)  # 4 (x - m)² ψ(bet), ψ(b) = (-log(1 - b) - b) / 4
        self._sum += x
        self._squares += (x - (0.5 + self._sum) / (self.n + 1)) ** 2
        centre = self._weighted / self._weights
        half = (log(2.0 / self.alpha) + self._spent) / self._weights
        self._interval = max(0.0, centre - half), min(1.0, centre + half)
