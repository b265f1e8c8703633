"""Sums of units that do not all count alike: of strata that were split in different shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sums import SCALE, Sums

GRID = 1 << 64
"""Weights are counted in units of 2⁻⁶⁴."""


@dataclass(frozen=True)
class Weighted:
    """Sums by stratum, each with the weight of its units. Read like `Sums`, with weighted means; and like there addition is exact.

    ``covariance`` is that of one unit, so that a mean's is this over ``n``: n Σ w² (x - m)(x - m)ᵀ / (Σ w)², with m the weighted mean of
    all strata (and n - 1 for n in one place, so that equal weights give the sample covariance). Residuals are taken from the mean of all
    and not of each stratum: it is then also right, of the difference of two variants, that by chance a stratum has more units of one.

    >>> low, high = Sums.of_units([[1.0], [3.0]], 1), Sums.of_units([[5.0], [7.0], [6.0]], 1)
    >>> both = Weighted.of(1.0, low) + Weighted.of(1.0, high)
    >>> both.mean.tolist() == (low + high).mean.tolist(), bool(np.allclose(both.covariance, (low + high).covariance))
    (True, True)
    >>> uneven = Weighted.of(3.0, low) + Weighted.of(2.0, high)
    >>> uneven.mean.tolist(), uneven.clock
    ([4.0], 12.0)
    """

    n: int
    """Units that count at all."""
    weight: int
    """Σ w, in units of 2⁻⁶⁴."""
    squares: int
    """Σ w², in units of 2⁻¹²⁸."""
    firsts: tuple[int, ...]
    """Σ w x of each column, in units of 2⁻⁹⁶."""
    squared: tuple[int, ...]
    """Σ w² x of each column, in units of 2⁻¹⁶⁰."""
    products: tuple[int, ...]
    """Σ w² x y of column i with column j ≥ i, row by row, in units of 2⁻¹⁹²."""

    @classmethod
    def of(cls, weight: float, sums: Sums) -> Weighted:
        """Of one stratum, whose units have this weight (not negative)."""
        w = round(weight * GRID)
        return cls(
            sums.n if w else 0,
            w * sums.n,
            w * w * sums.n,
            tuple(w * total for total in sums.totals),
            tuple(w * w * total for total in sums.totals),
            tuple(w * w * product for product in sums.products),
        )

    @classmethod
    def empty(cls, columns: int) -> Weighted:
        """Of no units."""
        return cls.of(0.0, Sums.empty(columns))

    def __add__(self, other: Weighted) -> Weighted:
        """Of the units of both."""
        return Weighted(
            self.n + other.n,
            self.weight + other.weight,
            self.squares + other.squares,
            tuple(a + b for a, b in zip(self.firsts, other.firsts, strict=True)),
            tuple(a + b for a, b in zip(self.squared, other.squared, strict=True)),
            tuple(a + b for a, b in zip(self.products, other.products, strict=True)),
        )

    @property
    def columns(self) -> int:
        return len(self.firsts)

    @property
    def clock(self) -> float:
        """Sum of the weights: grows as what is known does, where weights are in inverse proportion to the variance."""
        return self.weight / GRID

    @property
    def effective(self) -> float:
        """Kish's number of units that count alike and would say as much."""
        return self.weight**2 / self.squares if self.squares else 0.0

    @property
    def totals(self) -> tuple[float, ...]:
        """(columns,) Weighted sums."""
        return tuple(first / (GRID * SCALE) for first in self.firsts)

    @property
    def mean(self) -> NDArray[np.float64]:
        """(columns,) Weighted; zeros if there are no units."""
        return np.array([first / ((self.weight or 1) * SCALE) for first in self.firsts])

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(columns, columns) See the class; zeros if there are fewer than two units.

        With W = Σ w, (Σ w)² Σ w² (x - m)(y - m) = W² Σ w² x y - W (Σ w² x Σ w y + Σ w x Σ w² y) + Σ w² Σ w x Σ w y is an integer, so that
        nothing cancels however large the mean is.
        """
        found = np.zeros((self.columns, self.columns))
        if self.n > 1:
            below = (self.n - 1) * self.weight**4 * SCALE * SCALE
            pairs = ((i, j) for i in range(self.columns) for j in range(i, self.columns))
            for (i, j), product in zip(pairs, self.products, strict=True):
                crossed = self.squared[i] * self.firsts[j] + self.firsts[i] * self.squared[j]
                above = (
                    self.weight**2 * product - self.weight * crossed + self.squares * self.firsts[i] * self.firsts[j]
                )
                found[i, j] = found[j, i] = self.n**2 * above / below
        return found
