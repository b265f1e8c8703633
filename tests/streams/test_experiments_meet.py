"""Whom experiments are for, and what becomes of others: contexts, testers, workers who read of two that clash, denied items."""

from __future__ import annotations

import msgspec
import pytest

from streams.contracts.experiments import FilterChange, Variant
from tests.streams.test_experiments import EXPLORING, LOG, POPULAR, experiment, play, variants_by_user


@pytest.mark.parametrize(
    ("named", "there", "takes_part"),
    [
        ("true", True, True), ("true", "true", True), ("true", "True", False), ("false", False, True), ("true", 1, False),
        ("1", 1, True), ("1", 1.0, True), ("2.5", 2.5, True), ("tv", "tv", True), ("None", None, False), ("None", "absent", False),
        ("['tv']", ["tv"], False),
    ],
)  # fmt: skip
def test_a_context_is_compared_as_json_writes_it(named, there, takes_part):
    context = {} if there == "absent" else {"device": there}
    event = msgspec.structs.replace(LOG[0], context=context)
    _, [outcome] = play([event], experiment(context={"device": (named,)}))
    assert bool(outcome.recommendation.experiments) == takes_part


def test_a_tester_in_a_draft_and_in_what_explores_gets_the_draft_alone():
    """The forced variant comes whatever layers say; the record has one propensity, which is that of the draft."""
    users = sorted({e.user_id for e in LOG})
    shared = experiment("shared", variants=POPULAR, method="interleave", layer="l", layer_share=0.9)
    explores = experiment(
        "explores", {"shared": shared}, variants=EXPLORING, layer="l", layer_share=0.1, forced=dict.fromkeys(users, "new")
    )  # fmt: skip
    alone, both = (play(LOG, *which)[0] for which in ((shared,), (shared, explores)))
    compared = 0
    for user in users:
        one, other = alone.recommend(user, 20), both.recommend(user, 20)
        if one.experiments:
            compared += 1
            assert (one.items, one.propensity) == (other.items, other.propensity)
            assert {e.name for e in other.experiments} == {"shared", "explores"}
    assert compared > 10


def test_of_two_that_clash_the_later_is_left_out(caplog):
    """Two operators who begin at once do not see each other's: every worker leaves out the same one."""
    first = experiment("b", variants=POPULAR, method="interleave")
    for later, why in (
        (experiment("c", variants=EXPLORING), "explore, as b does"),
        (experiment("c", variants=POPULAR), "sources, as b does"),
        (experiment("c", salt="b"), "'b', as b has"),
    ):
        _, outcomes = play(LOG[:40], later, first)
        assert {e.name for o in outcomes for e in o.recommendation.experiments} == {"b"}
        assert f"experiment c is left out: expected {'changes' if 'does' in why else 'a salt'}" in caplog.text
        assert why in caplog.text
    later = msgspec.structs.replace(experiment("a", variants=POPULAR), created=2)
    for order in (
        [later, first],
        [first, later],
    ):  # when it was begun comes before what it is called, whatever was read first
        _, outcomes = play(LOG[:40], *order)
        assert {e.name for o in outcomes for e in o.recommendation.experiments} == {"b"}
    one, other = (experiment(name, layer="l", layer_share=0.7) for name in "de")
    _, outcomes = play(LOG[:40], one, other)
    assert {e.name for o in outcomes for e in o.recommendation.experiments} == {"d"}
    assert "units of its own in the layer, got some of d's" in caplog.text


def test_what_a_variant_denies_is_denied_to_nobody_else():
    denied = tuple(f"i{n}" for n in range(60))
    variants = (Variant(name="control"), Variant(name="new", filters=FilterChange(deny_items=denied)))
    pipeline, outcomes = play(LOG, experiment(variants=variants))
    assert not pipeline.knowledge.items.blocked[: len(pipeline.knowledge.items)].any()
    variants_of = variants_by_user(outcomes)
    new, control = (next(u for u, found in variants_of.items() if found == {v}) for v in ("new", "control"))
    before = pipeline.recommend(control, 20)
    assert not pipeline.recommend(new, 20).items
    assert pipeline.recommend(control, 20) == before
    assert len(before.items) == 20
