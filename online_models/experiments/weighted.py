"""Sums of units that do not all count alike: of strata that were split in different shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sums import SCALE, Sums


@dataclass(frozen=True)
class Weighted:
    """Sums by stratum, and the weight of each unit of it. Read like `Sums`, with weighted means.

    ``covariance`` is that of one unit, so that a mean's is this over ``n``: n Σ w² (x - m)(x - m)ᵀ / (Σ w)², with m the weighted mean of
    all strata (and n - 1 for n in one place, so that equal weights give the sample covariance). Residuals are taken from the mean of all
    and not of each stratum: it is then also right, of the difference of two variants, that by chance a stratum has more units of one.

    >>> low, high = Sums.of_units([[1.0], [3.0]], 1), Sums.of_units([[5.0], [7.0], [6.0]], 1)
    >>> both = Weighted(((1.0, low), (1.0, high)))
    >>> both.mean.tolist() == (low + high).mean.tolist(), bool(np.allclose(both.covariance, (low + high).covariance))
    (True, True)
    >>> Weighted(((3.0, low), (2.0, high))).mean.tolist(), Weighted(((3.0, low), (2.0, high))).clock
    ([4.0], 12.0)
    """

    parts: tuple[tuple[float, Sums], ...]

    def __add__(self, other: Weighted) -> Weighted:
        """Of the units of both."""
        return Weighted(self.parts + other.parts)

    @property
    def n(self) -> int:
        """Units that count at all."""
        return sum(sums.n for weight, sums in self.parts if weight > 0.0)

    @property
    def columns(self) -> int:
        return self.parts[0][1].columns

    @property
    def clock(self) -> float:
        """Sum of the weights: grows as what is known does, where weights are in inverse proportion to the variance."""
        return sum(weight * sums.n for weight, sums in self.parts)

    @property
    def effective(self) -> float:
        """Kish's number of units that count alike and would say as much."""
        squares = sum(weight**2 * sums.n for weight, sums in self.parts)
        return self.clock**2 / squares if squares else 0.0

    @property
    def totals(self) -> tuple[float, ...]:
        """(columns,) Weighted sums."""
        return tuple(float(total) for total in self._first())

    @property
    def mean(self) -> NDArray[np.float64]:
        """(columns,) Weighted; zeros if there are no units."""
        return self._first() / (self.clock or 1.0)

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(columns, columns) See the class; zeros if there are fewer than two units."""
        n, mean, found = self.n, self.mean, np.zeros((self.columns, self.columns))
        if n < 2:
            return found
        for weight, sums in self.parts:
            if weight > 0.0 and sums.n:
                own = sums.mean - mean
                found += weight**2 * ((sums.n - 1) * sums.covariance + sums.n * np.outer(own, own))
        return np.asarray(found * n / self.clock**2 * n / (n - 1), np.float64)

    def _first(self) -> NDArray[np.float64]:
        found = np.zeros(self.columns)
        for weight, sums in self.parts:
            found += weight * np.array([total / SCALE for total in sums.totals])
        return found
