"""Sufficient statistics of an experiment: addable, and the same bits whatever the order in which they were added.

A unit (a user, say) has one value in each of a few columns: what it bought; clicks and impressions; the same from before the
experiment. Mean, ratio and adjusted metrics, with their variances, are functions of the number of units and the first
and second moments of these columns, so that is all that is kept of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

SCALE = 1 << 32
"""Values are counted in units of 2⁻³² (2.3e-10)."""


@dataclass(frozen=True)
class Sums:
    """Number of units, sums of their columns, and sums of the products of any two columns.

    The sums are integers: each value is rounded once, to a multiple of 2⁻³², and from there on nothing is. So addition is exact,
    associative and has an inverse: one worker, four workers merged in any order, and a replay hold the same numbers,
    and a unit whose value has changed is taken out and put back.

    >>> one, two = Sums.of([1.5, 2.0]), Sums.of([0.1, 3.0])
    >>> one + two + Sums.empty(2) == two + one
    True
    >>> total = (one + two).changed([1.5, 2.0], [4.0, 2.0])
    >>> total == Sums.of([4.0, 2.0]) + two
    True
    >>> total.n, total.mean.round(3).tolist(), total.covariance.round(3).tolist()
    (2, [2.05, 2.5], [[7.605, -1.95], [-1.95, 0.5]])
    >>> Sums.from_plain(total.plain()) == total
    True
    """

    n: int
    totals: tuple[int, ...]
    """Of each column, in units of 2⁻³²."""
    products: tuple[int, ...]
    """Of column i with column j ≥ i, row by row, in units of 2⁻⁶⁴."""

    @classmethod
    def empty(cls, columns: int) -> Sums:
        """Of no units."""
        return cls(0, (0,) * columns, (0,) * (columns * (columns + 1) // 2))

    @classmethod
    def of(cls, values: Sequence[float]) -> Sums:
        """Of one unit, which has these values. Raises InputError if one of them is not finite."""
        grid = [_on_grid(value) for value in values]
        return cls(1, tuple(grid), tuple(a * b for i, a in enumerate(grid) for b in grid[i:]))

    @classmethod
    def of_units(cls, units: Iterable[Sequence[float]], columns: int) -> Sums:
        """Of many units, each with ``columns`` values."""
        found = cls.empty(columns)
        for values in units:
            found += cls.of(values)
        return found

    @property
    def columns(self) -> int:
        return len(self.totals)

    def __add__(self, other: Sums) -> Sums:
        """Of the units of both."""
        self._like(other)
        return Sums(
            self.n + other.n,
            tuple(a + b for a, b in zip(self.totals, other.totals, strict=True)),
            tuple(a + b for a, b in zip(self.products, other.products, strict=True)),
        )

    def __sub__(self, other: Sums) -> Sums:
        """Without the units of the other, which are among these."""
        self._like(other)
        return Sums(
            self.n - other.n,
            tuple(a - b for a, b in zip(self.totals, other.totals, strict=True)),
            tuple(a - b for a, b in zip(self.products, other.products, strict=True)),
        )

    def changed(self, before: Sequence[float], after: Sequence[float]) -> Sums:
        """One of the units had the values ``before`` and has now those ``after``."""
        if not len(before) == len(after) == self.columns:
            raise InputError(
                f"{self.columns} columns", f"{len(before)} and {len(after)}", "give all columns of the unit"
            )
        was, now = list(map(_on_grid, before)), list(map(_on_grid, after))
        pairs = [(i, j) for i in range(len(now)) for j in range(i, len(now))]
        return Sums(
            self.n,
            tuple(total + b - a for total, a, b in zip(self.totals, was, now, strict=True)),
            tuple(
                product + now[i] * now[j] - was[i] * was[j]
                for product, (i, j) in zip(self.products, pairs, strict=True)
            ),
        )

    @property
    def mean(self) -> NDArray[np.float64]:
        """(columns,) Of each column; zeros if there are no units."""
        return np.array([total / (max(self.n, 1) * SCALE) for total in self.totals])

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(columns, columns) Unbiased (n - 1); zeros if there are fewer than two units.

        The numerator n Σxy - Σx Σy is an integer too, so that nothing cancels however large the mean is.
        """
        found = np.zeros((self.columns, self.columns))
        if self.n > 1:
            pairs = ((i, j) for i in range(self.columns) for j in range(i, self.columns))
            for (i, j), product in zip(pairs, self.products, strict=True):
                above = self.n * product - self.totals[i] * self.totals[j]
                found[i, j] = found[j, i] = above / (self.n * (self.n - 1) * SCALE * SCALE)
        return found

    def plain(self) -> dict[str, object]:
        """For a JSON writer; the integers as decimal strings, for they outgrow 64 bits."""
        return {"n": self.n, "totals": list(map(str, self.totals)), "products": list(map(str, self.products))}

    @classmethod
    def from_plain(cls, plain: Mapping[str, object]) -> Sums:
        """What ``plain`` made. Raises InputError if it is not that."""
        n, totals, products = plain.get("n"), _integers(plain.get("totals")), _integers(plain.get("products"))
        if type(n) is int and n >= 0 and totals is not None and products is not None:
            found = cls(n, totals, products)
            if len(products) == found.columns * (found.columns + 1) // 2:
                return found
        expected = "n, k totals and k (k + 1) / 2 products, decimal integers in strings"
        raise InputError(expected, repr(plain)[:200], "read what Sums.plain() wrote")

    def _like(self, other: Sums) -> None:
        if self.columns != other.columns:
            raise InputError(f"sums of {self.columns} columns", f"{other.columns}", "add sums of one metric")


def _on_grid(value: float) -> int:
    scaled = float(value) * SCALE
    if not isfinite(scaled):
        raise InputError("a finite value of a unit", repr(value), "leave the unit out or give it a value")
    return round(scaled)


def _integers(found: object) -> tuple[int, ...] | None:
    if isinstance(found, (list, tuple)) and all(isinstance(each, str) for each in found):
        try:
            return tuple(map(int, found))
        except ValueError:
            return None
    return None
