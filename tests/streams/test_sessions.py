"""What is stored of users: bounded however busy they are, and never misread when it is not ours."""

from __future__ import annotations

import logging

import msgspec
import numpy as np
import pytest

from online_models.items import hash_id
from streams import sessions
from streams.config import FactorsConfig, PipelineConfig, SourcesConfig
from streams.contracts.events import Event, Source
from streams.pipeline import Pipeline
from tests.worlds import START, shop_log


def view(n: int, user: str = "ann") -> Event:
    return Event(timestamp=START + 1000 * n, user_id=user, item_id=f"i{n % 9}", event_type="view", event_id=f"e{n}")


def stored(log: list[Event], config: PipelineConfig | None = None) -> tuple[Pipeline, dict[str, bytes]]:
    pipeline = Pipeline(config, stored=True)
    pipeline.process([(event, Source(0, n)) for n, event in enumerate(log)])
    return pipeline, pipeline.sessions.dirty()


def test_a_busy_user_does_not_grow_while_commits_follow() -> None:
    pipeline = Pipeline(stored=True)
    pipeline.sessions.committed = {0: 0}
    sizes = []
    for n in range(1_000):
        pipeline.process([(view(n), Source(0, n))])
        pipeline.sessions.committed[0] = max(0, n - 10)  # an open moment keeps the commit behind the latest event
        sizes.append(len(pipeline.sessions.dirty()["ann"]))
    assert len(pipeline.sessions.get("ann").since) <= 2 * sessions.FOLD + 10
    assert max(sizes[500:]) <= 1.1 * max(sizes[:500])


def test_a_busy_user_does_not_grow_when_nothing_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_SINCE", 64)
    pipeline, values = stored([view(n) for n in range(300)])
    assert len(pipeline.sessions.get("ann").since) <= 64 + sessions.FOLD
    again = pipeline.sessions.decode("ann", values["ann"], Source(0, 0))
    assert again.n_events >= 300 - 64 - sessions.FOLD, "the image is newer than what is committed"


def test_an_image_made_ahead_is_the_state_as_it_was_then() -> None:
    """What is stored gives the state before any event that may come again, whatever has been folded."""
    pipeline, other = Pipeline(stored=True), Pipeline(stored=True)
    log = [view(n) for n in range(200)]
    for n, event in enumerate(log):
        pipeline.process([(event, Source(0, n))])
        pipeline.sessions.committed[0] = max(0, n - 40)
    other.process([(event, Source(0, n)) for n, event in enumerate(log[:165])])
    back = pipeline.sessions.decode("ann", pipeline.sessions.dirty()["ann"], Source(0, 165))
    wanted = other.sessions.get("ann")
    assert (back.n_events, back.offset, back.last_item) == (165, 164, wanted.last_item)
    assert np.array_equal(back.vector, wanted.vector)
    assert np.array_equal(back.own[: back.n], wanted.own[: wanted.n])


DEEP = b"\x96" + msgspec.msgpack.encode([sessions.VERSION, b"", 0, [], []])[1:] + b"\x91" * 5_000 + b"\xc0"
"""A value with one field more, of lists in lists."""


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xff", b"somebody else's", msgspec.msgpack.encode([99, b"", 0, [], []]), DEEP]
)
def test_a_value_that_is_not_ours_is_a_new_user(raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = Pipeline(stored=True)
    with caplog.at_level(logging.WARNING):
        pipeline.sessions.load("ann", raw)
    assert pipeline.sessions.get("ann").n_events == 0
    assert pipeline.sessions.refused == pipeline.metrics()["states_refused"] == 1
    assert "start afresh" in caplog.text
    assert "ann" not in caplog.text


def test_an_image_of_another_version_is_a_new_user() -> None:
    pipeline, values = stored(shop_log(60, users=1))
    value = msgspec.msgpack.decode(values["u0"])
    assert value[0] == sessions.VERSION
    image = msgspec.msgpack.decode(pipeline.sessions.get("u0").image(pipeline.knowledge.items.ids))
    image[0] += 1
    value[1] = msgspec.msgpack.encode(image)
    assert pipeline.sessions.decode("u0", msgspec.msgpack.encode(value)).n_events == 0
    assert pipeline.sessions.refused == 1


def small(dims: int) -> PipelineConfig:
    return PipelineConfig(sources=SourcesConfig(factors=FactorsConfig(dims=dims)))


def test_factors_of_other_dims_are_left_out_and_the_rest_kept() -> None:
    log = shop_log(80, users=1)
    before, _ = stored(log)
    assert before.sessions.get("u0").vector.any()
    before.sessions.committed[0] = len(log)
    before.process([(msgspec.structs.replace(log[-1], event_id="last"), Source(0, len(log)))])
    values = before.sessions.dirty()
    after, _ = stored(log, small(16))
    found = after.sessions.decode("u0", values["u0"])
    assert found.vector.shape == (16,)
    assert not found.vector.any()
    assert found.n_events == before.sessions.get("u0").n_events
    assert after.sessions.misfits == 2, "the image's vector and the latest event's step"


def test_steps_of_other_dims_are_left_out_and_the_rest_learned(caplog: pytest.LogCaptureFixture) -> None:
    """A worker that runs with other settings costs its steps and nothing else."""
    theirs = Pipeline(small(16))
    ours = Pipeline()
    log = shop_log(60, users=2)
    made = [outcome.interaction for outcome in theirs.process([(e, Source(0, n)) for n, e in enumerate(log)])]
    for interaction in made:
        assert interaction is not None
        assert ours.learn(interaction)
    assert ours.knowledge.items.count[:5].tolist() == theirs.knowledge.items.count[:5].tolist()
    with_step = sum("mf" in interaction.deltas for interaction in made if interaction is not None)
    assert ours.metrics()["steps_left_out"] == {"mf": with_step, "blend": 0, "intent": 0}
    fresh = Pipeline()
    for item in ours.knowledge.items.ids:
        fresh.knowledge.know(item, START)
    n = len(ours.knowledge.items)
    assert np.array_equal(ours.knowledge.factors.vectors[:n], fresh.knowledge.factors.vectors[:n])
    assert "steps of 'mf' left out: expected 1 steps of 64 dims" in caplog.text


def test_samples_of_another_layout_are_left_out() -> None:
    pipeline = Pipeline()
    [outcome] = pipeline.process([(view(0), Source(0, 0))])
    interaction = outcome.interaction
    assert interaction is not None
    other = Pipeline()
    sample = msgspec.structs.replace(interaction.deltas["intent"], data=b"\xee\x00\x00")
    other.learn(msgspec.structs.replace(interaction, deltas={"intent": sample}))
    bought = msgspec.structs.replace(interaction, event_type="purchase", event=hash_id("x"), offset=1, deltas={})
    assert other.learn(bought)
    assert other.metrics()["steps_left_out"] == {"mf": 0, "blend": 0, "intent": 1}
    assert other.knowledge.intent.n_learned == 0
