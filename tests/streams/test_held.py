"""Interactions held for events that come again: used instead of what would be computed, and never lost."""

from __future__ import annotations

import msgspec

from streams.contracts.events import Source
from streams.contracts.interactions import Interaction
from streams.pipeline import Pipeline
from tests.worlds import shop_log


def made(n: int = 40) -> tuple[Pipeline, list[Interaction]]:
    pipeline = Pipeline()
    outcomes = pipeline.process([(e, Source(0, i)) for i, e in enumerate(shop_log(n))])
    return pipeline, [outcome.interaction for outcome in outcomes if outcome.interaction is not None]


def test_what_was_published_counts_and_not_what_would_be_computed_now() -> None:
    log = shop_log(40)
    _, published = made()
    pipeline = Pipeline()
    for interaction in published[:30]:
        pipeline.learn(interaction)
    odd = msgspec.structs.replace(published[30], weight=7.0, clock=500)
    pipeline.hold(odd)
    assert pipeline.holds
    [outcome] = pipeline.process([(log[30], Source(0, 30))])
    assert outcome.interaction is None, "the topic has it already"
    assert outcome.recommendation is not None
    assert not pipeline.holds
    assert pipeline.knowledge.clock == 500
    other = Pipeline()
    for interaction in (*published[:30], odd):
        other.learn(interaction)
    ours, theirs = pipeline.knowledge.snapshot(), other.knowledge.snapshot()
    assert all((ours[name] == theirs[name]).all() for name in theirs if name.startswith("source-"))


def test_what_was_held_is_learned_in_order_when_the_partition_goes() -> None:
    reference, published = made()
    pipeline = Pipeline()
    for interaction in published[:25]:
        pipeline.learn(interaction)
    for interaction in reversed(published[25:]):
        pipeline.hold(interaction)
    pipeline.release(1)
    assert pipeline.holds, "of another partition"
    pipeline.release(0)
    assert not pipeline.holds
    ours, theirs = pipeline.knowledge, reference.knowledge
    assert ours.items.ids == theirs.items.ids
    n = len(ours.items)
    assert ours.items.count[:n].tolist() == theirs.items.count[:n].tolist()
    assert (ours.blend.weights == theirs.blend.weights).all()
    assert (ours.factors.vectors[:n] == theirs.factors.vectors[:n]).all()


def test_what_was_learned_is_not_held() -> None:
    reference, published = made()
    reference.hold(published[3])
    assert not reference.holds


def test_no_copy_is_taken_while_something_is_held() -> None:
    pipeline = Pipeline()
    pipeline.hold(made()[1][0])
    assert not pipeline.request_capture()


def test_a_held_one_is_learned_though_its_event_id_has_come_from_elsewhere() -> None:
    """Two workers handled one event id at the same time, on two partitions: both records are in the topic and count."""
    log = shop_log(2)
    _, [first, second] = made(2)
    pipeline = Pipeline()
    pipeline.learn(msgspec.structs.replace(first, partition=5))
    pipeline.hold(msgspec.structs.replace(second, event=first.event))
    twin = msgspec.structs.replace(log[1], event_id=log[0].event_id)
    [outcome] = pipeline.process([(twin, Source(0, 1))])
    assert not outcome.duplicate
    assert sum(pipeline.knowledge.items.count.tolist()) == 2
    [again] = pipeline.process([(twin, Source(0, 2))])
    assert again.duplicate
