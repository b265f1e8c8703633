"""Variants that learn apart: each from its own units, on every worker alike, through restarts and compactions."""

from __future__ import annotations

import numpy as np

from streams.config import PipelineConfig
from streams.contracts.events import Source
from streams.contracts.experiments import Experiment, Variant
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
    assert set(arms) == {"x/control", "x/new"}
    of = {o.event.user_id: o.recommendation.experiment.variant for o in outcomes}
    assert all(o.interaction.variant == f"x/{of[o.event.user_id]}" for o in outcomes)
    for name, arm in arms.items():
        alone = Pipeline()
        mine = [(n, e) for n, e in enumerate(log) if f"x/{of[e.user_id]}" == name]
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
    assert set(again.knowledge.arms) == {"x/control", "x/new"}
    again.run_experiments([learning_apart(3, 1)])
    again.sessions = halved.sessions
    for arm in ("x/control", "x/new"):
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
