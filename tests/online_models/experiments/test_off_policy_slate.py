"""Lists: each estimator is right in the world that it assumes, and seen to be wrong in one that it does not."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from online_models.errors import InputError
from online_models.experiments import off_policy
from online_models.experiments.off_policy import Estimate, Inference, NoEstimate, SlateLog

ITEMS, PLACES = 3, 2
LISTS = list(permutations(range(ITEMS), PLACES))
LOGGING = np.array([1.0, 2.0, 1.0])
TARGET = np.array([3.0, 0.7, 1.0])
WORTH = np.array([0.2, 0.5, 0.7])


def chance(scores: np.ndarray, shown: tuple[int, ...]) -> float:
    """Of a list, top down: Plackett and Luce."""
    left, out = scores.sum(), 1.0
    for item in shown:
        out *= scores[item] / left
        left -= scores[item]
    return out


def marginal(scores: np.ndarray, place: int, item: int) -> float:
    return sum(chance(scores, shown) for shown in LISTS if shown[place] == item)


def clicks(shown: tuple[int, ...], cascade: bool) -> tuple[float, float]:
    """Chances of a click by place. In the cascade an item is looked at less the better what stands above it is."""
    top, below = WORTH[list(shown)]
    return top, below * ((1.0 - top) if cascade else 0.6)


def truth(cascade: bool) -> float:
    return sum(chance(TARGET, shown) * sum(clicks(shown, cascade)) for shown in LISTS)


def ahead(shown: tuple[int, ...], place: int) -> float:
    """Q: clicks from this place on, if what follows is the evaluation policy's."""
    if place == 1:
        return clicks(shown, True)[1]
    rest = [each for each in LISTS if each[0] == shown[0]]
    total = sum(chance(TARGET, each) for each in rest)
    return WORTH[shown[0]] + sum(chance(TARGET, each) / total * clicks(each, True)[1] for each in rest)


def world(n: int, seed: int, cascade: bool, kind: str) -> SlateLog:
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(LISTS), n, p=[chance(LOGGING, shown) for shown in LISTS])
    columns: dict[str, list[float]] = {name: [] for name in ("reward", "propensity", "target", "predicted", "expected")}
    table = {}
    for shown in LISTS:
        rows = []
        for place in range(PLACES):
            of = {
                "whole": lambda scores, shown=shown, place=place: chance(scores, shown),
                "cascade": lambda scores, shown=shown, place=place: chance(scores, shown[: place + 1]),
                "item": lambda scores, shown=shown, place=place: marginal(scores, place, shown[place]),
            }[kind]
            likely = [each for each in LISTS if each[:place] == shown[:place]]
            total = sum(chance(TARGET, each) for each in likely)
            expected = sum(chance(TARGET, each) / total * ahead(each, place) for each in likely)
            rows.append((clicks(shown, cascade)[place], of(LOGGING), of(TARGET), ahead(shown, place), expected))
        table[shown] = rows
    for at in drawn:
        for click, *others in table[LISTS[at]]:
            for name, value in zip(columns, (float(rng.random() < click), *others), strict=True):
                columns[name].append(value)
    slate = np.repeat(np.arange(n), PLACES)
    return SlateLog(slate, np.tile(np.arange(PLACES), n), **{k: np.array(v) for k, v in columns.items()})


KINDS = {
    "standard_ips": ("whole", off_policy.standard_ips),
    "reward_interaction_ips": ("cascade", off_policy.reward_interaction_ips),
    "cascade_dr": ("cascade", off_policy.cascade_dr),
    "independent_ips": ("item", off_policy.independent_ips),
}


def found(name: str, n: int, seed: int, cascade: bool, **how: Any) -> Estimate:
    kind, estimator = KINDS[name]
    result = estimator(world(n, seed, cascade, kind), Inference(**how))
    assert isinstance(result, Estimate), result
    assert result.estimator == name
    return result


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("cascade", [True, False], ids=["cascade", "independent"])
def test_it_is_right_where_its_assumption_holds(name: str, cascade: bool) -> None:
    result = found(name, 40_000, 1, cascade, alpha=0.01)
    assert (result.low <= truth(cascade) <= result.high) == (not cascade or name != "independent_ips"), result


def test_the_more_is_assumed_the_narrower_the_interval() -> None:
    widths = {name: (e := found(name, 20_000, 2, True)).high - e.low for name in KINDS}
    assert widths["standard_ips"] > widths["reward_interaction_ips"] > widths["cascade_dr"]
    assert found("independent_ips", 5_000, 2, True).ess > found("standard_ips", 5_000, 2, True).ess


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(100):
        result = found("cascade_dr", 300, seed, True, alpha=0.1, resamples=200)
        covered += result.low <= truth(True) <= result.high
    assert 81 <= covered <= 98


def test_rows_may_come_in_any_order() -> None:
    log = world(300, 3, True, "cascade")
    order = np.random.default_rng(0).permutation(600)
    names = ("slate", "position", "reward", "propensity", "target", "predicted", "expected")
    mixed = SlateLog(**{name: getattr(log, name)[order] for name in names})
    assert off_policy.cascade_dr(mixed) == off_policy.cascade_dr(log)


def test_lists_of_one_user_are_drawn_together() -> None:
    once = world(500, 4, True, "whole")
    five = {name: np.tile(getattr(once, name), 5) for name in ("position", "reward", "propensity", "target")}
    slate = np.concatenate([once.slate + 500 * i for i in range(5)])
    blocks = SlateLog(slate=slate, **five, block=np.tile(once.slate, 5))
    wide, narrow = (off_policy.standard_ips(log) for log in (blocks, SlateLog(slate=slate, **five)))
    assert isinstance(wide, Estimate)
    assert isinstance(narrow, Estimate)
    assert (wide.method, wide.rows, wide.blocks) == ("bootstrap by block", 500, 500) or wide.rows == 2_500
    assert wide.high - wide.low == pytest.approx(np.sqrt(5) * (narrow.high - narrow.low), rel=0.15)


def test_too_little_is_not_told() -> None:
    result = off_policy.standard_ips(world(60, 5, True, "whole"))
    assert isinstance(result, NoEstimate)


GOOD: dict[str, Any] = {
    "slate": [0, 0, 1, 1], "position": [0, 1, 0, 1], "reward": [1, 0, 0, 1],
    "propensity": [0.5, 0.2, 0.5, 0.2], "target": [0.4, 0.1, 0.4, 0.1],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": [0, 0, 0, 1]}, "each position once"),
        ({"propensity": [0.5, 0.0, 0.5, 0.2]}, "0 < propensity <= 1"),
        ({"target": [0.5, 1.2, 0.5, 0.2]}, "0 <= target <= 1"),
        ({"reward": [1, 0, 0]}, "slate"),
        ({"block": [0, 1, 2, 2]}, "one block a list"),
        ({"predicted": [0.0] * 4}, "both predicted and expected"),
    ],
)
def test_a_wrong_log_is_refused(change: dict[str, Any], message: str) -> None:
    SlateLog(**GOOD)
    with pytest.raises(InputError, match=message):
        SlateLog(**GOOD | change)


def test_probabilities_of_another_kind_are_refused() -> None:
    log = SlateLog(**GOOD)
    with pytest.raises(InputError, match="one propensity a list"):
        off_policy.standard_ips(log)
    growing = SlateLog(**GOOD | {"target": [0.1, 0.4, 0.1, 0.4]})
    for estimate in (off_policy.reward_interaction_ips, off_policy.cascade_dr):
        with pytest.raises(InputError):
            estimate(growing)
    with pytest.raises(InputError, match="target that falls"):
        off_policy.reward_interaction_ips(growing)
