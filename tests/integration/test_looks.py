"""`looks`: what a reader of the topics sees, one look after the other; the records are put there by hand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import msgspec
import pytest
from kafka import TopicPartition

from infra import experiment_readout, experiments, topics
from infra.experiment_readout import Follower
from infra.settings import Settings
from online_models.errors import InputError
from streams.contracts.experiments import Experiment
from streams.experiment_rules import alone, ramp, stop
from streams.readout import join
from streams.readout.fold import Readout
from streams.readout.tally import Tally
from tests.streams.readout_tape import Tape, definition


@pytest.fixture
def experiment(settings: Settings) -> Experiment:
    topics.create(settings, partitions=2)
    found = alone(definition(traffic=0.5), 0)
    experiments.write(settings, found)
    return found


def send(settings: Settings, tape: Tape, start: int, end: int, without: tuple[int, ...] = ()) -> None:
    """Events to partition 0; lists to that of another partitioner, but for some."""
    with topics.producer(settings) as client:
        for event, _ in tape.records[start:end]:
            client.send(settings.topics.events, value=msgspec.json.encode(event), partition=0)
        for n, (event, made) in enumerate(tape.records[start:end], start):
            if n not in without:
                client.send(
                    settings.topics.recommendations,
                    value=msgspec.json.encode(made),
                    partition=sum(event.user_id.encode()) % 2,
                )
        client.flush()


def look(looking: Iterator[tuple[Experiment, Tally]]) -> tuple[Experiment, Tally]:
    return next(looking)


def test_each_look_goes_on_from_the_one_before(settings: Settings, experiment: Experiment) -> None:
    t = Tape()
    for n in range(60):
        t.add(n, "b", user="ab"[n % 2 if n < 30 else 0], shown="b")
    send(settings, t, 0, 40, without=(35,))
    looking = experiment_readout.looks(settings, experiment, 86_400, None, 1.0)
    found, first = look(looking)
    assert (found, first.events, first.lists) == (experiment, 39, 39), (
        "the second partition is silent, one event was refused"
    )
    grown = ramp(experiment, {}, 1.0, experiments.now_ms())
    experiments.write(settings, grown)
    send(settings, t, 40, 60)
    found, second = look(looking)
    while second.events < 59:
        found, second = look(looking)
    assert (found, second.events) == (grown, 59)
    ended = stop(grown, experiments.now_ms(), by="operator", reason="enough")
    experiments.write(settings, ended)
    while found.state == "running":
        found, second = look(looking)
    assert (found.reason, second.events) == ("enough", 59)
    looking.close()  # type: ignore[attr-defined]
    [(_, once)] = experiment_readout.looks(settings, experiment, 86_400, None, None)
    assert once.plain() == second.plain() == _folded(t, 35).plain()
    [(_, other)] = experiment_readout.looks(settings, experiment, 86_400, frozenset({1}), None)
    assert (other.events, other.partitions) == (0, set())
    assert experiment_readout.not_counted(settings, once) == [], "the second partition holds nothing"
    assert experiment_readout.not_counted(settings, other) == [0]
    with pytest.raises(InputError, match=r"partitions of .*events \(0, 1\), got 7; correct --partition"):
        next(experiment_readout.looks(settings, experiment, 86_400, frozenset({1, 7}), None))


def test_events_that_are_far_ahead_of_their_lists_are_not_read(
    settings: Settings, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join, "EVENTS", 20)
    t = Tape()
    for n in range(2_000):
        t.add(n, "b", user="u", shown="b")
    send(settings, t, 0, 2_000, without=tuple(range(2_000)))
    names = settings.topics
    parts = topics.require(settings, names.events, names.recommendations)
    with topics.consumer(settings, check_crcs=False, max_poll_records=50) as client:
        client.assign(parts)
        client.seek_to_beginning(*parts)
        follower = Follower(settings, client, experiment, Readout(experiment.definition, lists=2))
        follower.catch_up(parts)
        assert {p.topic for p in follower.held} == {names.events}
        assert sum(follower.readout.waiting.values()) <= 20 + 50
        with topics.producer(settings) as sender:
            for _, made in t.records:
                sender.send(names.recommendations, value=msgspec.json.encode(made), partition=1)
            sender.flush()
        follower.catch_up(parts)
        assert follower.readout.tally().events == 2_000
        assert not follower.held


def _folded(t: Tape, without: int) -> Tally:
    t.records[without] = (t.records[without][0], None)
    return t.play(traffic=0.5).tally()


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)  # the embedded one deletes nothing
def test_what_retention_has_deleted_is_warned_of(
    settings: Settings, experiment: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    t = Tape()
    for n in range(40):
        t.add(n, "b", shown="b")
    send(settings, t, 0, 40)
    looking = partial(experiment_readout.looks, settings, experiment, 86_400, None, None)
    [(_, whole)] = looking()
    assert not caplog.records
    with topics.admin(settings) as client:
        client.delete_records({TopicPartition(settings.topics.events, 0): 30})
    [(_, left)] = looking()
    assert left.events < whole.events
    [warning] = caplog.records
    assert f"of {settings.topics.events} what was written when the experiment began is deleted" in warning.getMessage()


def test_a_topic_is_cut_short_where_nothing_is_left_from_before_the_experiment() -> None:
    whole, old, short, quiet, emptied = (
        TopicPartition(name, 0) for name in ("whole", "old", "short", "quiet", "emptied")
    )
    since = {old: SimpleNamespace(offset=12), short: SimpleNamespace(offset=10), quiet: None, emptied: None}
    client = SimpleNamespace(
        beginning_offsets=lambda parts: {whole: 0, old: 10, short: 10, quiet: 10, emptied: 10},
        end_offsets=lambda parts: {part: {quiet: 11, emptied: 10}.get(part, 20) for part in parts},
        offsets_for_times=lambda times: {part: since[part] for part in times},
    )
    assert experiment_readout.cut_short(client, [whole, old, short, quiet, emptied], 5) == ["emptied", "short"]
