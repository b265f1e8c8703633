"""The alarm of shares that do not match: at its level over all ramps together, and loud enough for a real mismatch."""

from __future__ import annotations

import numpy as np
import pytest

from online_models.experiments import srm
from online_models.experiments.srm import Mismatch, sequential_p
from streams.experiment_rules import alone, ramp
from streams.readout.result import read_out
from streams.readout.shares import level_of
from streams.readout.tally import Tally
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
