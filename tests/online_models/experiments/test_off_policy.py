"""Off-policy estimates in worlds whose value is known: right on average, sure as often as they say, silent when blind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from online_models.errors import InputError
from online_models.experiments import off_policy
from online_models.experiments.off_policy import Estimate, Inference, Logged, NoEstimate, Result

ITEMS = 4
REWARD = np.array([[0.1, 0.3, 0.5, 0.2], [0.6, 0.2, 0.1, 0.4]])
"""Chance of a click by context and item."""
LOGGING = np.array([[0.4, 0.3, 0.1, 0.2], [0.1, 0.4, 0.3, 0.2]])
TARGET = np.array([[0.1, 0.1, 0.7, 0.1], [0.5, 0.1, 0.1, 0.3]])
TRUTH = float((REWARD * TARGET).sum(axis=1).mean())


def chosen(chances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (chances.cumsum(axis=1) < rng.random((len(chances), 1))).sum(axis=1)


def world(n: int, seed: int, logging: np.ndarray = LOGGING, target: np.ndarray = TARGET, model: Any = REWARD) -> Logged:
    rng = np.random.default_rng(seed)
    context = rng.integers(0, 2, n)
    action = chosen(logging[context], rng)
    reward = rng.random(n) < REWARD[context, action]
    propensity = logging[context, action]
    return Logged.of(
        action=action, reward=reward, propensity=propensity, target=target[context], predictions=model[context]
    )


def known(result: Result) -> Estimate:
    assert isinstance(result, Estimate), result
    return result


ESTIMATORS: dict[str, Callable[[Logged, Inference], Result]] = {
    "replay": off_policy.replay,
    "ipw": lambda log, i: off_policy.ipw(log, inference=i),
    "snipw": lambda log, i: off_policy.snipw(log, inference=i),
    "dr": lambda log, i: off_policy.dr(log, inference=i),
    "sndr": lambda log, i: off_policy.sndr(log, inference=i),
}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("method", ["bootstrap", "normal"])
def test_intervals_hold_the_truth_as_often_as_they_say(name: str, method: Any) -> None:
    inference = Inference(alpha=0.1, method=method, resamples=200, min_ess=50.0)
    found = [known(ESTIMATORS[name](world(800, seed), inference)) for seed in range(200)]
    covered = sum(each.low <= TRUTH <= each.high for each in found)
    assert 165 <= covered <= 196, covered
    values = np.array([each.value for each in found])
    assert abs(values.mean() - TRUTH) < 3.5 * values.std() / np.sqrt(200)


@pytest.mark.parametrize("shift", [0.0, 10.0], ids=["clicks", "far from zero"])
@pytest.mark.parametrize("estimate", [off_policy.snipw, off_policy.sndr, off_policy.ipw])
def test_both_intervals_are_of_one_width(estimate: Callable[..., Result], shift: float) -> None:
    plain = world(4_000, 1)
    log = Logged(plain.reward + shift, plain.propensity, plain.target, plain.predicted, plain.expected)
    widths = [
        (e := known(estimate(log, inference=Inference(method=method, resamples=4_000)))).high - e.low
        for method in ("bootstrap", "normal")
    ]
    assert widths[0] == pytest.approx(widths[1], rel=0.06)


def test_it_is_said_how_many_clicks_an_interval_rests_on() -> None:
    n, reward = 5_000, np.zeros(5_000)
    reward[:30] = 1.0
    even = known(off_policy.ipw(Logged(reward, np.full(n, 0.5), np.full(n, 0.5))))
    assert even.rests_on == pytest.approx(30.0, rel=0.05)
    assert even.ess == n
    uneven = np.full(n, 0.5)
    uneven[0] = 0.01
    assert known(off_policy.ipw(Logged(reward, uneven, np.full(n, 0.5)))).rests_on < 1.1


def test_a_resample_without_any_weight_is_drawn_over() -> None:
    n = 400
    log = Logged(np.arange(n) % 2, np.full(n, 0.5), np.r_[np.full(3, 0.5), np.zeros(n - 3)])
    found = known(off_policy.snipw(log, inference=Inference(min_ess=2.0)))
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_rows_of_one_user_are_not_independent() -> None:
    """Every row stands ten times: the block interval does not narrow, the row interval is √10 too narrow."""
    once = world(1_000, 2)
    times = {name: np.repeat(getattr(once, name), 10) for name in ("reward", "propensity", "target")}
    widths = {}
    for name, log in {
        "once": once, "rows": Logged(**times), "blocks": Logged(**times, block=np.repeat(np.arange(1_000), 10)),
    }.items():  # fmt: skip
        for method in ("bootstrap", "normal"):
            found = known(off_policy.snipw(log, inference=Inference(method=method)))  # type: ignore[arg-type]
            widths[name, method] = found.high - found.low
            assert found.method == f"{method} by {'block' if name == 'blocks' else 'row'}"
    for method in ("bootstrap", "normal"):
        assert widths["blocks", method] == pytest.approx(widths["once", method], rel=0.12)
        assert widths["rows", method] == pytest.approx(widths["once", method] / np.sqrt(10), rel=0.12)


def test_doubly_robust_is_right_if_either_part_is() -> None:
    wrong_model = world(60_000, 3, model=np.full((2, ITEMS), 0.9))
    assert known(off_policy.dr(wrong_model)).value == pytest.approx(TRUTH, abs=0.02)
    assert abs(known(off_policy.dm(world(60_000, 3, model=REWARD + 0.2))).value - TRUTH) > 0.15
    right_model = world(60_000, 3)
    wrong = Logged(
        right_model.reward, np.full(60_000, 0.25), right_model.target, right_model.predicted, right_model.expected
    )
    assert known(off_policy.dr(wrong)).value == pytest.approx(TRUTH, abs=0.02)
    assert abs(known(off_policy.ipw(wrong)).value - TRUTH) > 0.05
    assert known(off_policy.ipw(wrong)).mean_weight < 0.9 < known(off_policy.ipw(right_model)).mean_weight < 1.1


def test_a_good_model_narrows_the_interval() -> None:
    log = world(5_000, 4)
    plain, modelled = known(off_policy.ipw(log)), known(off_policy.dr(log))
    assert modelled.high - modelled.low < 0.8 * (plain.high - plain.low)


def test_replay_is_right_on_a_log_that_is_not_uniform() -> None:
    """Plain agreement with a deterministic policy would weigh contexts by how often the log happened to agree."""
    best = np.array([[0, 0, 1.0, 0], [1.0, 0, 0, 0]])
    logging = np.array([[0.05, 0.05, 0.8, 0.1], [0.1, 0.4, 0.3, 0.2]])
    log = world(200_000, 5, logging, best)
    agreed = float(log.reward[log.target == 1.0].mean())
    assert agreed < 0.53
    assert known(off_policy.replay(log)).value == pytest.approx(0.55, abs=0.015)


def test_an_interval_that_trusts_the_model_says_so() -> None:
    """The direct method's is a tenth as wide as the model is wrong, and there is no row that could tell."""
    log = world(2_000, 13, model=REWARD + 0.2)
    trusting = known(off_policy.dm(log))
    assert trusting.high - trusting.low < 0.05 < abs(trusting.value - TRUTH)
    methods = {result.estimator: known(result).method for result in off_policy.evaluate(log)}
    assert {name for name, method in methods.items() if method.endswith(off_policy.GIVEN)} == {
        "dm",
        "switch_dr",
        "dros",
    }


def test_shrinking_and_switching_go_from_the_model_to_doubly_robust() -> None:
    log = world(3_000, 6, model=REWARD + 0.1)
    model, robust = known(off_policy.dm(log)).value, known(off_policy.dr(log)).value
    low = Inference(min_ess=1.0)
    assert known(off_policy.dros(log, 1e-6, low)).value == pytest.approx(model, abs=1e-4)
    assert known(off_policy.dros(log, np.inf)).value == robust
    assert known(off_policy.switch_dr(log, 1e9)).value == robust
    assert isinstance(off_policy.switch_dr(log, 0.01), NoEstimate)
    even = Logged(log.reward, np.full(3_000, 0.5), np.full(3_000, 0.5), log.predicted, log.expected)
    assert known(off_policy.switch_dr(even, 1.0)).ess == 3_000.0  # a weight of tau itself is kept


def test_the_choice_shrinks_where_weights_are_huge_and_the_model_is_good() -> None:
    low = Inference(resamples=100, min_ess=1.0)
    rare = np.array([[0.33, 0.33, 0.01, 0.33], [0.33, 0.33, 0.01, 0.33]])
    shrunk, robust = [], []
    for seed in range(60):
        log = world(500, seed, rare, model=REWARD + 0.02)
        shrunk.append(known(off_policy.dros(log, inference=low)).value - TRUTH)
        robust.append(known(off_policy.dr(log, inference=low)).value - TRUTH)
    assert np.mean(np.square(shrunk)) < 0.75 * np.mean(np.square(robust))
    even = world(20_000, 7, logging=np.full((2, ITEMS), 0.25), model=REWARD + 0.3)
    for choose in (off_policy.dros, off_policy.switch_dr):
        assert known(choose(even)).value == pytest.approx(TRUTH, abs=0.03)


def test_no_estimate_has_no_value() -> None:
    n = 5_000
    propensity = np.full(n, 0.999)
    propensity[:3] = 0.001
    log = Logged(np.ones(n), propensity, target=np.r_[np.ones(3), np.full(n - 3, 1e-6)])
    found = off_policy.snipw(log)
    assert isinstance(found, NoEstimate)
    assert found.ess == pytest.approx(3.0, abs=0.01)
    assert "3.0 effective rows of 5,000, fewer than 100" in found.reason
    assert not hasattr(found, "value")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reward": np.zeros(500)}, "no spread"),
        ({"target": np.zeros(500)}, "no weight is left"),
        ({"block": np.arange(500) // 50}, "10 independent blocks"),
    ],
)
def test_what_a_log_cannot_tell_is_not_told(change: dict[str, np.ndarray], reason: str) -> None:
    log = Logged(
        **{"reward": np.arange(500) % 2, "propensity": np.full(500, 0.5), "target": np.full(500, 0.4)} | change  # type: ignore[arg-type]
    )
    for estimate in (off_policy.ipw, off_policy.snipw):
        found = estimate(log)
        assert isinstance(found, NoEstimate)
        assert reason in found.reason


def test_the_same_seed_gives_the_same_interval() -> None:
    log = world(500, 9)
    one, two, other = (off_policy.evaluate(log, inference=Inference(seed=seed)) for seed in (1, 1, 2))
    assert one == two != other


GOOD: dict[str, Any] = {"reward": [1.0, 0.0], "propensity": [0.5, 0.5], "target": [0.2, 1.0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"propensity": [0.5, 0.0]}, "0 < propensity <= 1, got 0 in row 1"),
        ({"propensity": [1.5, 0.5]}, "0 < propensity <= 1, got 1.5 in row 0"),
        ({"propensity": [0.5, np.nan]}, "finite propensity, got nan in row 1"),
        ({"propensity": [0.5]}, "propensity of shape"),
        ({"target": [0.5, -0.1]}, "0 <= target <= 1"),
        ({"target": [[0.5, 0.5]]}, "target of shape"),
        ({"reward": [np.inf, 0.0]}, "finite reward"),
        ({"reward": [], "propensity": [], "target": []}, "at least one row"),
        ({"predicted": [0.1, 0.1]}, "both predicted and expected"),
        ({"predicted": [0.1, 0.1], "expected": [0.1, np.nan]}, "finite expected"),
        ({"block": [1]}, "2 whole numbers as block"),
        ({"block": [0.5, 1]}, "2 whole numbers as block"),
    ],
)
def test_a_wrong_log_is_refused(change: dict[str, Any], message: str) -> None:
    Logged(**GOOD)
    with pytest.raises(InputError, match=message):
        Logged(**GOOD | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": [0, 2]}, "actions from 0 to 1"),
        ({"target": [[0.5, 0.4], [0.5, 0.5]]}, "sum to 1"),
        ({"target": [0.5, 0.5]}, "target of shape"),
        ({"predictions": [[0.1], [0.1]]}, "predictions of shape"),
    ],
)
def test_wrong_distributions_are_refused(change: dict[str, Any], message: str) -> None:
    good = {"action": [0, 1], "reward": [1, 0], "propensity": [0.5, 0.5], "target": [[0.5, 0.5], [0.5, 0.5]]}
    with pytest.raises(InputError, match=message):
        Logged.of(**good | change)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda log: off_policy.dm(Logged(**GOOD)),
        lambda log: off_policy.ipw(log, clip=0.0),
        lambda log: off_policy.dros(log, -1.0),
        lambda log: off_policy.dros(log, []),
        lambda log: off_policy.switch_dr(log, [np.nan, 1.0]),
        lambda log: off_policy.dros(log, reward_range=0.0),
        lambda log: off_policy.switch_dr(log, bound="exact"),  # type: ignore[arg-type]
        lambda log: Inference(alpha=1.0),
        lambda log: Inference(method="exact"),  # type: ignore[arg-type]
        lambda log: Inference(min_ess=0.0),
    ],
)
def test_wrong_arguments_are_refused(wrong: Callable[[Logged], object]) -> None:
    with pytest.raises(InputError):
        wrong(world(100, 0))
