"""Variants that learn apart: each from its own units, on every worker alike, through restarts and compactions."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import msgspec
import numpy as np

from online_models.items import hash_id
from streams.config import PipelineConfig
from streams.contracts.events import Source
from streams.contracts.experiments import Experiment, Variant
from streams.experiment_feed import ExperimentFeed
from streams.models import Models, state_of
from streams.pipeline import Pipeline
from tests.streams.test_experiments import experiment, play
from tests.worlds import shop_log


def learning_apart(*weights: float) -> Experiment:
    variants = tuple(Variant(name=n, weight=w) for n, w in zip(("control", "new"), weights, strict=True))
    return experiment(variants=variants, learning="isolated")


def test_arms_learn_only_from_their_own_units():
    log = shop_log(600, users=40, baskets=False)
    pipeline = Pipeline()
    pipeline.run_experiments([learning_apart(1, 1)])
    outcomes = pipeline.process([(e, Source(0, n)) for n, e in enumerate(log)])
    arms = pipeline.knowledge.arms
    assert set(arms) == {"x/control@1", "x/new@1"}
    of = {o.event.user_id: o.recommendation.experiment.variant for o in outcomes}
    assert all(o.interaction.variant == f"x/{of[o.event.user_id]}@1" for o in outcomes)
    for name, arm in arms.items():
        alone = Pipeline()
        mine = [(n, e) for n, e in enumerate(log) if f"x/{of[e.user_id]}@1" == name]
        alone.process([(e, Source(0, n)) for n, e in mine])
        seen = {e.item_id for _, e in mine}
        rows = {i: arm.items.row(i) for i in seen}
        theirs = {i: alone.knowledge.items.row(i) for i in seen}
        ours = {i: float(arm.following.total[rows[i]]) for i in seen}
        assert ours == {i: float(alone.knowledge.following.total[theirs[i]]) for i in seen}
        assert int(arm.blend.updates.sum()) < int(pipeline.knowledge.blend.updates.sum())


def test_an_arm_begins_with_what_everybody_knows_and_ends_without_a_trace():
    log = shop_log(400, users=20)
    pipeline, _ = play(log[:200])
    pipeline.run_experiments([learning_apart(1, 1)])
    users = sorted({e.user_id for e in log[:200]})
    fresh = Pipeline()
    fresh.restore({k: v.copy() for k, v in pipeline.snapshot().items()})
    first = {u: [i.item_id for i in pipeline.recommend(u, 20).items] for u in users}
    pipeline.run_experiments([])
    assert not pipeline.knowledge.arms
    assert {u: [i.item_id for i in pipeline.recommend(u, 20).items] for u in users} == first


def test_arms_survive_a_restart():
    log = shop_log(500, users=20, baskets=False)
    pairs = [(e, Source(0, n)) for n, e in enumerate(log)]
    whole, halved = Pipeline(), Pipeline()
    for pipeline in (whole, halved):
        pipeline.run_experiments([learning_apart(3, 1)])
        pipeline.process(pairs[:300])
    again = Pipeline()
    again.restore({k: v.copy() for k, v in halved.snapshot().items()})
    assert set(again.knowledge.arms) == {"x/control@1", "x/new@1"}
    again.run_experiments([learning_apart(3, 1)])
    again.sessions = halved.sessions
    for arm in ("x/control@1", "x/new@1"):
        states = [p.knowledge.arms[arm].model_parts() for p in (halved, again)]
        for part, model in states[0].items():
            for field, array in model.snapshot().items():
                assert np.array_equal(array, states[1][part].snapshot()[field]), (arm, part, field)


def test_another_worker_knows_the_arms_from_the_interactions():
    log = shop_log(400, users=20, baskets=False)
    one, other = Pipeline(), Pipeline()
    for pipeline in (one, other):
        pipeline.run_experiments([learning_apart(1, 1)])
    for o in one.process([(e, Source(0, n)) for n, e in enumerate(log)]):
        other.learn(o.interaction)
    for arm in one.knowledge.arms:
        a, b = (p.knowledge.arms[arm] for p in (one, other))
        assert np.array_equal(a.blend.weights, b.blend.weights)
        assert np.array_equal(a.factors.vectors[: len(a.items)], b.factors.vectors[: len(b.items)])


def test_the_item_table_may_be_compacted_under_arms():
    pipeline = Pipeline(PipelineConfig(max_items=40))
    pipeline.run_experiments([learning_apart(1, 1)])
    outcomes = pipeline.process([(e, Source(0, n)) for n, e in enumerate(shop_log(800, users=20))])
    assert pipeline.knowledge.items.generation > 0
    assert all(o.recommendation.items for o in outcomes)


def begun(**more) -> Pipeline:
    """A pipeline that has learned a little, with two arms since then."""
    pipeline, _ = play(LOG[:200])
    pipeline.run_experiments([learning_apart(1, 1)], **more)
    return pipeline


LOG = shop_log(500, users=20, baskets=False)


def test_each_models_steps_are_proposed_by_themselves():
    """An arm's models go their own way: what they ask for is nobody else's step, and nobody else's is theirs."""
    pipeline = begun()
    k = pipeline.knowledge
    for n, arm in enumerate(k.arms.values()):
        arm.factors.vectors *= -1.0 - n
        arm.blend.weights += np.random.default_rng(n).normal(0.0, 0.3, arm.blend.weights.shape).astype(np.float32)
    seen = 0
    stepped: Counter[str] = Counter()
    for n, event in enumerate(LOG[200:], 200):
        state, row = pipeline.sessions.peek(event.user_id), k.items.row(event.item_id)
        expected = {}
        if state is not None and row >= 0:
            recent = state.recent(event.timestamp, k.reach)[0]
            for name, models in {"": k, **k.arms}.items():
                expected[name] = models.factors.propose(state.vector, recent, row, hash_id(event.event_id))[1].tobytes()
        before = {name: models.blend.weights.copy() for name, models in {"": k, **k.arms}.items()}
        made = pipeline.process([(event, Source(0, n))])[0].interaction
        if expected and made.weight > 0.0:
            assert made.deltas["mf"].data == expected[""]
            assert made.deltas["apart/mf"].data == expected[made.variant]
            assert len(set(expected.values())) == 3
        if "blend" in made.deltas:
            seen += 1
            assert made.deltas["blend"].data != made.deltas["apart/blend"].data
            moved = {name for name, models in {"": k, **k.arms}.items() if (models.blend.weights != before[name]).any()}
            assert moved <= {"", made.variant}
            stepped.update(moved)
    assert seen > 50
    assert min(stepped[name] for name in ("", "x/control@1", "x/new@1")) > 10


def test_an_arms_lists_are_made_by_its_models_and_everybodys_by_theirs():
    pipeline, same = begun(), begun()
    pipeline.knowledge.arms["x/new@1"].blend.weights *= -1.0
    users = sorted({e.user_id for e in LOG})
    differ = set()
    for user in users:
        one, other = (p.recommend(user, 20) for p in (pipeline, same))
        if [i.item_id for i in one.items] != [i.item_id for i in other.items]:
            differ.add(user)
    assert differ == {u for u in users if same.recommend(u, 20).experiment.variant == "new"}
    fresh = [
        (o.event, o.fresh)
        for p in (pipeline, same)
        for o in p.process([(e, Source(0, 200 + n)) for n, e in enumerate(LOG[200:215])])
    ]
    first = {}
    for (event, one), (_, other) in zip(fresh[:15], fresh[15:], strict=True):
        if event.user_id not in first:
            first[event.user_id] = one != other
    assert first == {user: user in differ for user in first}
    pipeline.run_experiments([])
    assert [i.item_id for i in pipeline.recommend(users[0], 20).items]


def test_new_arms_are_made_step_by_step_while_others_learn():
    """Items that come meanwhile are known in the arm too, and its units wait for it."""
    pipeline = begun(at_once=False)
    before = pipeline.experiments.metrics({})
    assert (before["running"], before["waiting"]) == (1.0, 1.0)
    at, works = 200, 0
    while (work := pipeline.arms.make()) is not None:
        event = msgspec.structs.replace(
            LOG[at % 400], event_id=f"n{at}", item_id=f"new-{at}", timestamp=LOG[399].timestamp + at
        )
        [outcome] = pipeline.process([(event, Source(0, at))])
        waits = len(pipeline.knowledge.arms) < 2
        assert (outcome.recommendation.experiment is None) == waits
        work()
        at, works = at + 1, works + 1
    assert works > 40
    assert set(pipeline.knowledge.arms) == {"x/control@1", "x/new@1"}
    assert pipeline.experiments.metrics({})["waiting"] == 0.0
    k = pipeline.knowledge
    for arm in k.arms.values():
        n = len(k.items)
        assert (np.abs(arm.factors.vectors[:n]).sum(axis=1) > 0).all()
    outcomes = pipeline.process([(e, Source(0, at + n)) for n, e in enumerate(LOG[200:])])
    assert all(o.recommendation.experiment is not None for o in outcomes)


def test_a_copy_is_what_everybodys_models_are():
    pipeline = begun()
    for arm in pipeline.knowledge.arms.values():
        theirs, ours = (state_of(m.model_parts()) for m in (pipeline.knowledge, arm))
        assert theirs.keys() == ours.keys()
        assert all(np.array_equal(theirs[name], ours[name]) for name in theirs)


def test_the_item_table_may_be_compacted_while_arms_are_made():
    pipeline = Pipeline(PipelineConfig(max_items=40))
    log = shop_log(1_000, users=20)
    pipeline.process([(e, Source(0, n)) for n, e in enumerate(log[:100])])
    pipeline.run_experiments([learning_apart(1, 1)], at_once=False)
    for n, e in enumerate(log[100:800], 100):
        if n % 7 == 0 and (work := pipeline.arms.make()) is not None:
            work()
        pipeline.process([(e, Source(0, n))])
    assert pipeline.knowledge.items.generation > 0
    while (work := pipeline.arms.make()) is not None:
        work()
    assert len(pipeline.knowledge.arms) == 2
    assert all(
        o.recommendation.items for o in pipeline.process([(e, Source(0, 800 + n)) for n, e in enumerate(log[800:])])
    )


def test_no_more_arms_than_a_worker_is_to_hold(caplog):
    five = experiment(variants=tuple(Variant(name=f"v{n}") for n in range(5)), arms=5, learning="isolated")
    pipeline = Pipeline()
    pipeline.run_experiments([five])
    assert pipeline.knowledge.arms == {}
    assert pipeline.recommend("u1", 5).experiment is None
    assert "experiment x is left out: expected at most 4 variants that learn apart (`isolated_arms`)" in caplog.text
    more = Pipeline(PipelineConfig(isolated_arms=5))
    more.run_experiments([five])
    assert len(more.knowledge.arms) == 5


def test_arms_that_are_not_wanted_any_more_are_not_made():
    pipeline = begun(at_once=False)
    pipeline.arms.make()()
    pipeline.run_experiments([], at_once=False)
    assert pipeline.arms.make() is None
    assert pipeline.knowledge.arms == {}


def relearned(interactions, running=()) -> Pipeline:
    """What a worker that begins without a snapshot knows: the topic from its beginning, and the experiments that run now."""
    again = Pipeline()
    again.run_experiments(running, at_once=False)
    again.knowledge.recovering = True
    for interaction in interactions:
        again.learn(interaction)
    again.knowledge.recovering = False
    assert again.arms.make() is None
    return again


def same(one: Models, other: Models) -> bool:
    found = state_of(other.model_parts())
    return all(np.array_equal(array, found[name]) for name, array in state_of(one.model_parts()).items())


def test_arms_come_up_as_they_were_where_all_is_learned_again():
    """They began in the middle of the log; what everybody learned later is none of theirs."""
    pipeline = Pipeline()
    made = [o.interaction for o in pipeline.process([(e, Source(0, n)) for n, e in enumerate(LOG[:200])])]
    pipeline.run_experiments([learning_apart(3, 1)])
    made += [o.interaction for o in pipeline.process([(e, Source(0, n)) for n, e in enumerate(LOG[200:], 200)])]
    again = relearned(made, [learning_apart(3, 1)])
    assert set(again.knowledge.arms) == set(pipeline.knowledge.arms) == {"x/control@1", "x/new@1"}
    for name, arm in pipeline.knowledge.arms.items():
        assert same(arm, again.knowledge.arms[name]), name
        assert not same(arm, pipeline.knowledge)
    again.sessions = pipeline.sessions
    for user in sorted({e.user_id for e in LOG}):
        one, other = (p.recommend(user, 20) for p in (pipeline, again))
        assert one == other


def test_arms_of_an_experiment_of_the_same_name_are_others():
    """The one that was deleted has taught nothing to those of the one that runs."""
    pipeline = Pipeline()
    pipeline.run_experiments([learning_apart(1, 1)])
    old = [o.interaction for o in pipeline.process([(e, Source(0, n)) for n, e in enumerate(LOG[:200])])]
    another = msgspec.structs.replace(learning_apart(1, 1), created=9)
    pipeline.run_experiments([another])
    assert set(pipeline.knowledge.arms) == {"x/control@9", "x/new@9"}
    assert all(same(arm, pipeline.knowledge) for arm in pipeline.knowledge.arms.values())
    new = [o.interaction for o in pipeline.process([(e, Source(0, n)) for n, e in enumerate(LOG[200:300], 200)])]
    again = relearned([*old, *new], [another])
    for name, arm in pipeline.knowledge.arms.items():
        assert same(arm, again.knowledge.arms[name])


def test_a_snapshots_arms_end_with_their_experiment():
    """It was deleted, and the record of that is gone too, while no worker ran."""
    again = Pipeline()
    again.restore({k: v.copy() for k, v in begun().snapshot().items()})
    assert again.knowledge.arms
    feed = ExperimentFeed(Nothing(), partial(again.run_experiments, at_once=False))
    asyncio.run(feed.catch_up())
    assert not again.knowledge.arms
    user = LOG[0].user_id
    assert not again.recommend(user, 20).experiments


class Nothing:
    """A topic without records."""

    async def ends(self) -> dict[int, int]:
        return {0: 0}

    def behind(self, ends: dict[int, int]) -> list[int]:
        return []
