"""Drift as an operator meets it: a quality that falls is a warning, in the log and in the metrics, also after a restart."""

from __future__ import annotations

import logging
import random

import pytest

from streams.contracts.events import Event, Source
from streams.knowledge import BLOCK, Knowledge
from streams.pipeline import Pipeline
from tests.worlds import START, shop_log


def coin(p: float, n: int, seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [float(rng.random() < p) for _ in range(n)]


@pytest.mark.parametrize(
    ("name", "old", "new", "level"),
    [
        ("hr@20 served", 0.5, 0.1, "WARNING"),
        ("hr@20 served", 0.1, 0.5, "DEBUG"),
        ("intent log loss", 0.5, 0.1, "DEBUG"),
        ("intent log loss", 0.1, 0.5, "WARNING"),
    ],
)
def test_a_change_for_the_worse_is_a_warning(
    name: str, old: float, new: float, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "headrace")
    pipeline = Pipeline()
    for value in coin(old, 1_000) + coin(new, 500, seed=1):
        pipeline.knowledge.note(name, value)
    [first, *_] = caplog.records
    assert first.levelname == level
    assert first.getMessage().startswith(f"drift: {name} went from 0.{old * 10:.0f}")
    assert pipeline.metrics()["drift_alarms"] == {name: len(caplog.records)}


def laps(users: int, n: int) -> list[Event]:
    """Users in turn, each going round the same few items: whoever has seen a lap knows what comes next."""
    return [
        Event(
            timestamp=START + 1000 * i, user_id=f"u{i % users}", item_id=f"i{(i // users + i % users) % 40}", event_type="view",
            event_id=f"e{i}",
        )
        for i in range(n)
    ]  # fmt: skip


def test_lists_that_get_worse_on_their_way_to_the_users_are_seen(caplog: pytest.LogCaptureFixture) -> None:
    """The models go on as well as ever, so the list from just before the event says nothing."""
    caplog.set_level(logging.WARNING, "headrace")
    pipeline = Pipeline()
    for offset, event in enumerate(laps(users=5, n=1_000)):
        if offset > 500:
            pipeline.sessions.get(event.user_id).served = []
        pipeline.on_event(event, Source(0, offset))
    [warning] = caplog.records
    assert "hr@20 served went from" in warning.getMessage()
    assert pipeline.metrics()["drifts_worse"] == 1, "one for the better and those of single sources are none"


def test_a_source_that_got_worse_is_no_alarm() -> None:
    pipeline = Pipeline()
    pipeline.watch.looks_at(laps(users=1, n=1)[0], Source(0, 0))
    for value in coin(0.5, 1_000) + coin(0.05, 500, seed=1):
        pipeline.knowledge.note("hr@20 knn", value, of=BLOCK)
    assert [(d.figure, d.worse) for d in pipeline.watch.take()][-1] == ("hr@20 knn", True)
    assert pipeline.metrics()["drifts_worse"] == 0


def test_every_moment_judged_is_watched() -> None:
    pipeline = Pipeline()
    pipeline.process([(event, Source(0, offset)) for offset, event in enumerate(shop_log(200))])
    counts = pipeline.knowledge.drift.counts
    assert counts["hr@20 blend"] == counts["hr@20 served"] == pipeline.prequential.scored > 50


def test_a_restart_forgets_neither_alarms_nor_what_they_are_made_of() -> None:
    first = Pipeline()
    for value in coin(0.5, 800) + coin(0.1, 400, seed=1) + coin(0.5, 40, seed=2):
        first.knowledge.note("hr@20 served", value)
    alarms = first.knowledge.drift.alarms
    assert alarms["hr@20 served"] >= 1
    second = Pipeline()
    second.restore({name: array.copy() for name, array in first.snapshot().items()})
    assert second.knowledge.drift.counts == {"hr@20 served": 1_240}
    assert second.metrics()["drift_alarms"] == alarms
    assert _alarm_after(second.knowledge) == _alarm_after(first.knowledge) < 500


def _alarm_after(knowledge: Knowledge) -> int:
    """How many values of a better quality it takes until the change is seen."""
    before = knowledge.drift.alarms["hr@20 served"]
    for n, value in enumerate(coin(0.9, 500, seed=3)):
        knowledge.note("hr@20 served", value)
        if knowledge.drift.alarms["hr@20 served"] > before:
            return n
    return 500
