"""Hidden units: what a linear blend cannot say, as columns beside the other features, learned together with it.

A unit is a rectified sum of features (a multilayer perceptron with one hidden layer; the blend holds the output weights, one of
each context). Units start at random sums that depend on the seed alone. Of each unit a step keeps one Adagrad sum.

Steps travel between workers: a unit's is eight bits a feature and one power of two for all of them. Their sums are exact in
float64, and applying them commutes to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from ._kernels import ONE_THREAD
from .base import Arrays, FloatArray

S_UNIT, START = 2.0**-15, 2.0**-24
"""Unit of the sizes of gradients; the grid that units start on."""
FINEST, COARSEST = -30, -1
"""Powers of two that a step may be a multiple of."""
_LITTLE = np.float32(1e-4)
"""A candidate with less of an error than this is not worth a look."""


@njit(cache=True)
def _rectify(sums: Any, x: Any, at: int) -> None:
    for i in range(sums.shape[0]):
        for h in range(sums.shape[1]):
            x[i, at + h] = max(sums[i, h], np.float32(0.0))


@njit(cache=True)
def _propose(
    x: Any, n: int, first: int, at: int, more: int, errors: Any, out_weights: Any, squares: Any, lr: float, eps: float, sizes: Any,
    powers: Any, numbers: Any,
) -> None:  # fmt: skip
    units, every = numbers.shape
    columns = at - first
    gradients = np.zeros((units, every), np.float32)
    for i in range(n):
        if abs(errors[i]) > _LITTLE:
            for h in range(units):
                if x[i, at + h] > 0.0:
                    for f in range(columns):
                        gradients[h, f] += errors[i] * x[i, first + f]
                    for f in range(columns, every):
                        gradients[h, f] += errors[i] * x[i, more + f - columns]
    for h in range(units):
        g = gradients[h]
        total, most = 0.0, 0.0
        for f in range(every):
            total += np.float64(g[f]) * g[f]
            most = max(most, abs(np.float64(g[f])))
        out = np.float64(out_weights[h])
        sizes[h] = np.int16(min(np.rint(abs(out) * np.sqrt(total / columns) / S_UNIT), 32767.0))
        size = sizes[h] * S_UNIT
        rate = -lr * out / np.sqrt(squares[h] + size * size + eps)
        longest = abs(rate) * most / 127.0
        power = FINEST
        if longest > 0.0:
            power = min(max(int(np.ceil(np.log2(longest))), FINEST), COARSEST)
        powers[h] = power
        scale = rate / 2.0**power
        for f in range(every):
            numbers[h, f] = np.int8(min(max(np.rint(scale * g[f]), -127.0), 127.0))


@njit(cache=True)
def _apply(weights: Any, fast: Any, squares: Any, sizes: Any, powers: Any, numbers: Any) -> None:
    for h in range(numbers.shape[0]):
        size = sizes[h] * S_UNIT
        squares[h] += size * size
        unit = 2.0 ** np.float64(powers[h])
        for f in range(numbers.shape[1]):
            weights[h, f] += numbers[h, f] * unit
            fast[f, h] = np.float32(weights[h, f])


class Hidden:
    """``units`` sums over the columns from ``first`` to ``at`` (without it); they stand in the columns from ``at`` on.

    ``more`` (where they begin, how many) are further columns that they sum up where these are in use: what is ``wide``. All that is
    not is the same to the bit as without them.
    """

    def __init__(
        self,
        first: int,
        at: int,
        units: int,
        lr: float = 0.03,
        eps: float = 0.001,
        seed: int = 0,
        more: tuple[int, int] = (0, 0),
    ) -> None:
        self.first, self.at, self.units, self.lr, self.eps = first, at, units, lr, eps
        n = self.columns = at - first
        self.more, self.extra = more
        length = 1.0 / np.sqrt(max(n, 1))
        start = np.hstack([
            np.random.default_rng(seed).normal(0.0, length, (units, n)),
            np.random.default_rng((seed, 1)).normal(0.0, length, (units, self.extra)),
        ])  # fmt: skip
        self.weights: npt.NDArray[np.float64] = np.rint(start / START) * START
        self.squares: npt.NDArray[np.float64] = np.zeros(units)
        self._fast: FloatArray = np.ascontiguousarray(self.weights.T, np.float32)
        self._at_a_time = max(ONE_THREAD // max(units * n, 1), 1)

    def nbytes_of_step(self, wide: bool = True) -> int:
        """Length of a packed step."""
        return self.units * (3 + self.columns + (self.extra if wide else 0))

    def fill(self, x: FloatArray, n: int, wide: bool = True) -> None:
        """Fill the units' columns of the first ``n`` rows of ``x``."""
        own = self._fast[: self.columns]
        for begin in range(0, n if self.units else 0, self._at_a_time):
            rows = x[begin : min(begin + self._at_a_time, n)]
            sums = rows[:, self.first : self.at] @ own
            if wide and self.extra:
                sums += rows[:, self.more : self.more + self.extra] @ self._fast[self.columns :]
            _rectify(sums, rows, self.at)

    def propose(self, x: FloatArray, n: int, errors: FloatArray, weights: FloatArray, wide: bool = True) -> bytes:
        """The packed step: sizes, powers of two and numbers. Changes nothing.

        ``errors`` [n] are probabilities minus what came; ``weights`` the blend's of all columns.
        """
        sizes, powers = np.empty(self.units, np.int16), np.empty(self.units, np.int8)
        numbers = np.empty((self.units, self.columns + (self.extra if wide else 0)), np.int8)
        out = weights[self.at : self.at + self.units]
        _propose(
            x, n, self.first, self.at, self.more, errors, out, self.squares, self.lr, self.eps, sizes, powers, numbers
        )
        return sizes.tobytes() + powers.tobytes() + numbers.tobytes()

    def apply(self, step: bytes) -> None:
        """Add a packed step, wide or not (`nbytes_of_step`). Any order of any steps gives the same bits."""
        sizes = np.frombuffer(step, np.int16, self.units)
        powers = np.frombuffer(step, np.int8, self.units, 2 * self.units)
        numbers = np.frombuffer(step, np.int8, offset=3 * self.units).reshape(self.units, -1)
        _apply(self.weights, self._fast, self.squares, sizes, powers, numbers)

    def snapshot(self) -> Arrays:
        return {"hidden": self.weights, "hidden_squares": self.squares}

    def restore(self, state: Arrays) -> None:
        self.weights, self.squares = state["hidden"].copy(), state["hidden_squares"].copy()
        self._fast = np.ascontiguousarray(self.weights.T, np.float32)

    @property
    def nbytes(self) -> int:
        return self.weights.nbytes + self.squares.nbytes + self._fast.nbytes
