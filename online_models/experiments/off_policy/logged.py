"""What was logged, checked once: rewards, the propensities of both policies, and what a reward model says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Logged:
    """Rows [n] of a log of one policy, and what the evaluation policy would have done in their place.

    ``reward`` of the action that was taken; ``propensity`` = π_b(a|x), with which the logging policy took it, in (0, 1];
    ``target`` = π_e(a|x), with which the evaluation policy would have, in [0, 1]. From a reward model, if there is one:
    ``predicted`` = q̂(x, a) of the logged action, ``expected`` = Σ_a π_e(a|x) q̂(x, a). ``block``: rows of one user or session,
    which are not independent, have the same number here.

    >>> log = Logged(reward=[1, 0], propensity=[0.5, 0.5], target=[1.0, 0.0])
    >>> log.weights.tolist()
    [2.0, 0.0]

    Raises InputError where lengths, ranges or numbers are wrong.
    """

    reward: Floats
    propensity: Floats
    target: Floats
    predicted: Floats | None = None
    expected: Floats | None = None
    block: Ints | None = None

    def __post_init__(self) -> None:
        reward = column("reward", self.reward)
        n = len(reward)
        if n == 0:
            raise InputError("at least one row", "an empty log", "log exposures first")
        _set(self, "reward", reward)
        _set(self, "propensity", propensities(self.propensity, n))
        _set(self, "target", targets(self.target, n))
        if (self.predicted is None) != (self.expected is None):
            raise InputError(
                "both predicted and expected, or neither", "one of them", "give what the model says of both"
            )
        for name in ("predicted", "expected"):
            if getattr(self, name) is not None:
                _set(self, name, column(name, getattr(self, name), n))
        if self.block is not None:
            _set(self, "block", integers("block", self.block, n))

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def weights(self) -> Floats:
        """Importance weights [n]: π_e(a|x) / π_b(a|x)."""
        return self.target / self.propensity

    @classmethod
    def of(
        cls, *, action: Any, reward: Any, propensity: Any, target: Any, predictions: Any = None, block: Any = None
    ) -> Logged:
        """From whole distributions: ``target`` and ``predictions`` are [n, actions], ``action`` says which was taken.

        >>> log = Logged.of(action=[1], reward=[1.0], propensity=[0.5], target=[[0.2, 0.8]], predictions=[[0.1, 0.3]])
        >>> log.target.tolist(), log.predicted.tolist(), log.expected.round(3).tolist()
        ([0.8], [0.3], [0.26])
        """
        n = len(np.atleast_1d(np.asarray(reward)))
        chances = table("target", target, n)
        if (chances < 0.0).any() or (np.abs(chances.sum(axis=1) - 1.0) > 1e-6).any():
            found = f"sums from {chances.sum(axis=1).min():g} to {chances.sum(axis=1).max():g}"
            raise InputError("rows of target >= 0 that sum to 1", found, "give the distribution over all actions")
        taken = integers("action", action, n)
        if ((taken < 0) | (taken >= chances.shape[1])).any():
            found = f"{taken.min()} to {taken.max()}"
            raise InputError(f"actions from 0 to {chances.shape[1] - 1}", found, "number the actions from 0")
        rows = np.arange(n)
        predicted = expected = None
        if predictions is not None:
            said = table("predictions", predictions, n, chances.shape[1])
            predicted, expected = said[rows, taken], np.einsum("na,na->n", chances, said)
        return cls(
            reward=reward, propensity=propensity, target=chances[rows, taken], predicted=predicted, expected=expected,
            block=block,
        )  # fmt: skip


def effective_sample_size(weights: Floats) -> float:
    """Kish's: (Σw)² / Σw², the number of equally weighted rows that would be as noisy. 0 if all weights are.

    >>> effective_sample_size(np.array([1.0, 1.0, 0.0])), effective_sample_size(np.zeros(3))
    (2.0, 0.0)
    """
    largest = float(weights.max())
    if largest <= 0.0:
        return 0.0
    scaled = weights / largest  # squares of tiny weights would underflow
    return float(scaled.sum() ** 2 / np.sum(scaled**2))


def column(name: str, values: Any, n: int | None = None) -> Floats:
    """``values`` as finite numbers [n]."""
    found: Floats = np.array(values, np.float64)
    if found.ndim != 1 or (n is not None and len(found) != n):
        expected = f"{name} of shape ({'n' if n is None else n},)"
        raise InputError(expected, f"shape {found.shape}", "give one number a row")
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise InputError(f"finite {name}", f"{found[bad[0]]} in row {bad[0]}", "leave the row out or mend it")
    found.setflags(write=False)
    return found


def table(name: str, values: Any, n: int, width: int | None = None) -> Floats:
    """``values`` as finite numbers [n, width]."""
    found: Floats = np.asarray(values, np.float64)
    if found.ndim != 2 or len(found) != n or (width is not None and found.shape[1] != width):
        expected = f"{name} of shape ({n}, {'actions' if width is None else width})"
        raise InputError(expected, f"shape {found.shape}", "give a number for each row and action")
    if not np.isfinite(found).all():
        raise InputError(f"finite {name}", "nan or infinity", "leave the rows out or mend them")
    return found


def integers(name: str, values: Any, n: int) -> Ints:
    """``values`` as whole numbers [n]."""
    found = np.asarray(values)
    if found.shape != (n,) or not (np.issubdtype(found.dtype, np.integer) or (found == np.floor(found)).all()):
        raise InputError(f"{n} whole numbers as {name}", f"{found.dtype} of shape {found.shape}", "number them")
    return found.astype(np.int64)


def propensities(values: Any, n: int) -> Floats:
    """``values`` [n] as probabilities of what did happen: never 0."""
    found = column("propensity", values, n)
    bad = np.flatnonzero((found <= 0.0) | (found > 1.0))
    if len(bad):
        remedy = "log the probability with which the action was taken"
        raise InputError("0 < propensity <= 1", f"{found[bad[0]]:g} in row {bad[0]}", remedy)
    return found


def targets(values: Any, n: int) -> Floats:
    """``values`` [n] as probabilities of what another policy might have done."""
    found = column("target", values, n)
    bad = np.flatnonzero((found < 0.0) | (found > 1.0))
    if len(bad):
        remedy = "give the evaluation policy's probability of the logged action"
        raise InputError("0 <= target <= 1", f"{found[bad[0]]:g} in row {bad[0]}", remedy)
    return found


def _set(log: Logged, name: str, value: Any) -> None:
    object.__setattr__(log, name, value)
