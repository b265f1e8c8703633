"""What another configuration would have earned, from the lists of one that explores; and whether it may take its place.

Of the first place by all estimators, of the first few places by those of whole lists. Where the log could not have shown what the
candidate would, nothing is known of the candidate: such lists are bounded by the worst and the best that can have happened, 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from online_models.errors import InputError
from online_models.experiments import guardrails
from online_models.experiments.guardrails import Verdict
from online_models.experiments.off_policy import estimators, slate
from online_models.experiments.off_policy.logged import Floats, Ints, Logged, effective_sample_size
from online_models.experiments.off_policy.results import (
    DEFAULT,
    Estimate,
    Inference,
    NoEstimate,
    Result,
    Terms,
    conclude,
)
from online_models.experiments.off_policy.reward_model import CellMeans

from .explored import PLACES
from .explored_rows import Row

FEW = 30
"""Clicks below which an interval is a guess at its own width."""


@dataclass(frozen=True)
class Found:
    """What an estimator says of the lists that are ``covered`` (a share of all), and between which bounds the value of all lists then
    lies: ``worst`` and ``best`` add the other lists at 0 and at 1 to the ends of the interval; None where there is no estimate."""

    result: Result
    covered: float
    worst: float | None
    best: float | None


@dataclass(frozen=True)
class Gate:
    """May the candidate take the place of what was logged? ``difference``: of the candidate's value from that of the logged lists
    without their exploration, over all lists, those that are not covered at 0; ``at_best``: at 1. ``reason`` says why or why not."""

    passed: bool
    reason: str
    margin: float
    difference: Result
    at_best: Result


@dataclass(frozen=True)
class Evaluated:
    """``rows`` lists that explored; of them ``covered`` is the share in which the candidate's first item could have come first. ``logged``:
    what those earned, with their exploration; ``recorded``: what the log itself says that the candidate would have, which is true where
    users did not see the lists (as in a replay). ``slates``: the same of the first ``places``; empty if these are one."""

    rows: int
    covered: float
    logged: Result
    recorded: float
    estimates: tuple[Found, ...]
    gate: Gate
    places: int = 1
    recorded_slates: float | None = None
    slates: tuple[Found, ...] = ()


def evaluate(rows: Sequence[Row], inference: Inference = DEFAULT, places: int = 1, margin: float = 0.0) -> Evaluated:
    """Estimate the share of lists whose first place, and whose first ``places``, the user's next event would have been on.

    ``margin``: how much less than what was logged the candidate may earn to pass the gate, as a share of lists.
    Raises InputError where the candidate would show first what no list holds.
    """
    inside = [row for row in rows if row.wanted >= 0]
    if not inside:
        raise InputError(
            "candidates that the logged lists hold", "none in any of them", "compare configurations that are more alike"
        )
    place, wanted, user = (
        _ints([r.place for r in inside]),
        _ints([r.wanted for r in inside]),
        _ints([r.user for r in inside]),
    )
    reward = _first(inside)
    propensity = np.array([r.propensity for r in inside])
    model = CellMeans.fit(place, np.zeros(len(inside), np.int64), reward, PLACES, block=user)
    expected = model.table[model.fold, 0, wanted]
    log = Logged(reward, propensity, (place == wanted).astype(np.float64), model.predicted, expected, user)
    covered = len(inside) / len(rows)
    lists = _slates(rows, places, inference) if places > 1 else ()
    return Evaluated(
        len(rows), covered, estimators.on_policy(log, inference), float(np.mean([r.then == r.other[0] for r in inside])),
        tuple(_bounded(result, covered) for result in estimators.evaluate(log, inference=inference)),
        judge(rows, margin, inference), places,
        float(np.mean([r.then in r.other[:places] for r in rows])) if places > 1 else None, lists,
    )  # fmt: skip


def judge(rows: Sequence[Row], margin: float = 0.0, inference: Inference = DEFAULT) -> Gate:
    """Compare the candidate with the logged configuration as it would be without exploring, doubly robust, list by list.

    Both values are estimated from the same lists, so that what they share cancels (paired).
    """
    place, wanted, user = _ints([r.place for r in rows]), _ints([r.wanted for r in rows]), _ints([r.user for r in rows])
    reward, propensity = _first(rows), np.array([r.propensity for r in rows])
    model = CellMeans.fit(place, np.zeros(len(rows), np.int64), reward, PLACES, block=user)
    known = wanted >= 0
    weight, present = (place == wanted) / propensity, (place == 0) / propensity
    numerator = (weight - present) * (reward - model.predicted)
    now = model.table[model.fold, 0, 0]
    ess, mean = effective_sample_size(weight), float(weight.mean())

    def difference(unknown: float) -> Result:
        then = np.where(known, model.table[model.fold, 0, np.maximum(wanted, 0)], unknown)
        terms = Terms(then - now, numerator, np.ones(len(rows)))
        return conclude("difference", terms, ess=ess, mean_weight=mean, block=user, inference=inference)

    if (wanted == 0).all():
        same = NoEstimate("difference", "the candidate puts the same item first everywhere", ess, len(rows), len(rows))
        return Gate(False, same.reason, margin, same, same)
    worst = difference(0.0)
    best = worst if known.all() else difference(1.0)
    return Gate(*_verdict(worst, best, margin), margin, worst, best)


def _verdict(worst: Result, best: Result, margin: float) -> tuple[bool, str]:
    """By the rule of an experiment's guardrails, of what holds whatever the lists that are not covered would have earned."""
    if isinstance(worst, NoEstimate):
        return False, f"no estimate: {worst.reason}"
    if isinstance(best, NoEstimate):
        return False, f"no estimate: {best.reason}"
    found, least = f"{worst.low:+.4f} to {best.high:+.4f}", f"{0.0 - margin:+g}"
    if worst.rests_on < FEW:
        return False, f"{found} rests on about {worst.rests_on:.0f} clicks, fewer than {FEW}"
    verdict = guardrails.judge(worst.low, best.high, margin)
    said = {
        Verdict.HOLDS: f"all above {least}",
        Verdict.BREACHED: f"all below {least}",
        Verdict.UNDECIDED: f"holds {least}: not sure",
    }
    return verdict is Verdict.HOLDS, f"{found}, {said[verdict]}"


def _slates(rows: Sequence[Row], places: int, inference: Inference) -> tuple[Found, ...]:
    """Estimators of whole lists, the one that assumes least first, each of the lists that it has support for."""
    whole = [r for r in rows if r.wanted >= 0 and r.drawn(r.wanted)[:places] == r.other[:places]]
    apart = [r for r in rows if r.wanted >= 0 and all(_could(r, k) for k in range(1, min(places, len(r.other))))]
    out = []
    for name, estimator, mine in (
        ("standard_ips", slate.standard_ips, whole),
        ("reward_interaction_ips", slate.reward_interaction_ips, whole),
        ("cascade_dr", slate.cascade_dr, whole),
        ("independent_ips", slate.independent_ips, apart),
    ):
        if len({r.user for r in mine}) < 5:  # folds of the reward model
            reason = "the log could not have shown the candidate's list"
            result: Result = NoEstimate(name, f"{reason} to 5 users or more", 0.0, len(mine), len(mine))
        else:
            result = estimator(_slate_log(mine, places, name), inference)
        out.append(_bounded(result, len(mine) / len(rows)))
    return tuple(out)


def _could(row: Row, k: int) -> bool:
    """Whether the log could have shown the candidate's item at place ``k`` > 0, where an item stays or is moved down to."""
    if k >= len(row.order):
        return False
    stays = row.other[k] == row.order[k]  # as it may: the draw can always fall above
    return stays or (row.other[k] == row.order[k - 1] and _moved(row, k) > 0.0)


def _moved(row: Row, k: int) -> float:
    """Probability that what stood above place ``k`` > 0 moves down to it: the draw fell on ``k`` or below. It is less than 1."""
    n = len(row.order)
    return row.rate * (n - k) / n


def _slate_log(rows: Sequence[Row], places: int, name: str) -> slate.SlateLog:
    lists, position, reward, chance, target, action, wanted, user = [], [], [], [], [], [], [], []
    for number, row in enumerate(rows):
        shown = row.drawn(row.place)
        length = min(places, len(row.other), len(row.order))
        for k in range(length):
            lists.append(number)
            position.append(k)
            reward.append(float(row.then == shown[k]))
            user.append(row.user)
            action.append(row.order.index(shown[k]))
            wanted.append(row.order.index(row.other[k]))
            if name == "independent_ips":
                down = _moved(row, k)
                chance.append(row.propensity if k == 0 else down if k <= row.place else 1.0 - down)
                target.append(float(shown[k] == row.other[k]))
            else:  # the first item says what was drawn, and so all that follows
                chance.append(row.propensity)
                target.append(
                    float(
                        shown[: length if name == "standard_ips" else k + 1]
                        == row.other[: length if name == "standard_ips" else k + 1]
                    )
                )
    log = _ints(lists), _ints(position), np.array(reward), np.array(chance), np.array(target)
    block = _ints(user)
    if name != "cascade_dr":
        return slate.SlateLog(*log, block=block)
    left = _from_here(log[0], log[2])
    model = CellMeans.fit(_ints(action), log[1], left, PLACES, block=block)
    return slate.SlateLog(*log, model.predicted, model.table[model.fold, log[1], _ints(wanted)], block)


def _from_here(lists: Ints, reward: Floats) -> Floats:
    """Reward of a list from each of its places on."""
    total = np.bincount(lists, reward)
    above = np.cumsum(reward) - reward
    start = np.flatnonzero(np.r_[True, lists[1:] != lists[:-1]])
    return np.asarray(total[lists] - (above - above[start][lists]), np.float64)


def _bounded(result: Result, covered: float) -> Found:
    if not isinstance(result, Estimate):
        return Found(result, covered, None, None)
    return Found(result, covered, covered * max(result.low, 0.0), min(1.0, covered * result.high + 1.0 - covered))


def _first(rows: Sequence[Row]) -> Floats:
    return np.array([r.then == r.order[r.place] for r in rows], np.float64)


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, np.int64)
