"""Reasons name the item that really links: checked on a planted log, and against the co-visitation rows read one by one."""

from __future__ import annotations

import numpy as np
import pytest

from online_models.covisitation import CoVisitation
from streams.config import CoVisitationConfig, PipelineConfig, SourcesConfig
from streams.contracts.catalogue import Item
from streams.contracts.events import Event, Source
from streams.pipeline import Pipeline
from tests.worlds import START, shop_log


def only(pipeline: Pipeline, source: str) -> None:
    """Let this source decide every list, and so be the loudest for each item that it names."""
    k = pipeline.knowledge
    k.blend.weights[:] = 0.0
    k.blend.weights[:, k.features.index(f"{source}.log_rank")] = 1.0
    k.blend.weights[:, k.features.index(f"{source}.listed")] = 1.0


def planted() -> list[Event]:
    """Tent goes with stove and bread with butter, with other items in between that are never the same."""
    log: list[Event] = []

    def add(user: str, item: str) -> None:
        n = len(log)
        log.append(Event(timestamp=START + n * 1_000, user_id=user, item_id=item, event_type="view", event_id=f"e{n}"))

    for user in range(12):
        one, two = ("tent", "stove") if user % 2 else ("bread", "butter")
        for item in (one, f"odd-{user}", f"other-{user}", two):
            add(f"u{user}", item)
    for item in ("tent", "bread", "odd-1", "odd-2"):
        add("me", item)
    return log


def play(log: list[Event], config: PipelineConfig | None = None) -> Pipeline:
    pipeline = Pipeline(config)
    pipeline.process([(e, Source(0, n)) for n, e in enumerate(log)])
    return pipeline


def reasons(pipeline: Pipeline, user: str, source: str) -> dict[str, str]:
    return {i.item_id: i.reason for i in pipeline.recommend(user, 20).items if i.source == source}


def test_the_item_that_links_is_named_and_not_the_last_one() -> None:
    pipeline = play(planted())
    only(pipeline, "far")
    found = reasons(pipeline, "me", "far")
    assert found["stove"] == "seen with tent"
    assert found["butter"] == "seen with bread"
    assert found["other-2"] == "seen with odd-2"
    pipeline.catalogue_update("tent", Item(item_id="tent", title="Tent for two"))
    assert reasons(pipeline, "me", "far")["stove"] == "seen with Tent for two"


def test_a_source_that_asks_about_the_last_item_names_the_last_item() -> None:
    pipeline = play(planted())
    only(pipeline, "near")
    assert set(reasons(pipeline, "me", "near").values()) == {"seen with odd-2"}


def test_an_item_that_was_only_shown_links_nothing() -> None:
    log = planted()
    log.append(Event(timestamp=START + 10**6, user_id="me", item_id="bread", event_type="impression", event_id="shown"))
    pipeline = play(log)
    only(pipeline, "near")
    assert set(reasons(pipeline, "me", "near").values()) == {"seen with odd-2"}


def by_hand(model: CoVisitation, recent: list[int], item: int) -> int:
    """Which of the latest items adds most to this one, from the rows read one by one."""
    best, link, w = 0.0, -1, 1.0
    keys, weights, start, _, size, *_ = model.rows.pool
    for row in recent[: model.last]:
        here = slice(start[row], start[row] + size[row])
        share = weights[here][keys[here] == item].sum() * w / (model.total[row] + model.damp * model.unit[0])
        if share > best * (1 + 1e-6):
            best, link = share, row
        w *= model.fade
    return link


@pytest.mark.parametrize("source", ["far", "near"])
def test_against_the_rows_read_one_by_one(source: str) -> None:
    near = CoVisitationConfig(window=3, last=4, half_life=5_000)
    pipeline = play(shop_log(800, users=20), PipelineConfig(sources=SourcesConfig(near=near)))
    only(pipeline, source)
    k = pipeline.knowledge
    model = next(s for s in k.sources if s.lists == (source,))
    assert isinstance(model, CoVisitation)
    seen = distant = 0
    for number in range(20):
        state = pipeline.sessions.get(f"u{number}")
        recent = state.recent(k.now_ms, 20)[0].tolist()
        for item, reason in reasons(pipeline, f"u{number}", source).items():
            link = by_hand(model, recent, k.items.row(item))
            assert reason == f"seen with {k.items.ids[link]}"
            seen += 1
            distant += link != recent[0]
    assert seen > 100
    assert distant > seen / 4
    assert not k.scratch.mark.any()


def test_nothing_is_linked_by_a_model_that_knows_nothing() -> None:
    model = CoVisitation("far", window=3, last=3, half_life=100.0)
    rows = np.array([0, 5], np.int32)
    assert model.links(rows, rows, np.zeros(8, np.int32)).tolist() == [-1, -1]
    assert model.links(rows[:0], rows, np.zeros(8, np.int32)).tolist() == [-1, -1]
