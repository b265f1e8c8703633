"""What an estimator answers: a value with its interval, or that the log cannot tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal

import numpy as np

from ...errors import InputError
from .logged import Floats, Ints

FEWEST_BLOCKS = 20
"""An interval from fewer independent blocks would be a guess at its own width."""
GIVEN = ", given the reward model"
"""Marks the method of an interval that takes the model as it is: too narrow by as much as the model may be wrong."""
_CELLS = 4_000_000  # drawn numbers held at a time


@dataclass(frozen=True)
class Inference:
    """How an interval is made, and when none is.

    ``bootstrap``: percentiles over ``resamples`` draws of whole blocks, seeded. ``normal``: ± z standard errors, from the
    blocks' influence on the value (delta method for ratios). ``min_ess``: an estimate that rests on fewer effective
    rows than this is not given.
    """

    alpha: float = 0.05
    method: Literal["bootstrap", "normal"] = "bootstrap"
    resamples: int = 1000
    seed: int = 0
    min_ess: float = 100.0

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 1.0:
            raise InputError("0 < alpha < 1", repr(self.alpha), "correct alpha")
        if self.method not in ("bootstrap", "normal"):
            raise InputError("method bootstrap or normal", repr(self.method), "choose one of them")
        if self.resamples < 100 or not self.min_ess >= 1.0:
            found = f"resamples={self.resamples}, min_ess={self.min_ess}"
            raise InputError("resamples >= 100 and min_ess >= 1", found, "raise them")


DEFAULT = Inference()


@dataclass(frozen=True)
class Estimate:
    """The value of the evaluation policy, in units of reward an impression (or a slate), and how sure that is.

    ``low`` and ``high`` hold it with probability ``1 - alpha`` as far as chance goes; a bias (of a reward model, of weights
    cut off) is not in them. ``method`` names how they were made, and ends in `GIVEN` where a reward model is trusted.
    ``ess`` is Kish's effective number of rows of the weights in use, ``mean_weight`` the mean of the raw ones: near 1 if the
    propensities are right. ``rests_on``: how many blocks make up the spread, (Σψ²)² / Σψ⁴ of their influences ψ; with rare
    rewards it is about the number of rewards that count, and an interval that rests on a handful is a guess at its width.
    """

    estimator: str
    value: float
    low: float
    high: float
    alpha: float
    method: str
    ess: float
    rests_on: float
    mean_weight: float
    rows: int
    blocks: int
    settings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NoEstimate:
    """The log does not tell, and why. It has no value on purpose: nothing can be mistaken for one."""

    estimator: str
    reason: str
    ess: float
    rows: int
    blocks: int


Result = Estimate | NoEstimate


@dataclass(frozen=True)
class Terms:
    """Parts [n] of an estimator that add up over rows: value = mean(base) + sum(numerator) / sum(denominator)."""

    base: Floats
    numerator: Floats
    denominator: Floats


def conclude(
    estimator: str, terms: Terms, *, ess: float, mean_weight: float, block: Ints | None, inference: Inference,
    settings: Mapping[str, float] | None = None, trusts_model: bool = False,
) -> Result:  # fmt: skip
    """The value of the terms with its interval, or why there is none."""
    sums = _by_block(terms, block)
    rows, blocks = len(terms.base), len(sums)
    reason = None
    if ess == 0.0:
        reason = "no weight is left: the evaluation policy does nothing that was logged, or all weights were cut off"
    elif not ess >= inference.min_ess:
        reason = f"the weights leave {ess:.1f} effective rows of {rows:,}, fewer than {inference.min_ess:g}"
    elif blocks < FEWEST_BLOCKS:
        reason = f"{blocks} independent blocks, fewer than {FEWEST_BLOCKS}"
    else:
        value, influence = float(_value(sums.sum(axis=0))), _influence(sums)
        if float(np.abs(influence).max()) * blocks <= 1e-9 * abs(value):
            reason = "every row says the same: no spread from which an interval could be made"
    if reason is not None:
        return NoEstimate(estimator, reason, ess, rows, blocks)
    if inference.method == "bootstrap":
        low, high = _bootstrap(sums, inference)
    else:
        se = float(np.sqrt(blocks / (blocks - 1) * np.sum(influence**2)))
        z = NormalDist().inv_cdf(1.0 - inference.alpha / 2.0)
        low, high = value - z * se, value + z * se
    method = f"{inference.method} by {'row' if block is None else 'block'}{GIVEN if trusts_model else ''}"
    squares = influence**2
    rests_on = float(squares.sum() ** 2 / np.sum(squares**2))
    return Estimate(
        estimator, value, low, high, inference.alpha, method, ess, rests_on, mean_weight, rows, blocks, settings or {}
    )


def _by_block(terms: Terms, block: Ints | None) -> Floats:
    """Sums [blocks, 4] of rows, base, numerator, denominator."""
    columns = (np.ones_like(terms.base), terms.base, terms.numerator, terms.denominator)
    if block is None:
        return np.stack(columns, axis=1)
    of = np.unique(block, return_inverse=True)[1].reshape(-1)
    return np.stack([np.bincount(of, column) for column in columns], axis=1)


def _value(sums: Floats) -> Floats:
    count, base, numerator, denominator = np.moveaxis(sums, -1, 0)
    return np.asarray(base / count + numerator / denominator, np.float64)


def _bootstrap(sums: Floats, inference: Inference) -> tuple[float, float]:
    """Percentiles over resampled blocks. Blocks with equal sums are drawn together, which is the same distribution."""
    rng = np.random.default_rng(inference.seed)
    kinds, counts = np.unique(sums, axis=0, return_counts=True)
    chance = counts / counts.sum()
    step = max(1, _CELLS // len(kinds))
    values = []
    for start in range(0, inference.resamples, step):
        drawn = rng.multinomial(len(sums), chance, min(step, inference.resamples - start))
        totals = drawn @ kinds
        values.append(_value(totals[totals[:, 3] > 0.0]))
    low, high = np.quantile(np.concatenate(values), [inference.alpha / 2.0, 1.0 - inference.alpha / 2.0])
    return float(low), float(high)


def _influence(sums: Floats) -> Floats:
    """How much each block moves the value [blocks], to first order; its squares add up to the variance."""
    count, base, numerator, denominator = sums.T
    rows, weight = count.sum(), denominator.sum()
    moved = (base - base.sum() / rows * count) / rows
    return np.asarray(moved + (numerator - numerator.sum() / weight * denominator) / weight, np.float64)
