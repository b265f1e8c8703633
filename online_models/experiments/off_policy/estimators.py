"""Estimators of a policy's value from single actions: each impression row has one action, one reward, one propensity.

With w = π_e(a|x) / π_b(a|x), q̂ the reward model and v̂ = Σ_a π_e(a|x) q̂(x, a):

========= ===================================== =====================================================================
replay    mean of r over accepted rows          Li et al., WSDM 2011; rows accepted with probability w / max w
ipw       mean(w r)                             Horvitz and Thompson, JASA 1952; clipped: min(w, clip)
snipw     Σ w r / Σ w                           Swaminathan and Joachims, NIPS 2015
dm        mean(v̂)                               Beygelzimer and Langford, KDD 2009
dr        mean(v̂ + w (r - q̂))                   Dudík et al., Statistical Science 2014; clipped: min(w, clip)
sndr      mean(v̂) + Σ w (r - q̂) / Σ w           the same, self-normalised
switch_dr mean(v̂ + w 1[w <= tau] (r - q̂))       Wang, Agarwal and Dudík, ICML 2017
dros      mean(v̂ + λw / (w² + λ) (r - q̂))       Su et al., ICML 2020
========= ===================================== =====================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import InputError
from .logged import Floats, Logged, effective_sample_size
from .results import DEFAULT, Inference, Result, Terms, conclude
from .tuning import Bound, choose, grid


def on_policy(log: Logged, inference: Inference = DEFAULT) -> Result:
    """Mean reward of the policy that ran: what the others are held against."""
    weights = np.ones(len(log))
    return _conclude("on_policy", log, weights, Terms(np.zeros(len(log)), log.reward, weights), inference)


def replay(log: Logged, inference: Inference = DEFAULT) -> Result:
    """Mean reward of the rows in which the evaluation policy would have done the same, by rejection sampling.

    A row is kept with probability w / max(w), by draws from ``inference.seed``. For a deterministic policy on a uniform log
    that is every row whose action agrees, without chance; on any other log it stays unbiased where plain agreement is not.
    """
    weights = log.weights
    keep = np.zeros(len(log))
    if weights.max() > 0.0:
        draws = np.random.default_rng(inference.seed).random(len(log))
        keep = (draws < weights / weights.max()).astype(np.float64)
    return _conclude("replay", log, keep, Terms(np.zeros(len(log)), keep * log.reward, keep), inference)


def ipw(log: Logged, clip: float | None = None, inference: Inference = DEFAULT) -> Result:
    """Inverse propensity weighting. With ``clip``, weights above it count as it: less variance, some bias.

    >>> rng = np.random.default_rng(0)
    >>> reward = rng.random(4000) < 0.3
    >>> log = Logged(reward, propensity=np.full(4000, 0.5), target=np.full(4000, 0.5))
    >>> found = ipw(log)
    >>> round(found.value, 3) == round(float(reward.mean()), 3), found.method, found.ess
    (True, 'bootstrap by row', 4000.0)
    """
    weights, settings = _clipped(log, clip)
    return _conclude(
        "ipw", log, weights, Terms(np.zeros(len(log)), weights * log.reward, np.ones(len(log))), inference, settings
    )


def snipw(log: Logged, clip: float | None = None, inference: Inference = DEFAULT) -> Result:
    """Self-normalised IPW: never outside the range of the rewards, and unmoved by a shift of all rewards."""
    weights, settings = _clipped(log, clip)
    return _conclude(
        "snipw", log, weights, Terms(np.zeros(len(log)), weights * log.reward, weights), inference, settings
    )


def dm(log: Logged, inference: Inference = DEFAULT) -> Result:
    """Direct method: what the reward model says. Its own error is not in the interval, and no log can disprove it here."""
    expected = _model(log)[1]
    ones = np.ones(len(log))
    return _conclude("dm", log, ones, Terms(expected, np.zeros(len(log)), ones), inference)


def dr(log: Logged, clip: float | None = None, inference: Inference = DEFAULT) -> Result:
    """Doubly robust: right if either the propensities or the reward model are."""
    weights, settings = _clipped(log, clip)
    return _conclude("dr", log, weights, _corrected(log, weights), inference, settings)


def sndr(log: Logged, clip: float | None = None, inference: Inference = DEFAULT) -> Result:
    """Doubly robust with a self-normalised correction."""
    weights, settings = _clipped(log, clip)
    predicted, expected = _model(log)
    terms = Terms(expected, weights * (log.reward - predicted), weights)
    return _conclude("sndr", log, weights, terms, inference, settings)


def switch_dr(
    log: Logged, tau: float | Sequence[float] | None = None, inference: Inference = DEFAULT, bound: Bound = "direct",
    reward_range: float = 1.0,
) -> Result:  # fmt: skip
    """DR where the weight is at most ``tau``, the model alone where it is larger.

    Several values, or None (a grid over the weights): the one with the lowest squared error is taken, as far as the log
    tells (`choose`, with ``bound`` and ``reward_range``). The interval does not know of that choice.
    """
    if tau is None:
        tau = grid(log.weights)
    return _tuned("switch_dr", "tau", log, tau, _switched, inference, bound, reward_range)


def dros(
    log: Logged, shrinkage: float | Sequence[float] | None = None, inference: Inference = DEFAULT, bound: Bound = "direct",
    reward_range: float = 1.0,
) -> Result:  # fmt: skip
    """DR with weights shrunk to λw / (w² + λ), λ = ``shrinkage``: 0 is the direct method, infinity is DR.

    Several values, or None (a grid over the squared weights): chosen as in `switch_dr`.
    """
    if shrinkage is None:
        shrinkage = grid(log.weights**2, spread=100.0)
    return _tuned("dros", "shrinkage", log, shrinkage, _shrunk, inference, bound, reward_range)


def evaluate(log: Logged, clip: float | None = None, inference: Inference = DEFAULT) -> list[Result]:
    """All estimators of this file that the log has the numbers for; ``clip`` as in `ipw`."""
    found = [replay(log, inference), ipw(log, clip, inference), snipw(log, clip, inference)]
    if log.predicted is not None:
        found += [dm(log, inference), dr(log, clip, inference), sndr(log, clip, inference)]
        found += [switch_dr(log, inference=inference), dros(log, inference=inference)]
    return found


def _conclude(
    name: str, log: Logged, weights: Floats, terms: Terms, inference: Inference, settings: dict[str, float] | None = None
) -> Result:  # fmt: skip
    return conclude(
        name, terms, ess=effective_sample_size(weights), mean_weight=float(log.weights.mean()), block=log.block,
        inference=inference, settings=settings, trusts_model=name in ("dm", "switch_dr", "dros"),
    )  # fmt: skip


def _clipped(log: Logged, clip: float | None) -> tuple[Floats, dict[str, float]]:
    if clip is None:
        return log.weights, {}
    if not clip > 0.0:
        raise InputError("clip > 0", repr(clip), "give the largest weight that may count, or None")
    return np.minimum(log.weights, clip), {"clip": float(clip)}


def _model(log: Logged) -> tuple[Floats, Floats]:
    if log.predicted is None or log.expected is None:
        remedy = "give predicted and expected, e.g. from CellMeans"
        raise InputError("what a reward model says", "a log without predictions", remedy)
    return log.predicted, log.expected


def _corrected(log: Logged, weights: Floats) -> Terms:
    predicted, expected = _model(log)
    return Terms(expected, weights * (log.reward - predicted), np.ones(len(log)))


def _switched(weights: Floats, tau: float) -> Floats:
    return np.asarray(np.where(weights <= tau, weights, 0.0), np.float64)


def _shrunk(weights: Floats, shrinkage: float) -> Floats:
    if np.isinf(shrinkage):
        return weights
    if shrinkage == 0.0:  # also where w = 0, so that 0 / 0 is not asked
        return np.zeros_like(weights)
    return np.asarray(shrinkage * weights / (weights**2 + shrinkage), np.float64)


def _tuned(
    name: str, setting: str, log: Logged, values: float | Sequence[float], change: Callable[[Floats, float], Floats],
    inference: Inference, bound: Bound, reward_range: float,
) -> Result:  # fmt: skip
    predicted, _ = _model(log)
    candidates = [float(value) for value in np.atleast_1d(np.asarray(values, np.float64))]
    if not candidates or not all(value >= 0.0 for value in candidates):
        raise InputError(f"{setting} >= 0", repr(values), "give one value, several, or None")
    raw = log.weights
    changed = [change(raw, value) for value in candidates]
    best = 0
    if len(candidates) > 1:
        rounds = [terms.base + terms.numerator for terms in (_corrected(log, weights) for weights in changed)]
        best = choose(raw, changed, rounds, log.reward - predicted, bound, reward_range)
    return _conclude(name, log, changed[best], _corrected(log, changed[best]), inference, {setting: candidates[best]})
