"""An interval for an average that may be looked at at any time, of values whose mean may change on the way.

What an experiment has to tell is the average over those who were in it, each as much as any other. `ConfidenceSequence` is narrower for
few values, but weighs the first ones most.
"""

from __future__ import annotations

from math import log, sqrt

from ..errors import InputError

_ETA, _S = 2.0, 1.4
_ZETA = 3.105547  # ζ(1.4)
_K1, _K2 = (_ETA**0.25 + _ETA**-0.25) / sqrt(2.0), (sqrt(_ETA) + 1.0) / 2.0


class AverageSequence:
    """The average of the means, given what came before, of values in [``low``, ``high``].

    The empirical Bernstein bound of Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic
    confidence sequences", Annals of Statistics 49(2), 2021, theorem 4, with the boundary of their equation 10 (stitching, η = 2,
    s = 1.4), on each side with ``alpha`` / 2. The width shrinks like ``sqrt(var log log n / n)``.

    >>> average = AverageSequence(-1.0, 1.0)
    >>> for n in range(2000):
    ...     average.update(0.2 if n < 1000 else 0.4)
    >>> round(average.mean, 3), [round(bound, 2) for bound in average.interval]
    (0.3, [0.28, 0.32])
    """

    def __init__(self, low: float = -1.0, high: float = 1.0, alpha: float = 0.05) -> None:
        if not (low < high and 0.0 < alpha < 1.0):
            raise InputError(
                "low < high and 0 < alpha < 1", f"low={low}, high={high}, alpha={alpha}", "correct the bounds"
            )
        self.low, self.high, self.alpha = low, high, alpha
        self.n = 0
        self._sum = self._squares = 0.0

    @property
    def mean(self) -> float:
        """Of the values so far; the middle of the range before the first."""
        return self._sum / self.n if self.n else (self.low + self.high) / 2.0

    @property
    def interval(self) -> tuple[float, float]:
        """Holds, at all times at once with probability ``1 - alpha``, the average of the values' means up to that time."""
        if not self.n:
            return self.low, self.high
        reach = self.high - self.low
        start = reach**2 / 4.0  # the boundary is tightest from there on
        spread = max(self._squares, start)
        level = _S * log(log(_ETA * spread / start)) + log(2.0 * _ZETA / (self.alpha * log(_ETA) ** _S))
        half = sqrt(_K1**2 * spread * level + (_K2 * reach * level) ** 2) + _K2 * reach * level
        return max(self.low, self.mean - half / self.n), min(self.high, self.mean + half / self.n)

    def update(self, value: float) -> None:
        """Take one more value. Raises InputError if it is outside the range."""
        if not self.low <= value <= self.high:
            raise InputError(f"a value from {self.low} to {self.high}", repr(value), "correct the range or the value")
        self._squares += (value - self.mean) ** 2  # from the mean before it, which is all that the bound allows
        self._sum += value
        self.n += 1
