"""Settings of a pipeline that is only asked what it would have listed: no answers, and repeats that count."""

from __future__ import annotations

import msgspec

from streams.config import BlendConfig, FilterConfig, PipelineConfig
from streams.contracts.events import Event, Source
from streams.knowledge import Knowledge
from streams.pipeline import Outcome, Pipeline
from tests.worlds import START, shop_log

SMALL = PipelineConfig(blend=BlendConfig(units=4))
REPEATS = msgspec.structs.replace(SMALL, filters=FilterConfig(repeats=True))


def played(log: list[Event], config: PipelineConfig, answers: bool = True) -> tuple[Pipeline, list[Outcome]]:
    pipeline = Pipeline(config)
    pipeline.answers = answers
    outcomes = pipeline.process([(event, Source(0, n)) for n, event in enumerate(log)])
    pipeline.finish()
    return pipeline, outcomes


def test_without_answers_the_lists_from_before_the_events_are_the_same() -> None:
    log = shop_log(300)
    (_, some), (_, all_) = (played(log, SMALL, answers) for answers in (False, True))
    assert [o.fresh for o in some] == [o.fresh for o in all_]
    assert {o.recommendation for o in some} == {None}
    assert None not in [o.recommendation for o in all_]


def test_scores_fall_along_the_list_and_what_fills_up_is_level_with_nothing() -> None:
    _, outcomes = played(shop_log(300), msgspec.structs.replace(SMALL, k=60))
    filled = 0
    for outcome in outcomes:
        assert outcome.scores is not None
        scores = outcome.scores.tolist()
        assert len(scores) == len(outcome.fresh)
        assert scores == sorted(scores, reverse=True)
        filled += len(scores) == len(set(scores))
    assert filled > 200


def twice() -> list[Event]:
    """Everybody looks at everything twice."""
    return [
        Event(timestamp=START + 1000 * n, user_id=f"u{n // 20}", item_id=f"i{n // 2 * 7 % 11}", event_type="view", event_id=f"e{n}")
        for n in range(800)
    ]  # fmt: skip


def test_repeats_in_a_row_are_foreseen_only_where_they_count() -> None:
    (without, plain), (with_, counting) = (played(twice(), config) for config in (SMALL, REPEATS))
    assert without.prequential.scored < with_.prequential.scored == 800
    last = [(o.event.item_id, o.fresh) for o in counting[401::2]]
    assert sum(fresh[0] == item for item, fresh in last) > 0.9 * len(last), "the blend has learned that they come"
    assert not any(o.event.item_id in o.fresh for o in plain[401::2])


def test_a_snapshot_says_under_which_of_the_two_it_was_made() -> None:
    assert Knowledge(SMALL).fingerprint != Knowledge(REPEATS).fingerprint
