"""Many made-up experiments at once, looked at after every batch: arrays of (experiments, looks) instead of `effects.compare`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from online_models.experiments.effects import CLEARLY_POSITIVE, Kind, Metric

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """``draw(rng, shape, lift)``: the columns of units of one variant, each of this shape."""

    name: str
    metric: Metric
    lift: float
    """Relative, of an A/B experiment."""
    draw: Callable[[np.random.Generator, tuple[int, ...], float], list[Floats]]


@dataclass(frozen=True)
class Looks:
    """All (experiments, looks). Where ``known`` is False there is no result."""

    estimate: Floats
    error: Floats
    known: NDArray[np.bool_]
    n: Floats
    """(looks,) Units of both variants."""


def _conversions(rng: np.random.Generator, shape: tuple[int, ...], lift: float) -> list[Floats]:
    return [(rng.random(shape, np.float32) < 0.1 * (1.0 + lift)).astype(np.float64)]


def _spending(rng: np.random.Generator, shape: tuple[int, ...], lift: float) -> list[Floats]:
    buys = rng.random(shape, np.float32) < 0.2
    spent = np.zeros(shape)
    spent[buys] = np.exp(rng.standard_normal(int(buys.sum()))) * (1.0 + lift)
    return [spent]


def _purchases(rng: np.random.Generator, shape: tuple[int, ...], lift: float) -> list[Floats]:
    habit = rng.gamma(2.0, 2.5, shape)
    return [rng.poisson(habit * (1.0 + lift)).astype(np.float64), rng.poisson(habit).astype(np.float64)]


def _click_rate(rng: np.random.Generator, shape: tuple[int, ...], lift: float) -> list[Floats]:
    taste, columns = rng.beta(2.0, 8.0, shape), []
    for rate in (np.minimum(taste * (1.0 + lift), 1.0), taste):
        shown = 1 + rng.poisson(4.0 + 20.0 * taste)
        columns += [rng.binomial(shown, rate).astype(np.float64), shown.astype(np.float64)]
    return columns


WORLDS = (
    World("conversion, 10 %", Metric(Kind.PROPORTION), 0.2, _conversions),
    World("spending, 20 % buy, log-normal", Metric(Kind.MEAN), 0.2, _spending),
    World("purchases, with those before", Metric(Kind.MEAN, covariate=True), 0.05, _purchases),
    World("clicks by impressions, with those before", Metric(Kind.RATIO, covariate=True), 0.05, _click_rate),
)


@dataclass(frozen=True)
class Moments:
    """Of one variant at every look."""

    n: Floats
    mean: Floats
    """(experiments, looks, columns)"""
    covariance: Floats
    """(experiments, looks, columns, columns)"""


def moments(columns: list[Floats]) -> Moments:
    """Of columns (experiments, looks, units of a batch), all that has come by each look."""
    n = np.arange(1, columns[0].shape[1] + 1) * float(columns[0].shape[2])
    mean = np.stack([np.cumsum(c.sum(axis=2), axis=1) / n for c in columns], axis=-1)
    covariance = np.empty((*mean.shape, len(columns)))
    for i, a in enumerate(columns):
        for j, b in enumerate(columns[: i + 1]):
            product = np.cumsum(np.einsum("eku,eku->ek", a, b), axis=1)
            of_both = (product - n * mean[..., i] * mean[..., j]) / (n - 1.0)
            covariance[..., i, j] = covariance[..., j, i] = of_both
    return Moments(n, mean, covariance)


def together(a: Moments, b: Moments) -> Moments:
    """Of two variants of the same size."""
    n, gap = a.n + b.n, a.mean - b.mean
    between = gap[..., :, None] * gap[..., None, :] * (a.n * b.n / n)[:, None, None]
    within = (a.n - 1.0)[:, None, None] * (a.covariance + b.covariance)
    return Moments(n, (a.mean + b.mean) / 2.0, (within + between) / (n - 1.0)[:, None, None])


def compare(a: Moments, b: Moments, metric: Metric, adjust: bool, first: int) -> Looks:
    """Relative effects, as `online_models.experiments.effects.compare` has them, from ``first`` units in each variant."""
    with np.errstate(divide="ignore", invalid="ignore"):
        theta = _theta(together(a, b), metric) if adjust else np.zeros(a.mean.shape[:2])
        (value_a, raw_a, variance_a, spread), (value_b, raw_b, variance_b, _) = (
            _variant(each, metric, theta) for each in (a, b)
        )
        variance = (variance_b / b.n + variance_a / a.n * (raw_b / raw_a) ** 2) / raw_a**2
        known = (
            (a.n >= first) & (variance_a > 0) & (variance_b > 0) & (raw_a > CLEARLY_POSITIVE * np.sqrt(spread / a.n))
        )
        return Looks((value_b - value_a) / raw_a, np.sqrt(variance), known, a.n + b.n)


def _function(mean: Floats, kind: Kind) -> tuple[Floats, Floats]:
    if kind is not Kind.RATIO:
        return mean[..., 0], np.ones_like(mean)
    ratio = mean[..., 0] / mean[..., 1]
    return ratio, np.stack([np.ones_like(ratio), -ratio], axis=-1) / mean[..., 1:]


def _form(left: Floats, covariance: Floats, right: Floats) -> Floats:
    return np.einsum("eki,ekij,ekj->ek", left, covariance, right)


def _theta(joint: Moments, metric: Metric) -> Floats:
    w = metric.width
    (_, after), (_, before) = (_function(joint.mean[..., at], metric.kind) for at in (slice(w), slice(w, None)))
    return _form(after, joint.covariance[..., :w, w:], before) / _form(before, joint.covariance[..., w:, w:], before)


def _variant(m: Moments, metric: Metric, theta: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    w = metric.width
    raw, gradient = _function(m.mean[..., :w], metric.kind)
    spread = _form(gradient, m.covariance[..., :w, :w], gradient)
    if metric.kind is Kind.PROPORTION:
        spread = raw * (1.0 - raw)
    if not theta.any():
        return raw, raw, spread, spread
    before, other = _function(m.mean[..., w:], metric.kind)
    gradient = np.concatenate([gradient, -theta[..., None] * other], axis=-1)
    return raw - theta * before, raw, _form(gradient, m.covariance, gradient), spread


def play(
    world: World,
    experiments: int,
    *,
    looks: int = 60,
    batch: int = 50,
    lift: float = 0.0,
    seed: int = 0,
    first: int = 100,
) -> dict[bool, Looks]:
    """So many experiments with ``batch`` new units in each of two variants before every look; by whether the effects are
    adjusted by the covariate (only False if there is none)."""
    rng, chunk = np.random.default_rng(seed), max(1, 1_000_000 // (looks * batch))
    parts: dict[bool, list[Looks]] = {adjust: [] for adjust in (False, True)[: 1 + world.metric.covariate]}
    for start in range(0, experiments, chunk):
        shape = (min(chunk, experiments - start), looks, batch)
        a, b = (moments(world.draw(rng, shape, each)) for each in (0.0, lift))
        for adjust, found in parts.items():
            found.append(compare(a, b, world.metric, adjust, first))
    return {adjust: _joined(found) for adjust, found in parts.items()}


def staying(experiments: int, *, units: int = 1_000, looks: int = 100, rate: float = 0.05, seed: int = 0) -> Looks:
    """Without an effect: all units are there from the first look on, and it is their totals that grow."""
    rng, parts, chunk = np.random.default_rng(seed), [], max(1, 2_000_000 // (looks * units))
    for start in range(0, experiments, chunk):
        variants = []
        for _ in range(2):
            habit = rng.gamma(2.0, 0.5 * rate, (min(chunk, experiments - start), 1, units))
            totals = rng.poisson(np.broadcast_to(habit, (len(habit), looks, units))).cumsum(axis=1)
            mean, variance = totals.mean(axis=2), totals.var(axis=2, ddof=1)
            variants.append(Moments(np.full(looks, float(units)), mean[..., None], variance[..., None, None]))
        parts.append(compare(*variants, Metric(), False, 0))
    return _joined(parts)


def _joined(parts: list[Looks]) -> Looks:
    return Looks(
        np.concatenate([part.estimate for part in parts]),
        np.concatenate([part.error for part in parts]),
        np.concatenate([part.known for part in parts]),
        parts[0].n,
    )
