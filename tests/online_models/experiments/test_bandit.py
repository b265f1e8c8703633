"""The bandit finds the best variant, draws it with the probability that it says, and its log tells the truth."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import accumulate
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import bandit as river_bandit
from river import proba

from online_models.errors import InputError
from online_models.experiments import off_policy
from online_models.experiments.bandit import Allocation, Arm, ArmValue, allocate, probability_best
from online_models.experiments.draws import uniform
from online_models.experiments.off_policy import Estimate, Logged
from online_models.items import hash_id

COUNT = st.integers(0, 2_000)
ARMS = st.lists(st.builds(Arm, COUNT, COUNT), min_size=1, max_size=4)


def second_is_best(one: Arm, two: Arm) -> float:
    """P(Beta(a₂, b₂) > Beta(a₁, b₁)) for whole numbers, as a finite sum of binomials in fractions."""
    a1, b1, a2, b2 = one.successes + 1, one.failures + 1, two.successes + 1, two.failures + 1

    def beta(a: int, b: int) -> Fraction:
        return Fraction(1, (a + b - 1) * comb(a + b - 2, a - 1))

    return float(sum(beta(a1 + i, b1 + b2) / ((b2 + i) * beta(1 + i, b2) * beta(a1, b1)) for i in range(a2)))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Arm(), Arm()), (Arm(3, 7), Arm(5, 5)), (Arm(0, 40), Arm(1, 3)), (Arm(40, 0), Arm(39, 1)),
        (Arm(100, 900), Arm(120, 880)), (Arm(1, 1), Arm(200, 200)), (Arm(5, 5), Arm(50, 950)),
    ],
)  # fmt: skip
def test_the_probability_of_being_best_is_exact(one: Arm, two: Arm) -> None:
    found = probability_best([one, two])
    assert found[1] == pytest.approx(second_is_best(one, two), abs=2e-4)
    assert found.sum() == pytest.approx(1.0)


def test_it_is_how_often_rivers_thompson_sampling_takes_an_arm() -> None:
    arms = [Arm(10, 90), Arm(14, 86), Arm(3, 17)]
    policy = river_bandit.ThompsonSampling(reward_obj=proba.Beta(), seed=1)
    for at, arm in enumerate(arms):
        for n in range(arm.successes + arm.failures):
            policy.update(at, n < arm.successes)
    n = 20_000
    pulls = Counter(policy.pull(range(3)) for _ in range(n))
    for at, chance in enumerate(probability_best(arms)):
        assert abs(pulls[at] / n - chance) < 4.0 * np.sqrt(chance * (1 - chance) / n)


@given(ARMS, st.floats(0.001, 0.25))
def test_probabilities_sum_to_one_and_none_vanishes(arms: list[Arm], floor: float) -> None:
    found = allocate(arms, floor).probabilities
    assert sum(found) == 1.0
    assert min(found) >= floor - 2.0**-20
    assert all(p * 2**20 == int(p * 2**20) for p in found)


@given(ARMS)
def test_order_does_not_matter(arms: list[Arm]) -> None:
    assert probability_best(arms[::-1])[::-1] == pytest.approx(probability_best(arms), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60), st.integers(0, 60))
def test_counts_of_two_workers_add_up_to_those_of_one(log: list[tuple[int, bool]], cut: int) -> None:
    def counted(part: list[tuple[int, bool]]) -> list[Arm]:
        return [
            Arm(sum(ok for at, ok in part if at == arm), sum(not ok for at, ok in part if at == arm))
            for arm in range(3)
        ]

    merged = [one + two for one, two in zip(counted(log[:cut]), counted(log[cut:]), strict=True)]
    assert merged == counted(log)


def test_it_draws_with_the_probability_that_it_logs() -> None:
    allocation = Allocation((0.5, 0.125, 0.375))
    n = 20_000
    drawn = Counter(allocation.draw(hash_id(f"7:event {i}")) for i in range(n))
    for at, chance in enumerate(allocation.probabilities):
        assert abs(drawn[at, chance] / n - chance) < 4.0 * np.sqrt(chance * (1 - chance) / n)
    assert allocation.draw(5) == allocation.draw(5)


@given(st.integers(0, 2**64 - 1))
def test_a_draw_ends_at_the_variant_in_whose_part_it_falls(key: int) -> None:
    allocation = allocate([Arm(1, 1)] * 3, 0.2)
    ends = list(accumulate(allocation.probabilities))
    assert allocation.draw(key)[0] == sum(uniform(key) >= end for end in ends)


def play(rates: list[float], n: int, seed: int, floor: float = 0.05, batch: int = 50) -> list[tuple]:
    """A log of (arm, success, allocation), with an allocation that follows every ``batch`` impressions."""
    rng = np.random.default_rng(seed)
    arms, log = [Arm() for _ in rates], []
    for i in range(n):
        if i % batch == 0:
            allocation = allocate(arms, floor)
        at, propensity = allocation.draw(hash_id(f"{seed}:{i}"))
        success = bool(rng.random() < rates[at])
        arms[at] += Arm(int(success), int(not success))
        log.append((at, success, propensity, allocation.probabilities))
    return log


def test_it_finds_the_best_and_loses_less_than_an_even_split() -> None:
    rates = [0.05, 0.06, 0.12]
    log = play(rates, 4_000, seed=1)
    late = Counter(at for at, *_ in log[-1_000:])
    assert late[2] > 850
    assert min(late[0], late[1]) >= 25  # the floor
    regret = sum(max(rates) - rates[at] for at, *_ in log)
    assert regret < 0.4 * 4_000 * (max(rates) - np.mean(rates))


def test_shares_of_successes_are_biased_and_weighted_ones_are_not() -> None:
    rates, plain, weighted = [0.3, 0.3], [], []
    for seed in range(300):
        log = play(rates, 48, seed, batch=8)
        hits = [success for at, success, *_ in log if at == 0]
        plain.append(np.mean(hits) - 0.3)
        weighted.append(sum(success / p for at, success, p, _ in log if at == 0) / 48 - 0.3)
    assert np.mean(plain) < -3.0 * np.std(plain) / np.sqrt(300)
    assert abs(np.mean(weighted)) < 3.5 * np.std(weighted) / np.sqrt(300)


def test_its_log_tells_what_each_arm_is_worth() -> None:
    rates = [0.2, 0.35]
    log = play(rates, 6_000, seed=3, floor=0.1)
    for arm, rate in enumerate(rates):
        value = ArmValue(floor=0.1)
        for at, success, _, probabilities in log:
            value.update(at == arm, success, probabilities[arm])
        low, high = value.interval
        assert low <= rate <= high
        found = off_policy.snipw(
            Logged(
                reward=[float(success) for _, success, *_ in log], propensity=[p for _, _, p, _ in log],
                target=[float(at == arm) for at, *_ in log],
            )
        )  # fmt: skip
        assert isinstance(found, Estimate)
        assert found.low <= rate <= found.high


def test_always_valid_means_always() -> None:
    missed = 0
    for seed in range(40):
        value = ArmValue(floor=0.1, alpha=0.2)
        for at, success, _, probabilities in play([0.3, 0.3], 600, seed, floor=0.1):
            value.update(at == 0, success, probabilities[0])
            low, high = value.interval
            if not low <= 0.3 <= high:
                missed += 1
                break
    assert missed <= 8


def test_wrong_arguments_are_refused() -> None:
    for arms, how in (([], {}), ([Arm()] * 3, {"floor": 0.4}), ([Arm()], {"floor": 0.0}), ([Arm()], {"prior": (0, 1)})):
        with pytest.raises(InputError):
            allocate(arms, **how)  # type: ignore[arg-type]
    with pytest.raises(InputError):
        Arm(-1, 0)
    with pytest.raises(InputError):
        ArmValue(0.0)
    with pytest.raises(InputError, match="a propensity from"):
        ArmValue(0.1).update(True, True, 0.01)
