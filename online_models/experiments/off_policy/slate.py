"""Estimators of a policy's value from whole lists: what is shown in one position may change what is clicked in another.

========================= ============================================== ==================================================
standard_ips              weight of the whole list                       no assumption; McInerney et al., KDD 2020
reward_interaction_ips    weight of the list down to the position        cascade: read from the top; McInerney et al.
cascade_dr                the same, with a model of what is still to come Kiyohara et al., WSDM 2022
independent_ips           weight of the item in its position             a click depends on its own item and position only;
                                                                         Li et al., "Offline evaluation of ranking policies
                                                                         with click models", KDD 2018
========================= ============================================== ==================================================

The further down, the more is assumed and the narrower the interval. Values are in reward a list.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from .logged import Floats, Ints, column, effective_sample_size, integers, propensities, targets
from .results import DEFAULT, Inference, Result, Terms, conclude


@dataclass(frozen=True)
class SlateLog:
    """Rows [n], one a position of a list; ``slate`` numbers the lists, ``position`` counts from the top.

    What ``propensity`` and ``target`` (of the logging and the evaluation policy) are the probabilities of is up to the
    estimator: the whole list (`standard_ips`), the list down to this position (`reward_interaction_ips`, `cascade_dr`) or
    this item in this position (`independent_ips`). For `cascade_dr`, ``predicted`` is Q̂, the reward from this
    position on given the items so far, and ``expected`` its mean over the evaluation policy's item here. ``block``:
    lists of one user or session. Lists may differ in length.

    Raises InputError where lengths, ranges or numbers are wrong, or a position comes twice in a list.
    """

    slate: Ints
    position: Ints
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
        slate, position = integers("slate", self.slate, n), integers("position", self.position, n)
        order = np.lexsort((position, slate))
        same = slate[order][1:] == slate[order][:-1]
        if (same & (position[order][1:] == position[order][:-1])).any():
            raise InputError("each position once in a list", "one that comes twice", "number the positions of a list")
        given = {
            "slate": slate, "position": position, "reward": reward, "propensity": propensities(self.propensity, n),
            "target": targets(self.target, n),
        }  # fmt: skip
        if (self.predicted is None) != (self.expected is None):
            raise InputError(
                "both predicted and expected, or neither", "one of them", "give what the model says of both"
            )
        if self.predicted is not None:
            given |= {name: column(name, getattr(self, name), n) for name in ("predicted", "expected")}
        if self.block is not None:
            given["block"] = integers("block", self.block, n)
            if (same & (given["block"][order][1:] != given["block"][order][:-1])).any():
                raise InputError(
                    "one block a list", "a list in two blocks", "give all rows of a list its user or session"
                )
        for name, values in given.items():  # sorted by list and position: estimators look at the row before
            object.__setattr__(self, name, values[order])

    @property
    def first(self) -> Ints:
        """Rows at which a list begins."""
        return np.flatnonzero(np.r_[True, self.slate[1:] != self.slate[:-1]])


def standard_ips(log: SlateLog, inference: Inference = DEFAULT) -> Result:
    """Rewards weighted by the whole list's probabilities, which must be the same in all rows of a list."""
    weights = log.target / log.propensity
    for name in ("propensity", "target"):
        if _changes(log, getattr(log, name)).any():
            raise InputError(f"one {name} a list", "several", "give the probability of the whole list")
    return _conclude("standard_ips", log, weights * log.reward, [weights[log.first]], inference)


def independent_ips(log: SlateLog, inference: Inference = DEFAULT) -> Result:
    """Each reward weighted by the probabilities of its own item in its own position."""
    weights = log.target / log.propensity
    return _conclude("independent_ips", log, weights * log.reward, _by_position(log, weights), inference)


def reward_interaction_ips(log: SlateLog, inference: Inference = DEFAULT) -> Result:
    """Each reward weighted by the probabilities of the items down to its position."""
    weights = _cascade(log)
    return _conclude("reward_interaction_ips", log, weights * log.reward, _by_position(log, weights), inference)


def cascade_dr(log: SlateLog, inference: Inference = DEFAULT) -> Result:
    """Reward interaction IPS with a reward model as control: w_k (r_k - Q̂_k) + w_{k-1} E Q̂_k, w_0 = 1."""
    if log.predicted is None or log.expected is None:
        raise InputError("what a reward model says", "a log without predictions", "give predicted and expected")
    weights = _cascade(log)
    before = np.r_[1.0, weights[:-1]]
    before[log.first] = 1.0
    rounds = weights * (log.reward - log.predicted) + before * log.expected
    return _conclude("cascade_dr", log, rounds, _by_position(log, weights), inference)


def _changes(log: SlateLog, values: Floats) -> Floats:
    """``values`` less those of the row above in the same list; 0 at the top."""
    change = np.diff(values, prepend=values[:1])
    change[log.first] = 0.0
    return np.asarray(change, np.float64)


def _cascade(log: SlateLog) -> Floats:
    for name in ("propensity", "target"):
        if (_changes(log, getattr(log, name)) > 1e-12).any():
            remedy = "give the probability of all items from the top down to the position"
            raise InputError(f"{name} that falls down a list", "one that grows", remedy)
    return log.target / log.propensity


def _by_position(log: SlateLog, weights: Floats) -> list[Floats]:
    return [weights[log.position == p] for p in np.unique(log.position)]


def _conclude(name: str, log: SlateLog, rounds: Floats, weights: list[Floats], inference: Inference) -> Result:
    """The value of one list. The effective sample size, in lists, is that of the position where it is lowest."""
    first = log.first
    value = np.add.reduceat(rounds, first)
    ess = min(effective_sample_size(each) for each in weights)
    terms = Terms(np.zeros(len(first)), value, np.ones(len(first)))
    block = None if log.block is None else log.block[first]
    mean = float(np.mean(log.target / log.propensity))
    return conclude(name, terms, ess=ess, mean_weight=mean, block=block, inference=inference)
