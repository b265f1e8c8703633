"""What an experiment may be, and what is said of one that may not."""

from __future__ import annotations

import random

import msgspec
import pytest

from online_models.errors import InputError
from online_models.experiments.split import BUCKETS
from streams.contracts.experiments import BlendChange, Definition, FilterChange, Guardrail, Variant
from streams.contracts.models import Announcement, TrainedOn
from streams.experiment_rules import begin, check_over, ramp, stop

LISTS = ("deep", "knn", "mf")
A, B = Variant(name="a"), Variant(name="b")


def version(name: str) -> Announcement:
    trained = TrainedOn(from_ms=0, to_ms=1, events=1)
    return Announcement(version=name, uri="somewhere", sha256="0" * 64, trained=trained, metrics={}, created=1)


def started(present=(), versions=(), **more):
    more = {"name": "x", "variants": (A, B)} | more
    known = {v: version(v) for v in versions}
    return begin(Definition(**more), {e.definition.name: e for e in present}, LISTS, known, 5)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"variants": (A, A)}, "variants of different names"),
        ({"start": 5, "end": 5}, "a start before the end"),
        ({"learning": "isolated", "unit": "session"}, "users as units"),
        ({"method": "interleave", "variants": (A, B, Variant(name="c"))}, "two variants that learn together"),
        ({"method": "bandit", "metric": "revenue", "unit": "session"}, "successes and failures"),
        ({"method": "bandit"}, "sessions as units for a bandit"),
        ({"method": "interleave", "guardrails": (Guardrail(metric="ctr"),)}, "neither guardrails nor forced"),
        ({"learning": "isolated", "start": 9}, "from the beginning"),
        ({"salt": "holdout"}, "a salt that no other split uses"),
        ({"salt": "layer/l"}, "a salt that no other split uses"),
        ({"salt": "model/v1"}, "a salt that no other split uses"),
        ({"name": "holdout"}, "a salt that no other split uses"),
        ({"guardrails": (Guardrail(metric="ctr"), Guardrail(metric="ctr"))}, "one guardrail a metric"),
        ({"variants": (A, Variant(name="b", sources=("knm",)))}, r"\(deep, knn, mf\), got knm in the sources of b"),
        ({"variants": (A, Variant(name="b", sources=()))}, "at least one source"),
        ({"variants": (A, Variant(name="b", blend=BlendChange(add={"x": 1.0})))}, "got x in the blend of b"),
        ({"variants": (A, Variant(name="b", model="v9"))}, r"\(none, v1\), got v9 in the model of b"),
        ({"forced": {"u": "c"}}, r"\(a, b\), got c in the `forced` variants"),
        ({"learning": "isolated", "variants": tuple(Variant(name=n) for n in "abcde")}, "at most 4 variants .* got 5"),
        ({"layer": "l", "layer_share": 0.0}, "lower `layer_share`"),
        ({"layer_share": 0.5}, "a `layer` where there is a `layer_share`"),
        ({"holdout": 1.0}, "a holdout that leaves a millionth"),
        ({"holdout": 0.9999999}, "a holdout that leaves a millionth .* got 0.9999999"),
        ({"variants": (Variant(name="a", weight=0), B)}, "units for the first variant"),
        ({"method": "bandit", "unit": "session", "variants": (A, Variant(name="b", weight=0))}, "two variants or more"),
        ({"variants": (A, Variant(name="b", model="none", sources=("deep",)))}, "deep alone, and `model: none`"),
        ({"context": {"device": ()}}, "for device, got none, which no event has"),
        ({"clicks": ()}, "event types in `clicks`, of which ctr is made"),
        ({"clicks": (), "metric": "conversion", "guardrails": (Guardrail(metric="ctr"),)}, "`clicks`, of which ctr is"),
        ({"clicks": (), "conversions": (), "metric": "hr@20"}, "in `clicks` or `conversions`, of which hr@20 is made"),
        ({"conversions": (), "metric": "revenue"}, "event types in `conversions`, of which revenue is made"),
        ({"clicks": ("click", "impression")}, "can count as such, got 'impression'"),
        ({"clicks": ("return",)}, "can count as such, got 'return'"),
        ({"conversions": ("",)}, "can count as such, got ''"),
        ({"method": "interleave", "metric": "revenue"}, "clicks as what is judged .* got revenue"),
        ({"variants": (A, Variant(name="b", model=""))}, "got '' in the model of b"),
        ({"variants": (A, Variant(name="b", weight=1e-9))}, "a millionth of all units or more .* got less for b"),
        ({"variants": (Variant(name="a", weight=0), Variant(name="b", weight=0))}, "units for the first variant"),
        ({"traffic": 1e-7}, "got less for a, b"),
    ],
)
def test_refused(more, message):
    with pytest.raises(InputError, match=message):
        started(versions=("v1",), **more)


def test_what_looks_odd_but_can_be_is_allowed():
    """A pause before the first ramp, a guardrail on the primary metric, one metric without the other's events, returns as conversions."""
    assert not started(traffic=0.0).ranges[0][0]
    assert started(variants=(A, Variant(name="b", weight=0))).ranges == (("a", BUCKETS),)
    assert started(guardrails=(Guardrail(metric="ctr"),), conversions=())
    assert started(metric="conversion", clicks=(), conversions=("return",))
    assert started(variants=(A, Variant(name="A")), holdout=0.9, layer="l", layer_share=0.01)


def test_a_record_that_a_broker_would_not_take_is_refused():
    """A million bytes are its limit; what later ramps add has to fit too."""
    many = tuple(f"{n:0>200}" for n in range(1_000))
    denied = [Variant(name=f"v{n}", filters=FilterChange(deny_items=many)) for n in range(5)]
    with pytest.raises(InputError, match="so that a broker takes it, got 1,0"):
        started(variants=tuple(denied))
    assert len(msgspec.json.encode(started(variants=tuple(denied[:4])))) > 800_000


def test_a_ramp_leaves_no_variant_of_some_weight_without_units():
    with pytest.raises(InputError, match="got less for b"):
        ramp(started(), {"a": 1e9, "b": 0.1}, None, 7)
    assert ramp(started(), {}, 0.0, 7).ranges == ((None, BUCKETS),)


def test_an_end_that_is_over_is_refused():
    with pytest.raises(InputError, match=r"an end that is still to come, got 1970-01-01 00:00:00 UTC \(`end`\)"):
        started(end=5)
    assert started(end=6).definition.end == 6


def test_only_what_was_stopped_may_be_forgotten():
    with pytest.raises(InputError, match="x, which runs; `headrace experiment stop x` first"):
        check_over(started())
    check_over(stop(started(), 9))


EXPLORES = Variant(name="b", explore=0.1)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, {}, "a name that no experiment has had, got 'x', which runs"),
        ({"variants": (A, EXPLORES)}, {"name": "y", "variants": (A, EXPLORES)}, "explore, as x does"),
        ({"salt": "s"}, {"name": "y", "salt": "s"}, "a salt of its own"),
        ({"method": "interleave"}, {"name": "y", "method": "interleave"}, "explore, as x does"),
        ({"variants": (A, EXPLORES)}, {"name": "y", "method": "interleave"}, "explore, as x does"),
        ({"layer": "l"}, {"name": "y", "layer": "l", "unit": "session"}, "use another layer"),
        ({"layer": "l", "layer_share": 0.7}, {"name": "y", "layer": "l", "layer_share": 0.5}, "at most 0.3"),
        ({"learning": "isolated"}, {"name": "y", "learning": "isolated"}, "one experiment at a time"),
        (
            {"learning": "isolated", "layer": "l", "layer_share": 0.5},
            {
                "name": "y",
                "learning": "isolated",
                "layer": "l",
                "layer_share": 0.5,
                "variants": (A, B, Variant(name="c")),
            },
            r"at most 4 variants that learn apart \(`isolated_arms`\), .* got 3 beside 2 that run",
        ),
    ],
)
def test_refused_beside_another(first, second, message):
    with pytest.raises(InputError, match=message):
        started([started(**first)], **second)


def test_what_stands_in_one_layer_may_change_the_same_thing():
    first = started(layer="l", layer_share=0.5, variants=(A, EXPLORES))
    second = started([first], name="y", layer="l", layer_share=0.5, variants=(A, EXPLORES))
    assert (first.slot, second.slot) == ((0, BUCKETS // 2), (BUCKETS // 2, BUCKETS))


def test_a_slot_between_others_is_found_again():
    one = started(layer="l", layer_share=0.25)
    two = started([one], name="two", layer="l", layer_share=0.5)
    gone = stop(one, 6)
    three = started([gone, two], name="three", layer="l", layer_share=0.2)
    assert three.slot == (0, 200_000)


def test_versions_that_variants_name_are_kept_with_it():
    found = started(versions=("v1", "v2"), variants=(Variant(name="a", model="none"), Variant(name="b", model="v2")))
    assert list(found.models) == ["v2"]


def test_a_ramp_is_kept_and_refuses_what_is_unknown():
    e = started(traffic=0.1)
    grown = ramp(e, {"b": 3}, 1.0, 2)
    assert [r.since for r in grown.ramps] == [5, 6]
    assert grown.definition.variants[1].weight == 3.0
    assert grown.changed == 6
    with pytest.raises(InputError, match=r"variants of x \(a, b\), got c"):
        ramp(e, {"c": 1}, None, 7)
    for weights, message in (({"a": 0, "b": 0}, "sum to more than 0"), ({"a": 1e12}, "weights from 0 to 1e9")):
        with pytest.raises(InputError, match=message):
            ramp(e, weights, None, 7)
    assert ramp(e, {"a": 0}, None, 7).ranges[0][0] == "b"


@pytest.mark.parametrize("n", [2, 10, 20])
def test_a_record_stays_small_however_often_it_is_ramped(n):
    rng = random.Random(n)
    names = [f"variant-number-{i}" for i in range(n)]
    e = started(variants=tuple(Variant(name=name) for name in names))
    for step in range(1_000):
        pair = rng.sample(names, 2)
        e = ramp(e, {name: round(rng.uniform(0.9, 1.1), 3) for name in pair}, None, 10 + step)
        assert len(msgspec.json.encode(e)) < 64_000
    assert e.ramps[-1].number == 1_000
    assert [r.number for r in e.ramps] == list(range(e.ramps[0].number, 1_001))
    assert len(e.ramps) >= 5


def test_what_was_stopped_stays_stopped():
    over = stop(started(), 9, by="guard", reason="ctr fell")
    assert (over.state, over.by, over.reason, over.changed) == ("stopped", "guard", "ctr fell", 9)
    with pytest.raises(InputError, match="an experiment that runs"):
        ramp(over, {"a": 2}, None, 10)
    with pytest.raises(InputError, match="an experiment that runs"):
        stop(over, 10)
    with pytest.raises(InputError, match="can still be read out"):
        started([over])
