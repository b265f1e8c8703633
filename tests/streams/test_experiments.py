"""Experiments in the path: who is in which variant, what a variant changes, and what is said of it."""

from __future__ import annotations

from collections import Counter, defaultdict

import msgspec
import numpy as np
import pytest

from streams.contracts.events import Source
from streams.contracts.experiments import BlendChange, Definition, Experiment, FilterChange, Variant
from streams.experiment_rules import begin, ramp, stop
from streams.pipeline import Pipeline
from streams.scoring import explore
from tests import versions
from tests.worlds import shop_log

LISTS = Pipeline().knowledge.lists


def experiment(name: str = "x", present: dict[str, Experiment] | None = None, **more) -> Experiment:
    variants = more.pop("variants", (Variant(name="control"), Variant(name="new")))
    arms = more.pop("arms", 4)
    return begin(Definition(name=name, variants=variants, **more), present or {}, LISTS, {}, 1, arms)


def play(log, *experiments: Experiment, batch=1, pipeline: Pipeline | None = None):
    pipeline = pipeline or Pipeline()
    pipeline.experiments.run(experiments)
    outcomes = []
    for at in range(0, len(log), batch):
        outcomes += pipeline.process([(e, Source(0, at + i)) for i, e in enumerate(log[at : at + batch])])
    pipeline.finish()
    return pipeline, outcomes


def variants_by_user(outcomes, name="x"):
    found = defaultdict(set)
    for o in outcomes:
        of = {e.name: e.variant for e in o.recommendation.experiments}
        found[o.event.user_id].add(of.get(name))
    return found


LOG = shop_log(300, users=40)


def test_a_user_stays_in_one_variant_and_every_list_says_which():
    _, outcomes = play(LOG, experiment())
    found = variants_by_user(outcomes)
    assert all(len(v) == 1 for v in found.values())
    assert {v for vs in found.values() for v in vs} == {"control", "new"}
    for o in outcomes:
        [exposure] = o.recommendation.experiments
        assert o.recommendation.experiment == exposure
        assert exposure.share == 0.5


def test_an_experiment_that_changes_nothing_changes_no_list():
    plain = [[i.item_id for i in o.recommendation.items] for o in play(LOG)[1]]
    under = [[i.item_id for i in o.recommendation.items] for o in play(LOG, experiment())[1]]
    assert under == plain


def test_replay_is_the_same_whatever_the_cut():
    one, many = (play(LOG, experiment(variants=EXPLORING), batch=b)[1] for b in (1, 64))
    assert [o.recommendation for o in one] == [o.recommendation for o in many]


EXPLORING = (Variant(name="control"), Variant(name="new", explore=0.5))


def test_exploring_says_how_likely_the_first_place_was():
    _, outcomes = play(LOG, experiment(variants=EXPLORING))
    moved = []
    for o in outcomes:
        r = o.recommendation
        if r.experiment.variant == "control":
            assert r.propensity is None
            continue
        first, *rest = r.items
        moved.append(first.place > 0)
        assert 0 < r.propensity <= 1
        assert (r.propensity > 0.5) == (first.place == 0)
        before = [*rest[: first.place], first, *rest[first.place :]]
        assert [i.score for i in before] == sorted((i.score for i in before), reverse=True)
        assert all(i.place is None for i in rest)
        assert len({i.item_id for i in r.items}) == len(r.items)
    assert 0.3 < np.mean(moved) < 0.6


def test_propensities_are_frequencies():
    """Each item of the list comes first about as often as its propensity says."""
    pipeline, _ = play(LOG)
    state = pipeline.sessions.peek(LOG[-1].user_id)
    counts: Counter[str] = Counter()
    told: dict[str, float] = {}
    x = pipeline.scorer.candidates.buffer()
    draws = 4_000
    for n in range(draws):
        ranked = pipeline.scorer.rank(state, pipeline.knowledge.now_ms, 20, x, None)
        _, propensity = explore(ranked, 0.3, f"draw {n}")
        first = pipeline.knowledge.items.ids[ranked.rows[0]]
        counts[first] += 1
        told[first] = propensity
    assert sum(told.values()) == pytest.approx(1.0)
    for item, n in counts.items():
        assert abs(n - draws * told[item]) < 5 * (draws * told[item]) ** 0.5


def test_sources_that_are_left_out_name_nothing():
    only = (Variant(name="control", sources=("knn", "again")), Variant(name="new", sources=("following",)))
    _, outcomes = play(LOG, experiment(variants=only))
    for o in outcomes[50:]:
        allowed = {"control": {"knn", "again"}, "new": {"following"}}[o.recommendation.experiment.variant]
        assert {i.source for i in o.recommendation.items if i.source != "fill"} <= allowed | fills(o)


def fills(outcome):
    """What fills a list up is no source."""
    return {i.source for i in outcome.recommendation.items if i.score == outcome.recommendation.items[-1].score}


def test_denied_items_are_not_listed_and_others_see_them():
    denied = tuple(f"i{n}" for n in range(30))
    variants = (Variant(name="control"), Variant(name="new", filters=FilterChange(deny_items=denied)))
    _, outcomes = play(LOG, experiment(variants=variants))
    shown = defaultdict(set)
    for o in outcomes:
        shown[o.recommendation.experiment.variant] |= {i.item_id for i in o.recommendation.items}
    assert not shown["new"] & set(denied)
    assert shown["control"] & set(denied)


def test_consumed_items_by_variant():
    variants = (Variant(name="control"), Variant(name="new", filters=FilterChange(consumed="all")))
    _, outcomes = play(LOG, experiment(variants=variants))
    seen = defaultdict(set)
    again = Counter()
    for o in outcomes:
        if o.event.event_type != "odd":
            seen[o.event.user_id].add(o.event.item_id)
        again[o.recommendation.experiment.variant] += len(
            {i.item_id for i in o.recommendation.items} & seen[o.event.user_id]
        )
    assert again["new"] == 0 < again["control"]


def test_weights_that_are_added_and_weights_that_stay_at_the_start():
    add = BlendChange(add={LISTS[0]: 50.0})
    _, plain = play(LOG)
    for change in (add, BlendChange(learned=False)):
        variants = (Variant(name="control"), Variant(name="new", blend=change))
        _, outcomes = play(LOG, experiment(variants=variants))
        for o, p in zip(outcomes, plain, strict=True):
            same = [i.item_id for i in o.recommendation.items] == [i.item_id for i in p.recommendation.items]
            assert same or o.recommendation.experiment.variant == "new"
        differ = sum(o.recommendation.items != p.recommendation.items for o, p in zip(outcomes, plain, strict=True))
        assert differ > 50


def test_two_layers_are_both_named_and_independent():
    first = experiment("first", layer="ranking")
    second = experiment("second", {"first": first}, variants=EXPLORING)
    _, outcomes = play(shop_log(600, users=400), first, second)
    pairs = Counter()
    for o in outcomes:
        assert [e.name for e in o.recommendation.experiments] == ["first", "second"]
        pairs[tuple(e.variant for e in o.recommendation.experiments)] += 1
    assert len(pairs) == 4


def test_experiments_of_one_layer_share_no_unit():
    first = experiment("first", layer="l", layer_share=0.4)
    second = experiment("second", {"first": first}, layer="l", layer_share=0.6)
    assert (first.slot, second.slot) == ((0, 400_000), (400_000, 1_000_000))
    _, outcomes = play(LOG, first, second)
    assert all(len(o.recommendation.experiments) == 1 for o in outcomes)
    assert {e.name for o in outcomes for e in o.recommendation.experiments} == {"first", "second"}


def test_holdout_traffic_context_and_times():
    held = experiment("held", holdout=0.5)
    both = experiment("both", {}, salt="other", holdout=0.5)
    part = experiment("part", traffic=0.3)
    tv = experiment("tv", context={"device": ("tv",)})
    middle = LOG[150].timestamp
    timed = experiment("timed", start=middle, end=LOG[250].timestamp)
    for e in (held, part, tv, timed, both):
        _, outcomes = play(LOG, e)
        within = [o for o in outcomes if o.recommendation.experiments]
        users = {o.event.user_id for o in within}
        if e is held:
            in_held = users
        elif e is both:
            assert users == in_held
        elif e is part:
            assert 0 < len(users) < 20
        elif e is tv:
            assert {o.event.context["device"] for o in within} == {"tv"}
            assert len(within) == sum(o.event.context["device"] == "tv" for o in outcomes)
        else:
            assert {o.event.event_id for o in within} == {
                o.event.event_id for o in outcomes if middle <= o.event.timestamp < LOG[250].timestamp
            }
    assert 0 < len(in_held) < 40


def test_session_units():
    _, outcomes = play(shop_log(400, users=3, baskets=False), experiment(unit="session"))
    sessions = defaultdict(set)
    for o in outcomes:
        [exposure] = o.recommendation.experiments
        assert exposure.unit.startswith(f"{o.event.user_id}/")
        sessions[exposure.unit].add(exposure.variant)
    assert all(len(v) == 1 for v in sessions.values())
    assert len(sessions) > 20
    assert len({u.partition("/")[0] for u in sessions}) == 3


def test_a_ramp_moves_nobody_out_of_who_grows_and_a_stop_ends_it():
    e = experiment(variants=(Variant(name="control", weight=90), Variant(name="new", weight=10)))
    before = variants_by_user(play(LOG, e)[1])
    grown = ramp(e, {"control": 50, "new": 50}, None, 2)
    after = variants_by_user(play(LOG, grown)[1])
    assert all(after[user] == {"new"} for user, found in before.items() if found == {"new"})
    assert Counter(map(str, after.values())) != Counter(map(str, before.values()))
    assert all(not o.recommendation.experiments for o in play(LOG, stop(grown, 3))[1])


def test_requests_without_an_event_are_made_under_the_same_variant():
    pipeline, outcomes = play(LOG, experiment(variants=EXPLORING), experiment("tv", {}, context={"device": ("tv",)}))
    variants = variants_by_user(outcomes)
    for user, found in variants.items():
        made = pipeline.recommend(user, 20)
        assert {made.experiment.variant} == found
        assert len(made.experiments) == 1  # what asks for a context takes no part
    assert pipeline.recommend("nobody yet", 20).experiment.name == "x"


def test_a_variant_with_its_own_version_waits_until_the_version_is_here(tmp_path):
    ids = [f"i{n}" for n in range(60)]
    pipeline, _ = play(LOG)
    vectors = versions.vectors_of([n % 4 for n in range(60)])
    made = versions.version(tmp_path / "v1", pipeline.knowledge.items, ids, vectors)
    waiting = msgspec.structs.replace(
        experiment(variants=(Variant(name="control", model="none"), Variant(name="new", model="none"))),
        models={made.name: None},
    )
    new = msgspec.structs.replace(waiting.definition.variants[1], model=made.name)
    waiting = msgspec.structs.replace(
        waiting, definition=msgspec.structs.replace(waiting.definition, variants=(waiting.definition.variants[0], new))
    )
    pipeline.experiments.run([waiting])
    users = sorted({e.user_id for e in LOG})
    assert all(pipeline.recommend(u, 20).experiment is None for u in users)
    pipeline.versions.hold({made.name: made})
    found = {(r.experiment.variant, r.model.version) for r in (pipeline.recommend(u, 20) for u in users)}
    assert found == {("control", "1"), ("new", f"1+{made.name}")}


@pytest.mark.parametrize("unit", ["user", "session"])
def test_testers_get_the_variant_that_they_are_given(unit):
    """In all of their sessions."""
    users = sorted({e.user_id for e in LOG})
    forced = dict.fromkeys(users[:10], "new")
    _, outcomes = play(LOG, experiment(unit=unit, traffic=0.2, holdout=0.1, forced=forced))
    for o in outcomes:
        told = [(e.variant, e.forced) for e in o.recommendation.experiments]
        assert told == [("new", True)] if o.event.user_id in forced else not any(f for _, f in told)


POPULAR = (Variant(name="control"), Variant(name="popular", sources=("popular-100",)))


def test_interleaved_lists_are_drafted_from_both_variants():
    pipeline, outcomes = play(shop_log(500, users=30), experiment(variants=POPULAR, method="interleave"))
    users = sorted({o.event.user_id for o in outcomes})
    shared = {u: pipeline.recommend(u, 20) for u in users}
    own = {}
    for variant in POPULAR:
        pipeline.experiments.run([experiment(variants=(variant, Variant(name="z", weight=1e-6)))])
        own[variant.name] = {u: [i.item_id for i in pipeline.recommend(u, 20).items] for u in users}
    for user, r in shared.items():
        assert (r.experiment.variant, r.experiment.share) == ("interleaved", 1.0)
        assert 0 < r.propensity <= 1
        assert len({i.item_id for i in r.items}) == 20
        whose = [i.variant for i in r.items]
        picked = whose.index(None) if None in whose else 20
        assert all(set(whose[n : n + 2]) == {"control", "popular"} for n in range(0, picked - picked % 2, 2))
        for variant, lists in own.items():
            mine = [i.item_id for i in r.items if i.variant == variant]
            assert mine == [i for i in lists[user] if i in mine]
            assert picked == 20 or len(mine) >= 9
    firsts = Counter(o.recommendation.items[0].variant for o in outcomes)
    assert 200 < firsts["control"] < 300 > firsts["popular"] > 200


def test_an_experiment_that_this_worker_cannot_do_is_left_out_and_told(caplog):
    elsewhere = (Variant(name="control"), Variant(name="new", sources=("popular-500",)))
    other = (Variant(name="control"), Variant(name="new", blend=BlendChange(add={"popular-500": 1.0})))
    for variants in (elsewhere, other):
        e = begin(Definition(name="x", variants=variants), {}, (*LISTS, "popular-500"), {}, now_ms=1)
        _, outcomes = play(LOG[:50], e)
        assert not any(o.recommendation.experiments for o in outcomes)
    assert caplog.text.count("expected lists that are known here, got popular-500") == 2


def test_exposures_say_which_ramp_and_which_share():
    e = ramp(
        experiment(variants=(Variant(name="control", weight=3), Variant(name="new", weight=1))), {"new": 2}, 0.5, 9
    )
    told = {
        (x.variant, round(x.share, 6), x.ramp) for o in play(LOG, e)[1] for x in o.recommendation.experiments
    }  # fmt: skip
    assert told == {("control", 0.3, 1), ("new", 0.2, 1)}
