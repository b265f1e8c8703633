"""Sums by period: how many there may be, and what the line over time is made of."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from online_models.errors import InputError
from online_models.experiments.effects import Effect, compare
from online_models.experiments.sums import Sums
from streams.contracts.experiments import Variant
from streams.experiment_rules import alone, ramp
from streams.readout import tally
from streams.readout.result import read_out
from streams.readout.shares import strata
from streams.readout.tally import METRICS, Tally
from streams.readout.users import Unit
from tests.streams.readout_tape import definition


def test_too_many_periods_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MOST_PERIODS", 5)
    halves = [Tally(definition(), 60), Tally(definition(), 60)]
    for n in range(5):
        halves[0].tell(Unit("new", 0, n * 60_000, (0.0,) * 8))
        halves[1].tell(Unit("new", 0, (n + 1) * 60_000, (0.0,) * 8))
    with pytest.raises(InputError, match=r"at most 5 periods, got more, of 60 s each; .*longer --period"):
        halves[0].tell(Unit("new", 0, 5 * 60_000, (0.0,) * 8))
    with pytest.raises(InputError, match="longer --period"):
        halves[1] + Tally.from_plain(halves[0].plain() | {"partitions": [3]}, definition())


def test_the_timeline_takes_one_pass_over_the_cells() -> None:
    """Each period holds what was first exposed in it, and together they are the whole."""
    of = Tally(definition(), 60)
    for n in range(30):
        for v in ("control", "new"):
            of.tell(Unit(v, n % 2, (n % 7) * 60_000, (0.0,) * 8, now=[0.0, 1.0, 1.0, 2.0, 0.0, 1.0, 0.0, 0.0]))
    found = of.by_period("ctr")
    assert list(found) == list(range(7))
    got = Counter((v, sums.n) for cells in found.values() for v, _, sums in cells)
    assert sum(n * times for (v, n), times in got.items() if v == "new") == 30


@pytest.mark.parametrize("method", ["ab", "bandit"])
def test_a_point_is_what_all_units_up_to_its_period_say(method: str) -> None:
    rng, metric = random.Random(2), METRICS["revenue"]
    d = definition(method=method, metric="revenue", variants=tuple(Variant(name=v) for v in "abc"))
    e = alone(d, 0)
    for n in range(5):
        moved = method == "bandit" or n == 1
        e = ramp(e, {v: rng.uniform(1.0, 9.0) for v in "abc"} if moved else {}, None, n + 1)
    of = Tally(d, 60)
    for _ in range(3_000):
        before, paid = (rng.gauss(20.0, 3.0) for _ in range(2))
        now = [0.0, before / 2 + paid, *[0.0] * 6]
        of.tell(
            Unit(rng.choice("abc"), rng.randrange(6), rng.randrange(9) * 60_000, (0.0, before, *[0.0] * 6), now=now)
        )
    points = read_out(e, of).timeline
    assert points[-1].estimate is not None
    assert [(p.until_ms, p.variant) for p in points] == [(n * 60_000, v) for n in range(1, 10) for v in "bc"]
    for point in points:
        how, both = strata(e, "a", point.variant), []
        for side, variant in enumerate(("a", point.variant)):
            sums: dict[int, Sums] = {}
            for (v, number, period), found in of.cells.items():
                if v == variant and period * 60_000 < point.until_ms:
                    sums[number] = sums.get(number, Sums.empty(2)) + found["revenue"]
            both.append(how.pooled(sums, side, 2))
        effect = compare(*both, metric.metric)
        assert point.units == both[0].n + both[1].n
        assert point.estimate == (effect.estimate if isinstance(effect, Effect) else None)


def test_twice_as_many_ramps_and_periods_take_twice_as_many_additions(monkeypatch: pytest.MonkeyPatch) -> None:
    added, plus = [0], Sums.__add__

    def counting(one: Sums, other: Sums) -> Sums:
        added[0] += 1
        return plus(one, other)

    took = []
    for n in (50, 100):
        of = Tally(definition(), 60)
        for k in range(n):
            for v in ("control", "new"):
                of.tell(Unit(v, k, k * 60_000, (0.0,) * 8, now=[0.0, 1.0, 1.0, 2.0, 0.0, 1.0, 0.0, 0.0]))
        added[0] = 0
        with monkeypatch.context() as m:
            m.setattr(Sums, "__add__", counting)
            read_out(alone(definition(), 0), of)
        took.append(added[0])
    assert took[0] > 100
    assert took[1] < 2.2 * took[0]
