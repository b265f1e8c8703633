"""What a request knows of the user's session: all of it while it lasts, nothing of it once it is over."""

from __future__ import annotations

import pytest

from online_models.base import FloatArray, Query
from streams.contracts.events import Event, Source
from streams.pipeline import Pipeline
from tests.worlds import START

GAP_MS = 1_800_000
LAST = START + 1000 * 59


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """Ada has been in two sessions, an hour apart; bob has seen the same items."""
    found = Pipeline()
    events = [(f"i{n % 6}", START + 1000 * n - (3_600_000 if n < 30 else 0)) for n in range(60)]
    for n, (item, time) in enumerate(events):
        for of, user in enumerate(("ada", "bob")):
            event = Event(timestamp=time, user_id=user, item_id=item, event_type="view", event_id=f"{user}{n}")
            found.on_event(event, Source(0, 2 * n + of))
    return found


def asked(pipeline: Pipeline, timestamp: int) -> tuple[Query, FloatArray]:
    """Ada's request at a time, and the column that says what of her own is of this session."""
    state = pipeline.sessions.get("ada")
    x = pipeline.moments.buffer()
    pipeline.scorer.rank(state, timestamp, 20, x, None)
    column = pipeline.knowledge.features.index("own_in_session")
    own = pipeline.knowledge.features.index("own")
    assert x[: pipeline.scorer.candidates.n, own].any(), "none of her own items is a candidate"
    return pipeline.scorer.query(state, timestamp, 20, None), x[: pipeline.scorer.candidates.n, column]


def test_within_the_gap_the_session_goes_on(pipeline: Pipeline) -> None:
    query, own_in_session = asked(pipeline, LAST + GAP_MS)
    state = pipeline.sessions.get("ada")
    assert query.session == state.hash ^ state.session_ms
    assert query.session_seq == 30
    assert query.in_session == len(query.recent) == 6
    assert own_in_session.any()


def test_after_the_gap_nothing_of_the_session_before_counts_as_this_one(pipeline: Pipeline) -> None:
    query, own_in_session = asked(pipeline, LAST + GAP_MS + 1)
    assert query.session == 0
    assert query.session_seq == query.n_events == 60
    assert query.in_session == 0
    assert len(query.recent) == 6, "her items are still known"
    assert not own_in_session.any()
