"""Read-outs of shares that move: no bias from what changes with time, false alarms at their level, and nothing left out."""

from __future__ import annotations

import json
import random
from functools import reduce
from itertools import permutations

import numpy as np
import pytest

from online_models.experiments.effects import Effect, compare
from online_models.experiments.guardrails import Verdict, guard
from online_models.experiments.intervals import gavi
from online_models.experiments.sums import SCALE, Sums
from online_models.experiments.weighted import Weighted
from streams.contracts.experiments import Experiment, Guardrail, Variant
from streams.experiment_rules import alone, ramp
from streams.readout import fold, tally
from streams.readout.fold import Readout
from streams.readout.result import read_out
from streams.readout.shares import shares_of, strata
from streams.readout.tally import METRICS, Tally
from tests.streams.readout_tape import Tape, definition, unit_of
from tests.streams.test_readout_room import PARTS, put, queues_of

METRIC = METRICS["conversion"].metric
BANDIT = definition(method="bandit", metric="conversion", guardrails=(Guardrail(metric="conversion", margin=0.0),))


def converted(n: int, k: int) -> Sums:
    """Of ``n`` units of which ``k`` converted."""
    return Sums(n, (k * SCALE, 0), (k * SCALE * SCALE, 0, 0))


class World:
    """A bandit whose shares follow what was seen so far, while everybody converts less and less; ``lift`` is of the second variant."""

    def __init__(self, seed: int, lift: float, ramps: int = 12, units: int = 400) -> None:
        self.rng, self.lift, self.units = np.random.default_rng(seed), lift, units
        self.rates = np.linspace(0.5, 0.1, ramps)
        self.experiment = alone(BANDIT, 0)
        self.counts: dict[str, dict[int, Sums]] = {"control": {}, "new": {}}

    def looks(self):
        for k, rate in enumerate(self.rates):
            if k:
                self.experiment = ramp(self.experiment, self._shares(), None, k)
            share = shares_of(self.experiment.ramps[-1].ranges)["new"]
            n = int(self.rng.binomial(self.units, share))
            for variant, m, p in (("control", self.units - n, rate), ("new", n, rate * (1 + self.lift))):
                self.counts[variant][k] = converted(m, int(self.rng.binomial(m, p)))
            yield self.effect()

    def _shares(self) -> dict[str, float]:
        """The better one so far gets more, and more and more of it."""
        means = {v: sum(s.totals[0] for s in c.values()) / sum(s.n for s in c.values()) for v, c in self.counts.items()}
        share = 0.9 if means["new"] > means["control"] else 0.1
        return {"control": 1.0 - share, "new": share}

    def effect(self) -> Effect:
        how = strata(self.experiment, "control", "new")
        found = compare(
            *(how.pooled(self.counts[v], n, 2) for n, v in enumerate(("control", "new"))), METRIC, min_units=20
        )
        assert isinstance(found, Effect)
        return found

    def naive(self) -> float:
        found = compare(*(sum(self.counts[v].values(), Sums.empty(2)) for v in ("control", "new")), METRIC)
        assert isinstance(found, Effect)
        return found.estimate


def test_what_changes_with_time_is_in_both_sides() -> None:
    """300 bandits of a lift of 10 %: the estimate is right on average, by its own standard error, and adding up is not."""
    worlds = [World(seed, 0.1) for seed in range(300)]
    last = [list(world.looks())[-1] for world in worlds]
    off = np.array([effect.estimate - 0.1 for effect in last])
    error = np.array([effect.error for effect in last])
    assert abs(off.mean()) < 4.0 * off.std() / np.sqrt(len(off))
    assert 0.85 < off.std() / np.sqrt((error**2).mean()) < 1.15, "the variance is what it says"
    naive = np.array([world.naive() - 0.1 for world in worlds])
    assert abs(naive.mean()) > 10.0 * abs(off.mean()), "pooled, whoever had more of the good hours looks better"


def test_false_alarms_of_a_guardrail_while_shares_move_are_at_its_level() -> None:
    alpha, worlds, alarms, missed = 0.1, 400, 0, 0
    for seed in range(worlds):
        looks = list(World(1_000 + seed, 0.0).looks())
        alarms += any(guard(e, 0.0, alpha=alpha).verdict is Verdict.BREACHED for e in looks)
        missed += any(not gavi(e, alpha).low <= 0.0 <= gavi(e, alpha).high for e in looks)
    assert 0 < alarms / worlds < alpha, "one that never alarms would be below any level"
    assert 0 < missed / worlds < alpha


def test_harm_is_seen_in_what_all_ramps_say_together() -> None:
    """No ramp by itself has enough of the variant that is hardly shown any more."""
    world = World(3, -0.5, ramps=8)
    effects = list(world.looks())
    verdicts = [guard(e, 0.0).verdict for e in effects]
    assert verdicts[-1] is Verdict.BREACHED
    errors = [e.error for e in effects[1:]]
    assert errors[-1] < errors[0]
    alone_in_last = Weighted.of(1.0, world.counts["new"][7])
    assert alone_in_last.n < 100
    assert effects[-1].n_treated == sum(s.n for s in world.counts["new"].values())


def tally_of(e: Experiment, counts: dict[str, dict[int, Sums]]) -> Tally:
    made = Tally(e.definition)
    for variant, by_ramp in counts.items():
        for number, sums in by_ramp.items():
            made.cells[variant, number, number] = {
                m: sums if m == "conversion" else Sums.empty(x.metric.columns) for m, x in METRICS.items()
            }
            made.entered[variant, number] = sums.n
    return made


def test_the_read_out_of_a_bandit_uses_all_ramps() -> None:
    world = World(3, -0.5, ramps=8)
    effects = list(world.looks())
    found = read_out(world.experiment, tally_of(world.experiment, world.counts), min_units=20)
    [metric] = [m for m in found.metrics if m.metric == "conversion"]
    [c] = metric.variants
    assert c.effect == effects[-1]
    assert c.control == metric.control
    assert (found.decision, found.since) == ("harm", 0)
    assert found.timeline[-1].estimate == pytest.approx(c.effect.estimate)
    assert [p.units for p in found.timeline] == [400 * (n + 1) for n in range(8)]


def test_a_ramp_in_which_a_variant_had_nothing_is_left_out_and_proportions_count_alike() -> None:
    three = definition(method="bandit", variants=tuple(Variant(name=n) for n in ("control", "new", "third")))
    e = ramp(alone(three, 0), {"control": 0.5, "new": 0.0, "third": 0.5}, None, 1)
    e = ramp(e, {"control": 0.6, "new": 0.2, "third": 0.2}, None, 2)
    found = strata(e, "control", "new").weights
    assert found is not None
    assert found.keys() == {0, 2}
    assert found[0] == pytest.approx((1.0, 1.0), abs=1e-5)
    assert found[2] == pytest.approx((0.5, 1.5), abs=1e-4)


def test_a_unit_of_a_bandit_counts_what_it_did_under_its_first_ramp_and_lists_count_for_theirs() -> None:
    t = Tape()
    t.add(0, "a", shown="b", variant="control", ramp=0)
    t.add(10, "b", shown="c", variant="control", ramp=0)
    t.add(20, "c", shown="d", variant="new", ramp=1)  # moved: the click is still of the list before
    t.add(30, "d", shown="", variant="new", ramp=1)
    readout = t.play(method="bandit")
    unit = unit_of(readout)
    assert (unit.variant, unit.mixed, unit.now[2:4]) == ("control", False, [2.0, 2.0])
    told = readout.tally()
    assert told.mixed == 0
    assert {k: n for k, n in told.earned.items() if k[2] in (2, 3)} == {
        ("control", 0, 2): 2, ("control", 0, 3): 2, ("new", 1, 2): 1, ("new", 1, 3): 2,
    }  # fmt: skip
    assert Tally.from_plain(told.plain(), definition(method="bandit")).plain() == told.plain()
    assert t.play().tally().mixed == 1, "of an experiment that no one moves by what it shows, it is left out"


def test_a_bandit_that_moves_for_ever_takes_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MOST_RAMPS", 5)
    t = Tape()
    for n in range(40):
        t.add(n, "a", user=f"u{n}", shown="b", variant=("control", "new")[n % 2], ramp=n // 2)
    t.add(50, "b", user="u0", shown="c", variant=None)  # of a ramp that is not kept any more
    found = t.play(method="bandit").tally()
    assert {r for _, r, _ in found.cells} == {r for _, r in found.entered} == set(range(15, 20))
    assert {r for _, r, _ in found.earned} == set(range(15, 20))
    assert sum(s["ctr"].n for s in found.cells.values()) == 10


@pytest.mark.parametrize("most", [3, 1_000])
@pytest.mark.parametrize("seed", range(3))
def test_one_reader_and_any_merge_keep_the_same_ramps(seed: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever each of them has seen, and whenever sums were saved. Some units are in both variants of their ramp."""
    monkeypatch.setattr(tally, "MOST_RAMPS", most)
    rng, t, d = random.Random(seed), Tape(), definition(method="bandit")
    for n in range(200):
        user = rng.randrange(60)
        behind = rng.randrange(6) if user % 3 else 6  # some are never seen under a later ramp
        variant = rng.choice(("control", "new"))
        t.add(n, "b", user=f"u{user}", shown="b", variant=variant, ramp=max(n // 15 - behind, 0))
    queues = queues_of(t)
    pairs = [pair for queue in queues.values() for pair in queue]
    found = []
    for every in (1, 7, 10_000):
        monkeypatch.setattr(fold, "FORGET_EVERY", every)
        found.append(put(Readout(d, 5, lists=PARTS, events=PARTS), pairs).tally().plain())
    whole = found[0]
    assert (whole["dropped"] > 0, len({e["ramp"] for e in whole["entered"]}) == 3) == (most == 3, most == 3)
    assert whole["mixed"] > 3
    assert whole["earned"]
    assert found[1:] == found[:2]
    each = []
    for p, queue in queues.items():
        own = put(Readout(d, 5, frozenset({p}), lists=PARTS, events=PARTS), queue).tally()
        each += [Tally.from_plain(json.loads(json.dumps(own.plain())), d)]
        assert each[-1].plain() == own.plain()
    for order in permutations(each):
        assert reduce(Tally.__add__, order).plain() == whole
    assert ((each[0] + each[1]) + (each[2] + each[3])).plain() == whole
