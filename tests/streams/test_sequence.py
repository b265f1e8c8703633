"""The session as it went, item after item: what a deep model is asked with and learns newcomers by."""

from __future__ import annotations

import string

import msgspec
import numpy as np
import pytest

from offline import dataset
from offline.log import Log
from online_models.deep import STEPS
from streams.config import FilterConfig, PipelineConfig, SessionConfig
from streams.contracts.events import Event, Source
from streams.contracts.interactions import Interaction
from streams.pipeline import Pipeline
from streams.user_image import Image, remembered
from streams.user_state import UserState
from tests.worlds import START

RECENT = 4
CONFIG = PipelineConfig(sessions=SessionConfig(recent=RECENT))


def play(
    items: str, config: PipelineConfig = CONFIG, gap_at: int = -1
) -> tuple[Pipeline, list[Interaction], list[list[str]]]:
    """A user's events on items of one letter each, a session of silence before number ``gap_at``; with the sequences after each."""
    pipeline, found, sequences = Pipeline(config, stored=True), [], []
    at = START
    for n, item in enumerate(items):
        at += 7_200_000 if n == gap_at else 1_000
        event = Event(timestamp=at, user_id="ann", item_id=item, event_type="view", event_id=f"e{n}")
        [outcome] = pipeline.process([(event, Source(0, n))])
        assert outcome.interaction is not None
        found.append(outcome.interaction)
        sequences.append(names(pipeline, pipeline.sessions.get("ann")))
    return pipeline, found, sequences


def names(pipeline: Pipeline, state: UserState) -> list[str]:
    return [pipeline.knowledge.items.ids[row] for row in state.sequence]


def test_what_comes_again_stands_there_again_and_of_a_long_session_the_older_half_goes_at_once() -> None:
    _, _, sequences = play("abacabadabb")
    found = ["".join(s) for s in sequences]
    assert found[:9] == ["a", "ab", "aba", "abac", "abaca", "abacab", "abacaba", "abad", "abada"]
    assert found[9:] == ["abadab", "abadab"], "at once, it is the same visit, as in training"
    _, _, sequences = play("aabb", msgspec.structs.replace(CONFIG, filters=FilterConfig(repeats=True)))
    assert ["".join(s) for s in sequences] == ["a", "aa", "aab", "aabb"]


@pytest.mark.parametrize("repeats", [False, True])
def test_what_is_kept_of_a_session_is_what_training_makes_of_it(repeats: bool) -> None:
    items = "abbacca"
    _, _, sequences = play(items, PipelineConfig(filters=FilterConfig(repeats=repeats)))
    none = np.zeros(7, np.int64)
    log = Log(none, np.array([ord(i) for i in items]), none, np.arange(7), ["ann"], [], repeats=repeats)
    assert "".join(sequences[-1]) == "".join(map(chr, dataset.sessions_of(log).items))


def test_of_a_default_session_the_newest_half_is_kept_whenever_it_is_full() -> None:
    """As many items as `recent`, in the order in which they came, each time that there are twice as many."""
    recent = SessionConfig().recent
    items = (string.ascii_letters + string.digits)[: 3 * recent + 1]
    assert len(items) > 3 * recent
    _, _, sequences = play(items, PipelineConfig())
    found = ["".join(s) for s in sequences]
    assert found[2 * recent - 2] == items[: 2 * recent - 1], "all of it, until there are twice as many"
    assert found[2 * recent - 1] == items[recent : 2 * recent]
    assert found[3 * recent - 2] == items[recent : 3 * recent - 1]
    assert found[3 * recent - 1 :] == [items[2 * recent : 3 * recent], items[2 * recent :]]


def test_encoders_step_as_far_as_a_default_session_goes() -> None:
    assert 2 * SessionConfig().recent - 1 == STEPS


def test_a_session_begins_with_nothing_and_is_asked_about_by_nothing_once_it_is_over() -> None:
    pipeline, _, sequences = play("abca", gap_at=3)
    assert sequences == [["a"], ["a", "b"], ["a", "b", "c"], ["a"]]
    state = pipeline.sessions.get("ann")
    during, after = (pipeline.scorer.query(state, state.last_ms + ms, 20, None) for ms in (1, 7_200_000))
    assert during.sequence.tolist() == state.sequence
    assert len(after.sequence) == 0


@pytest.mark.parametrize("items", ["abcd", "abcdefghijklm", "abacab", "aab", "abacabadabacabaa"])
def test_everybody_learns_of_the_session_what_its_owner_knew(items: str) -> None:
    pipeline, found, sequences = play(items)
    for x, before in zip(found, [[], *sequences], strict=False):
        o = pipeline.knowledge.observation(x, pipeline.knowledge.items.row(x.item_id))
        assert [pipeline.knowledge.items.ids[row] for row in o.sequence] == before


def test_a_sequence_is_written_only_where_the_history_does_not_say_it() -> None:
    _, found, _ = play("abcac")
    assert [x.sequence for x in found] == [[], [], [], [], ["a", "b", "c", "a"]]


@pytest.mark.parametrize(
    ("sequence", "left"),
    [
        ([], []), ([-1], []), ([3, 3, 4], [3, 3, 4]), ([-1, 3, -1, -1], [3]), ([3, -1, 3, 4], [3, 4]),
        ([3, 3, -1, 4, 4, 3], [3, 3, 4, 4, 3]), ([3, -1, -1, 3, 3], [3, 3]), ([0, -1, 0], [0]), ([-1, 0, 0], [0, 0]),
    ],
)  # fmt: skip
def test_only_what_a_forgotten_item_lay_between_stands_once(sequence: list[int], left: list[int]) -> None:
    assert remembered(sequence) == left


def test_what_the_item_table_has_forgotten_is_in_no_session() -> None:
    pipeline, found, _ = play("abc")
    told = msgspec.structs.replace(found[2], history=["b", "gone", "a"], ages=[1, 2, 3], in_session=2)
    o = pipeline.knowledge.observation(told, 2)
    assert (o.history.tolist(), o.ages.tolist(), o.in_session, o.sequence.tolist()) == ([1, 0], [1, 3], 1, [1])
    o = pipeline.knowledge.observation(msgspec.structs.replace(told, sequence=["b", "gone", "b"]), 2)
    assert o.sequence.tolist() == [1], "as the worker whose user it is has it"


def test_it_is_stored_and_moves_with_a_compaction() -> None:
    pipeline, _, _ = play("abacab")
    image = pipeline.sessions.get("ann").image(pipeline.knowledge.items.ids)
    back = UserState.from_image("ann", msgspec.msgpack.decode(image, type=Image), 16, pipeline.knowledge.items.row)
    assert names(pipeline, back) == list("abacab")
    there = {"a": 5, "b": -1, "c": 7}
    back = UserState.from_image("ann", msgspec.msgpack.decode(image, type=Image), 16, there.__getitem__)
    assert back.sequence == [5, 7, 5], "what has come to follow itself stands there once, as after a compaction"
    pipeline.sessions.remap(np.array([1, -1, 0], np.int32))
    assert pipeline.sessions.get("ann").sequence == [1, 0, 1]


def test_a_state_that_was_stored_before_there_was_one_is_read() -> None:
    pipeline, _, _ = play("abacab")
    image = msgspec.msgpack.decode(pipeline.sessions.get("ann").image(pipeline.knowledge.items.ids))
    older = msgspec.msgpack.decode(msgspec.msgpack.encode(image[:-1]), type=Image)
    assert names(pipeline, UserState.from_image("ann", older, 16, pipeline.knowledge.items.row)) == ["c", "a", "b"]
