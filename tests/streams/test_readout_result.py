"""What the sums say: a planted effect is found, none is not, harm and mismatches are told, and too little is no result."""

from __future__ import annotations

import random

import pytest

from online_models.experiments.effects import Effect, NoResult
from online_models.experiments.guardrails import Verdict
from online_models.experiments.intervals import Interval
from online_models.experiments.srm import Mismatch
from streams.contracts.experiments import Guardrail, Variant
from streams.experiment_rules import alone, ramp
from streams.readout.fold import Readout
from streams.readout.result import Compared, MetricResult, read_out
from streams.readout.verdict import of_variants
from tests.streams.readout_tape import Tape, definition


def world(lift: float, users: int = 3_000, lost: float = 0.0, seed: int = 3) -> Readout:
    """Users of two variants who click with another probability in the new one; some of its users are ``lost``."""
    rng = random.Random(seed)
    t = Tape()
    for n in range(users):
        variant = rng.choice(("control", "new"))
        if variant == "new" and rng.random() < lost:
            continue
        at = 860 * n
        for _ in range(5):
            t.add(at, "x", "odd", user=f"u{n}", shown="b", variant=variant)
            clicks = rng.random() < (0.3 if variant == "control" else 0.3 * (1 + lift))
            t.add(at + 1, "b" if clicks else "c", user=f"u{n}", shown="", variant=variant)
            at += 100
    return t.play()


def test_a_planted_lift_is_found_and_none_where_there_is_none():
    experiment = alone(definition(guardrails=(Guardrail(metric="hr@20", margin=0.1),)), 0)
    found = read_out(experiment, world(0.5).tally())
    assert found.decision == "better"
    assert "new is better in ctr" in found.verdict
    [c] = found.metrics[0].variants
    assert c.always.low < 0.5 < c.always.high
    assert found.guardrails[0].found.verdict is Verdict.HOLDS
    none = read_out(experiment, world(0.0).tally())
    assert (none.decision, none.stop) == ("no result yet", "")
    low, high = none.timeline[-1].low, none.timeline[-1].high
    assert f"new is at {low:+.1%} to {high:+.1%} in ctr, and the interval has to leave out zero" in none.verdict
    assert len(found.timeline) > 20
    assert found.timeline[-1].low == pytest.approx(c.always.low)


def test_a_planted_loss_is_called_worse():
    """Without a guardrail it is no harm."""
    found = read_out(alone(definition(), 0), world(-0.5).tally())
    assert (found.decision, found.stop) == ("worse", "")
    [c] = found.metrics[0].variants
    assert c.always.low < -0.5 < c.always.high < 0.0
    low, high = (f"{bound:+.1%}" for bound in (c.always.low, c.always.high))
    assert found.verdict == f"new is worse in ctr: {low} to {high}, however often this was looked at."


def test_harm_and_a_mismatch_are_reasons_to_stop():
    experiment = alone(definition(guardrails=(Guardrail(metric="ctr", margin=0.05),)), 0)
    harm = read_out(experiment, world(-0.5).tally())
    assert harm.decision == "harm"
    assert harm.stop.startswith("new harms ctr")
    lost = read_out(experiment, world(0.0, lost=0.3).tally())
    assert lost.decision == "mismatch"
    assert isinstance(lost.splits[0].always, Mismatch)
    assert "expected" in lost.stop


def test_too_little_is_no_result():
    found = read_out(alone(definition(), 0), Tape().play().tally())
    assert found.decision == "no result yet"
    assert all(isinstance(c.effect, NoResult) and c.always is None for m in found.metrics for c in m.variants)
    assert found.metrics[0].control is None


def test_the_shares_of_each_ramp_are_judged_by_themselves():
    e = alone(definition(traffic=0.1), 0)
    grown = ramp(e, {}, 1.0, 1)
    skewed = ramp(alone(definition(traffic=0.5), 0), {"control": 1, "new": 9}, 1.0, 1)
    paused = ramp(ramp(alone(definition(traffic=0.2), 0), {}, 0.0, 1), {}, 1.0, 2)
    t = Tape()
    for n in range(200):
        t.add(n, "a", user=f"u{n}", shown="b", variant=("control", "new")[n % 2], ramp=n // 100)
    tally = t.play().tally()
    assert [s.units for s in read_out(grown, tally).splits] == [{"control": 50, "new": 50}] * 2
    assert [isinstance(s.always, Mismatch) for s in read_out(grown, tally).splits] == [True, True]
    # The control shrinks: who comes in now, and was left out before, comes in in other shares than those who are new.
    assert [isinstance(s.always, Mismatch) for s in read_out(skewed, tally).splits] == [True, False]
    assert all(
        "begin a new experiment" in c.effect.message for m in read_out(skewed, tally).metrics for c in m.variants
    )
    assert not any(isinstance(s.always, Mismatch) and s.always.alarm for s in read_out(paused, tally).splits)


def test_units_of_other_proportions_are_not_pooled():
    """Nobody's variant matters, and everybody clicks half as much after the ramp: pooled, the one that grew would look worse."""
    e = ramp(
        alone(definition(variants=(Variant(name="control", weight=9), Variant(name="new"))), 0),
        {"control": 1, "new": 1},
        None,
        1,
    )
    rng = random.Random(8)
    t = Tape()
    for n in range(4_000):
        late = n >= 2_000
        variant = "new" if rng.random() < (0.5 if late else 0.1) else "control"
        for at in (0, 10):
            t.add(100 * n + at, "x", "odd", user=f"u{n}", shown="b", variant=variant, ramp=int(late))
            clicks = rng.random() < (0.15 if late else 0.5)
            t.add(100 * n + at + 1, "b" if clicks else "c", user=f"u{n}", shown="", variant=variant, ramp=int(late))
    found = read_out(e, t.play().tally())
    assert (found.since, found.decision) == (1, "no result yet")
    [c] = found.metrics[0].variants
    assert found.metrics[0].units + c.units == pytest.approx(2_000, abs=60)
    assert c.always.low < 0.0 < c.always.high


@pytest.mark.parametrize(("bias", "decision"), [(0.5, "no result yet"), (0.8, "better"), (0.2, "worse")])
def test_who_is_preferred_in_shared_lists(bias, decision):
    rng = random.Random(5)
    t = Tape()
    for n in range(400):
        t.add(n, "x", "odd", user=f"u{n}", shown="ab", picks={"a": "control", "b": "new"}, variant="interleaved")
        t.add(n + 1, "b" if rng.random() < bias else "a", user=f"u{n}", shown="", variant="interleaved")
    found = read_out(alone(definition(method="interleave"), 0), t.play(method="interleave").tally())
    assert found.decision == decision
    assert found.preference.lists == 400
    low, high = found.preference.always.low, found.preference.always.high
    assert low < 2 * bias - 1 < high
    assert (f"preference for new is at {low:+.1%} to {high:+.1%}" in found.verdict) == (decision == "no result yet")


def test_of_several_variants_the_verdict_names_the_nearest_and_its_level():
    """One leaves out zero, but not for three questions at once."""
    always = Interval(0.001, 0.09, 0.045, 0.05)
    held = Interval(-0.05, 0.05, 1.0, 0.05)
    effect = Effect(0.05, 0.01, 500, 500, 1.0, 1.05, 998.0, True, 0.0)
    variants = tuple(
        Compared(v, 1.0, 500, effect, effect, always=i, adjusted_p=p)
        for v, i, p in (("far", held, 1.0), ("near", always, 0.135))
    )
    decision, text = of_variants(MetricResult("ctr", "", 1.0, 500, variants), (), (), 0.05)
    assert decision == "no result yet"
    assert "near (of 2 variants the nearest) is at +0.1% to +9.0% in ctr" in text
    assert "p = 0.1350, adjusted for 2 variants, is not below 0.05" in text
