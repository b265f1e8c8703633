"""Several variants, guardrails and ramps: each question costs, and units are held against the shares that they came under."""

from __future__ import annotations

import pytest

from online_models.experiments.guardrails import Verdict, guard
from online_models.experiments.multiple import benjamini_hochberg, holm
from online_models.experiments.srm import Mismatch, sequential
from streams.contracts.experiments import Definition, Guardrail, Variant
from streams.experiment_rules import alone, ramp
from streams.readout.result import read_out
from streams.readout.tally import Tally
from streams.readout.users import Unit
from tests.streams.readout_tape import definition

THREE = tuple(Variant(name=name) for name in ("control", "one", "two"))


def tally_of(d: Definition, clicks: dict[str, int], units: int = 1_000, ramp: int = 0) -> Tally:
    """Each variant has so many units with a list each, of which so many were clicked."""
    tally = Tally(d)
    for variant, clicked in clicks.items():
        for n in range(units):
            unit = Unit(variant, ramp, 0, (0.0,) * 8)
            unit.now[2], unit.now[3] = float(n < clicked), 1.0
            tally.tell(unit)
    return tally


def test_the_p_values_of_several_variants_are_adjusted_and_decide():
    d = definition(variants=THREE)
    tally = tally_of(d, {"control": 300, "one": 380, "two": 378})
    found = {c: read_out(alone(d, 0), tally, correction=c).metrics[0].variants for c in ("holm", "bh")}
    raw = [v.always.p_value for v in found["holm"]]
    assert raw[0] < raw[1] < 0.2
    assert [v.adjusted_p for v in found["holm"]] == pytest.approx(holm(raw))
    assert [v.adjusted_p for v in found["bh"]] == pytest.approx(benjamini_hochberg(raw))
    between = definition(variants=THREE, alpha=1.5 * raw[1])
    assert max(raw) < between.alpha < min(holm(raw)), "each alone is sure, both together are not"
    tally = tally_of(between, {"control": 300, "one": 380, "two": 378})
    assert read_out(alone(between, 0), tally).decision == "no result yet"
    assert read_out(alone(between, 0), tally, correction="bh").decision == "better"


def test_guardrails_share_alpha():
    """A loss that one guardrail alone would call a breach, and one of eight does not."""
    rails = tuple(Guardrail(metric=m, margin=0.0) for m in ("ctr", "conversion", "revenue", "hr@20"))
    one, all_of_them = definition(variants=THREE, guardrails=rails[:1]), definition(variants=THREE, guardrails=rails)
    clicks = {"control": 400, "one": 336, "two": 400}
    few, many = (read_out(alone(d, 0), tally_of(d, clicks)) for d in (one, all_of_them))
    assert (few.guard_alpha, many.guard_alpha) == (0.025, 0.00625)
    effect = few.metrics[0].variants[0].effect
    assert few.guardrails[0].found == guard(effect, 0.0, alpha=0.025)
    assert many.guardrails[0].found == guard(effect, 0.0, alpha=0.00625)
    assert few.guardrails[0].found.verdict is Verdict.BREACHED
    assert many.guardrails[0].found.verdict is Verdict.UNDECIDED
    assert (few.decision, many.decision) == ("harm", "no result yet")


def test_units_are_held_against_the_shares_of_the_ramp_that_they_came_under():
    """Ninety to ten at first, half and half later: both as configured, and each would be a mismatch under the other's shares."""
    d = definition(variants=(Variant(name="control", weight=9), Variant(name="new")))
    grown = ramp(alone(d, 0), {"control": 1, "new": 1}, None, 1)
    tally = tally_of(d, {"control": 0}, 900) + _elsewhere(tally_of(d, {"new": 0}, 100))
    tally = tally + _elsewhere(tally_of(d, {"control": 0, "new": 0}, 500, ramp=1), 2)
    found = read_out(grown, tally)
    assert [s.shares for s in found.splits] == [{"control": 0.9, "new": 0.1}, {"control": 0.5, "new": 0.5}]
    assert [s.units for s in found.splits] == [{"control": 900, "new": 100}, {"control": 500, "new": 500}]
    assert [isinstance(s.always, Mismatch) and s.always.alarm for s in found.splits] == [False, False]
    assert isinstance(found.splits[0].once, Mismatch)
    assert (found.splits[0].once.alarm, found.stop) == (False, "")
    assert sequential([900, 100], [0.5, 0.5]).alarm
    assert sequential([500, 500], [0.9, 0.1]).alarm


def _elsewhere(tally: Tally, partition: int = 1) -> Tally:
    tally.partitions = {partition}
    return tally
