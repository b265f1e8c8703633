"""The alarm of shares that do not match: at its level over all ramps together, and loud enough for a real mismatch."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from online_models.experiments import srm
from online_models.experiments.effects import Effect, compare
from online_models.experiments.intervals import gavi
from online_models.experiments.srm import Mismatch, sequential_p
from online_models.experiments.sums import Sums
from streams.experiment_rules import alone, ramp
from streams.readout import shares
from streams.readout.result import read_out
from streams.readout.shares import changes_of, level_of, share_of_level
from streams.readout.tally import METRICS, Tally
from tests.streams.readout_tape import definition


def counted(*ramps: tuple[int, int]) -> Tally:
    tally = Tally(definition())
    for number, (control, new) in enumerate(ramps):
        tally.entered["control", number], tally.entered["new", number] = control, new
    return tally


def test_a_mismatch_stops_below_its_level_and_not_above() -> None:
    """Right at the level of the first ramp: what a hundred times the level would stop goes on."""
    e = alone(definition(), 0)
    p_values = {n: float(sequential_p([500 + n, 500 - n], [0.5, 0.5])) for n in range(150)}
    below = min(n for n, p in p_values.items() if p < level_of(0))
    for n, stops in ((below, True), (below - 1, False)):
        found = read_out(e, counted((500 + n, 500 - n)))
        assert (found.stop != "", found.decision == "mismatch") == (stops, stops)
        assert isinstance(found.splits[0].always, Mismatch)
        assert found.splits[0].always.alarm is stops
    assert p_values[below - 1] < 100 * srm.ALARM


def test_a_later_ramp_has_less_of_the_level_and_takes_no_alarm_back() -> None:
    once = alone(definition(traffic=0.5), 0)
    twice = ramp(once, {}, 1.0, 1)
    odd = next(n for n in range(150) if level_of(1) < float(sequential_p([500 + n, 500 - n], [0.5, 0.5])) < level_of(0))
    units = 500 + odd, 500 - odd
    assert read_out(once, counted(units)).stop
    assert read_out(twice, counted(units, (500, 500))).stop
    assert not read_out(twice, counted((500, 500), units)).stop


def test_a_ramp_has_its_level_by_its_number_also_where_the_record_has_forgotten_those_before() -> None:
    e = ramp(alone(definition(traffic=0.5), 0), {}, 1.0, 1)
    e = msgspec.structs.replace(e, ramps=e.ramps[1:])
    of = {n: float(sequential_p([500 + n, 500 - n], [0.5, 0.5])) for n in range(150)}
    for odd, stops in ((next(n for n in of if level_of(1) < of[n] < level_of(0)), False), (max(of), True)):
        assert bool(read_out(e, counted((0, 0), (500 + odd, 500 - odd))).stop) is stops


@pytest.mark.parametrize("ramps", [1, 30])
def test_false_alarms_of_all_ramps_together_are_at_their_level(ramps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the level at 20 %, so that there is something to count, and each ramp looked at again and again."""
    monkeypatch.setattr(srm, "ALARM", 0.2)
    rng = np.random.default_rng(5)
    worlds, looks, step = 400, 40, 10
    levels = np.array([level_of(k) for k in range(ramps)])
    assert levels.sum() <= 0.2
    control = rng.binomial(step, 0.5, (worlds, ramps, looks)).cumsum(axis=2)
    of_both = np.stack([control, step * np.arange(1, looks + 1) - control], axis=-1)
    lowest = sequential_p(of_both, [0.5, 0.5]).min(axis=2)
    assert (lowest < levels).any(axis=1).mean() < 0.2
    if ramps == 30:
        assert (lowest < 0.2).any(axis=1).mean() > 0.5, "each at the whole level would be far too many"


def test_a_look_at_a_bandit_with_many_ramps_goes_over_each_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not over all that were before it, each time, for each variant."""
    seen = 0
    pieces = shares._pieces

    def counting(ranges):
        nonlocal seen
        seen += 1
        return pieces(ranges)

    e = alone(definition(method="bandit", unit="session", traffic=0.5), 0)
    for n in range(80):
        e = ramp(e, {"new": 1.0 + n % 7}, None, n + 1)
    tally = Tally(e.definition)
    monkeypatch.setattr(shares, "_pieces", counting)
    read_out(e, tally)
    assert len(e.ramps) == 81
    assert seen < 10 * len(e.ramps)


STEPS = ((80, 20), (75, 25), (70, 30), (65, 35), (60, 40), (55, 45), (50, 50))


def test_changed_proportions_have_less_of_the_level_and_other_ramps_do_not() -> None:
    e = alone(definition(), 0)
    grown = ramp(e, {}, 0.5, 1)
    uneven = ramp(grown, {"new": 3.0}, None, 2)
    assert [changes_of(x) for x in (e, grown, uneven, ramp(uneven, {"new": 2.0}, None, 3))] == [0, 0, 1, 2]
    assert share_of_level(1) == pytest.approx(6 / (4 * np.pi**2))
    assert read_out(e, counted((500, 500))).alpha == e.definition.alpha
    assert read_out(uneven, counted((500, 500))).alpha == pytest.approx(e.definition.alpha * share_of_level(1))


def test_no_difference_over_many_changes_of_the_proportions_is_called_one_as_rarely_as_stated() -> None:
    """Looked at after every batch, each stretch begun anew; at a level of 20 %, so that there is something to count."""
    rng, alpha, worlds, looks, batch = np.random.default_rng(5), 0.2, 120, 20, 400
    found = {"stated": 0, "each at the whole level": 0}
    metric = METRICS["conversion"].metric
    one, none = Sums.of([1.0, 0.0]), Sums.of([0.0, 0.0])

    def sums(n: int, k: int) -> Sums:
        return Sums(n, (one.totals[0] * k, none.totals[1]), (one.products[0] * k, *none.products[1:]))

    for _ in range(worlds):
        lowest = []
        for _, new in STEPS:
            new_units = rng.binomial(batch, new / 100, looks).cumsum()
            units = np.stack([batch * np.arange(1, looks + 1) - new_units, new_units])
            bought = np.stack([rng.binomial(np.diff(u, prepend=0), 0.1).cumsum() for u in units])
            effects = [
                compare(*(sums(int(units[v, t]), int(bought[v, t])) for v in (0, 1)), metric) for t in range(looks)
            ]
            lowest.append(min(gavi(e, alpha).p_value for e in effects if isinstance(e, Effect)))
        found["stated"] += any(p < alpha * share_of_level(k) for k, p in enumerate(lowest))
        found["each at the whole level"] += any(p < alpha for p in lowest)
    assert found["stated"] / worlds < 1.4 * alpha
    assert found["each at the whole level"] > 1.5 * found["stated"]
