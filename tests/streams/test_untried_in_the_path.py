"""New items in the path: they are tried, the lists that they stood in count, and every worker counts the same."""

from __future__ import annotations

import numpy as np

from streams.config import PipelineConfig, SourcesConfig, UntriedConfig
from streams.contracts.events import Event, Source
from streams.explain import BONUS, explain
from streams.pipeline import Pipeline
from tests.streams.test_explain import check_sums
from tests.worlds import START, shop_log


def config(kappa: float = 5.0, bonus: float = 4.0) -> PipelineConfig:
    return PipelineConfig(sources=SourcesConfig(untried=UntriedConfig(kappa, bonus)))


def new_item(pipeline: Pipeline, offset: int, kind: str = "impression") -> None:
    at = START + 10**10 + offset
    event = Event(timestamp=at, user_id="shop", item_id="new", event_type=kind, event_id=f"new{offset}")
    pipeline.on_event(event, Source(0, offset))


def played(settings: PipelineConfig, n: int = 400) -> Pipeline:
    pipeline = Pipeline(settings)
    pipeline.process([(e, Source(0, i)) for i, e in enumerate(shop_log(n))])
    return pipeline


def place(pipeline: Pipeline, user: str = "u1") -> int | None:
    return explain(pipeline, user, "new").rank


def test_a_new_item_is_tried_and_less_and_less() -> None:
    pipeline = played(config())
    new_item(pipeline, 400)
    early = place(pipeline)
    assert early is not None
    assert early <= 3
    found = explain(pipeline, "u1", "new")
    check_sums(found)
    bonus = {c.name: c.contribution for c in found.contexts}[BONUS]
    row = pipeline.knowledge.items.row("new")
    for offset in range(401, 440):
        new_item(pipeline, offset)
        if pipeline.knowledge.untried is not None:
            assert pipeline.knowledge.untried.tried[row] >= offset - 399
    later = explain(pipeline, "u1", "new")
    assert later.rank is None or later.rank > early
    assert bonus > 3.0
    plain = played(PipelineConfig())
    new_item(plain, 400)
    assert (place(plain) or 1_000) > 10


def test_lists_are_counted_once_a_moment_by_every_worker_alike() -> None:
    pipeline, other = Pipeline(config()), Pipeline(config())
    log = shop_log(500)
    stood: dict[str, int] = {}
    asked = set()
    for n, event in enumerate(log):
        [outcome] = pipeline.process([(event, Source(0, n))])
        assert outcome.interaction is not None
        if (event.user_id, event.timestamp) in asked:
            assert not outcome.interaction.shown
        asked.add((event.user_id, event.timestamp))
        assert set(outcome.interaction.shown) <= set(outcome.fresh[:20])
        for item in outcome.interaction.shown:
            stood[item] = stood.get(item, 0) + 1
        other.learn(outcome.interaction)
    assert stood
    one, two = pipeline.knowledge.untried, other.knowledge.untried
    assert one is not None
    assert two is not None
    assert np.array_equal(one.tried, two.tried)
    items = pipeline.knowledge.items
    for item, times in stood.items():
        row = items.row(item)
        assert one.tried[row] == times + items.count[row]
        assert times <= one.kappa + 1


def test_a_restart_forgets_nothing_of_it() -> None:
    pipeline, fresh = played(config()), Pipeline(config())
    fresh.restore({name: array.copy() for name, array in pipeline.snapshot().items()})
    fresh.sessions = pipeline.sessions
    for user in ("u1", "u5", "nobody"):
        assert fresh.recommend(user, 20) == pipeline.recommend(user, 20)


def test_it_is_off_unless_it_is_asked_for() -> None:
    pipeline = played(PipelineConfig(), n=60)
    assert "untried" not in pipeline.knowledge.lists
    assert "untried" in played(config(), n=1).knowledge.lists
    assert not played(PipelineConfig(), n=60).knowledge.wide
