"""An explanation is of the list that would be served, and its parts add up to the score."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest

from online_models.blend import CONTEXT_NAMES
from streams.config import BlendConfig, FilterConfig, PipelineConfig
from streams.contracts.catalogue import Item
from streams.contracts.events import Event, Source
from streams.contracts.experiments import BlendChange, Definition, Variant
from streams.contracts.explanations import Explanation
from streams.experiment_rules import begin
from streams.explain import START, VARIANT, explain, group_of
from streams.pipeline import Pipeline
from tests.worlds import START as T
from tests.worlds import shop_log


def played(config: PipelineConfig | None = None, n: int = 600) -> Pipeline:
    pipeline = Pipeline(config)
    pipeline.process([(e, Source(0, i)) for i, e in enumerate(shop_log(n))])
    return pipeline


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return played()


def check_sums(found: Explanation) -> None:
    assert found.score is not None
    assert found.mean is not None
    assert math.isclose(sum(g.contribution for g in found.groups), found.score, abs_tol=1e-5)
    assert math.isclose(sum(c.contribution for c in found.contexts), found.score, abs_tol=1e-5)
    assert math.isclose(sum(g.above for g in found.groups), found.score - found.mean, abs_tol=1e-5)
    assert math.isclose(sum(abs(g.share) for g in found.groups), 1.0, abs_tol=1e-9)
    for group in found.groups:
        assert math.isclose(sum(f.contribution for f in group.features), group.contribution, abs_tol=1e-9)
        assert math.isclose(sum(f.hidden for f in group.features), group.hidden, abs_tol=1e-9)


@pytest.mark.parametrize("user", ["u0", "u3", "u7", "nobody"])
def test_every_item_of_the_list_is_explained_as_it_is_listed(pipeline: Pipeline, user: str) -> None:
    listed = pipeline.recommend(user, 20)
    assert len(listed.items) == 20
    hidden = 0.0
    for place, item in enumerate(listed.items, 1):
        found = explain(pipeline, user, item.item_id)
        assert (found.rank, found.source, found.reason, found.note) == (place, item.source, item.reason, None)
        assert found.score == pytest.approx(item.score, abs=1e-6)
        assert (found.model, found.timestamp, found.generic) == (listed.model, listed.timestamp, listed.generic)
        check_sums(found)
        hidden += sum(abs(group.hidden) for group in found.groups)
    assert hidden > 0.01, "the hidden units have a share"


def test_candidates_beyond_the_list_have_places_too(pipeline: Pipeline) -> None:
    places = [explain(pipeline, "u1", item).rank for item in pipeline.knowledge.items.ids]
    ranks = sorted(place for place in places if place is not None)
    n = explain(pipeline, "u1", "i1").candidates
    assert ranks == list(range(1, n + 1))
    assert n > 20


def test_without_hidden_units_nothing_comes_through_them() -> None:
    pipeline = played(PipelineConfig(blend=BlendConfig(units=0)), n=200)
    found = explain(pipeline, "u2", pipeline.recommend("u2", 1).items[0].item_id)
    check_sums(found)
    assert not any(group.hidden for group in found.groups)


def test_a_source_has_the_place_in_its_own_list_and_its_features(pipeline: Pipeline) -> None:
    top = pipeline.recommend("u4", 1).items[0].item_id
    found = explain(pipeline, "u4", top)
    by_name = {group.name: group for group in found.groups}
    knn = next(g for name, g in by_name.items() if g.place == 1)
    assert {f.name.partition(".")[0] for f in knn.features} == {knn.name}
    assert by_name["popularity"].place is None
    k = pipeline.knowledge
    assert set(by_name) == {*map(group_of, k.features[: k.beside.first])} - {"other"}
    assert {*map(group_of, k.features[k.beside.first :])} == {"category", "catalogue"}
    assert next(c.name for c in found.contexts) == "always"
    assert {c.name for c in found.contexts} < set(CONTEXT_NAMES)
    assert len(found.contexts) == 8


def test_explaining_changes_nothing() -> None:
    """The list after it, and what is learned after it, are those of a pipeline that was never asked."""
    asked, never = played(n=300), played(n=300)
    for item in ("i1", "i7", "none"):
        explain(asked, "u0", item)
        explain(asked, "somebody", item)
    more = [(e, Source(0, 300 + n)) for n, e in enumerate(shop_log(360)[300:])]
    assert [o.recommendation for o in asked.process(more)] == [o.recommendation for o in never.process(more)]
    for name, array in never.snapshot().items():
        assert np.array_equal(asked.snapshot()[name], array), name


def test_why_an_item_is_no_candidate() -> None:
    pipeline = played(PipelineConfig(filters=FilterConfig(deny_items=("i5",))), n=300)
    assert "not known" in (explain(pipeline, "u0", "never seen").note or "")
    assert "denied" in (explain(pipeline, "u0", "i5").note or "")
    pipeline.catalogue_update("i6", Item(item_id="i6", available=False))
    assert "not available" in (explain(pipeline, "u0", "i6").note or "")
    rated = Event(timestamp=T + 10**9, user_id="u0", item_id="i7", event_type="rating", event_id="r", value=5.0)
    pipeline.on_event(rated, Source(0, 300))
    found = explain(pipeline, "u0", "i7")
    assert "left out for this user" in (found.note or "")
    assert (found.rank, found.score, found.groups, found.contexts) == (None, None, [], [])


def test_an_item_that_no_source_names_fills_up() -> None:
    pipeline = played(n=300)
    running(pipeline, Variant(name="new", sources=("again",)), "shared")
    listed = [item.item_id for item in pipeline.recommend("nobody", 20).items]
    assert len(listed) == 20
    found = explain(pipeline, "nobody", listed[2])
    assert (found.rank, found.note) == (None, "no source names it: it fills up the list at place 3")
    other = next(item for item in pipeline.knowledge.items.ids if item not in listed)
    assert explain(pipeline, "nobody", other).note == "no source names it for this user"


CHANGED = Variant(name="new", blend=BlendChange(learned=False, add={"knn": 2.0}))


def running(pipeline: Pipeline, variant: Variant, learning: Literal["shared", "isolated"]) -> None:
    """An experiment with u0 and nobody in ``variant`` and u1 in the other one, which changes nothing."""
    forced = {"u0": variant.name, "nobody": variant.name, "u1": "control"}
    definition = Definition(name="x", variants=(Variant(name="control"), variant), forced=forced, learning=learning)
    pipeline.run_experiments([begin(definition, {}, pipeline.knowledge.lists, {}, now_ms=1)])


def test_under_an_experiment_it_is_the_variants_weights_that_are_explained() -> None:
    pipeline = played(n=300)
    running(pipeline, CHANGED, "shared")
    listed = pipeline.recommend("u0", 20)
    for item in listed.items:
        found = explain(pipeline, "u0", item.item_id)
        check_sums(found)
        assert found.score == pytest.approx(item.score, abs=1e-6)
        assert [c.name for c in found.contexts] == [START, VARIANT]
        assert found.experiments == listed.experiments
    assert explain(pipeline, "u1", listed.items[0].item_id).contexts[0].name == "always"


def test_where_arms_learn_apart_it_is_the_arms_own_models() -> None:
    pipeline = Pipeline()
    running(pipeline, Variant(name="new", sources=("knn", "following", "popular-1000")), "isolated")
    pipeline.process([(e, Source(0, i)) for i, e in enumerate(shop_log(600))])
    for user in ("u0", "u1"):
        for item in pipeline.recommend(user, 20).items:
            found = explain(pipeline, user, item.item_id)
            check_sums(found)
            assert found.score == pytest.approx(item.score, abs=1e-6)
