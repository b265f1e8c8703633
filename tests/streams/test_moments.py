"""Open moments: bounded in number, and in what they keep."""

from __future__ import annotations

import numpy as np
import pytest

from online_models.items import hash_id
from streams import moments as module
from streams.config import PipelineConfig
from streams.contracts.events import Event, Source
from streams.moments import OpenMoments
from streams.pipeline import Pipeline
from streams.prequential import Moment


def at_once(users: int) -> list[Event]:
    """One event of each user, all at the same time."""
    return [
        Event(timestamp=1_500_000_000_000, user_id=f"u{n}", item_id=f"i{n % 7}", event_type="view", event_id=f"e{n}")
        for n in range(users)
    ]


def test_of_many_users_at_one_time_the_latest_stay_open_and_the_oldest_are_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST", 5)
    closed: list[Moment] = []
    buffers: list[int] = []

    def buffer() -> np.ndarray:
        buffers.append(1)
        return np.zeros((2, 2), np.float32)

    open_moments = OpenMoments(buffer, closed.append, teaching=2, uncommitted=100)
    made = []
    for n, event in enumerate(at_once(20)):
        open_moments.begins(event, Source(0, n))
        assert open_moments.find(event, Source(0, n), hash_id(event.user_id)) is None
        moment = Moment(event.timestamp, n, 0, [], np.zeros((1, 20), np.int32), x=open_moments.buffer())
        made.append(moment)
        open_moments.add(moment, event, Source(0, n), hash_id(event.user_id))
    assert closed == made[:15]
    assert [n for n, moment in enumerate(made) if moment.x is not None] == [18, 19]
    assert len(buffers) <= 4, "features are handed on, not made anew"
    last = at_once(20)[19]
    assert open_moments.find(last, Source(0, 20), hash_id(last.user_id)) is made[19]
    open_moments.finish()
    assert closed == made


def test_a_late_event_is_a_moment_of_its_own_and_judged_at_once() -> None:
    pipeline = Pipeline(PipelineConfig())
    events = at_once(3)
    for n, event in enumerate(events):
        pipeline.on_event(event, Source(0, n))
    before = pipeline.prequential.scored
    late = Event(timestamp=1_400_000_000_000, user_id="u1", item_id="i5", event_type="view", event_id="late")
    pipeline.on_event(late, Source(0, 3))
    assert (pipeline.counts["late"], pipeline.prequential.scored) == (1, before + 1)


def test_one_rating_that_is_far_too_large_spoils_nothing_for_long() -> None:
    pipeline = Pipeline(PipelineConfig())
    judged = []
    for n in range(1300):
        value = 1e300 if n == 300 else float(4 + n % 2)
        event = Event(
            timestamp=1_500_000_000_000 + n, user_id=f"u{n % 40}", item_id=f"i{n % 31}", event_type="rating", value=value,
            event_id=f"e{n}",
        )  # fmt: skip
        pipeline.on_event(event, Source(0, n))
        judged.append(pipeline.prequential.scored)
    assert judged[299] > 280
    assert judged[-1] - judged[-200] > 190


def test_a_snapshot_names_no_user() -> None:
    pipeline = Pipeline(PipelineConfig())
    event = Event(
        timestamp=1_500_000_000_000, user_id="jane.doe@example.com", item_id="i", event_type="view", event_id="e"
    )
    pipeline.on_event(event, Source(0, 0))
    state = pipeline.snapshot()
    assert len(state["moments"]) > 10
    assert not any(b"jane" in array.tobytes() for array in state.values())


def test_moments_of_partitions_that_have_gone_are_closed() -> None:
    pipeline = Pipeline(PipelineConfig())
    for n, event in enumerate(at_once(10)):
        pipeline.on_event(event, Source(n % 2, n))
    assert pipeline.metrics()["open_moments"] == 10
    pipeline.begin({1: 0})
    assert pipeline.metrics()["open_moments"] == 5
    assert pipeline.safe_offset(0) is None
