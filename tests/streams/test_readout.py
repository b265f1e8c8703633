"""The read-out counts what a person would count on a small log, whoever reads what first, and adds up."""

from __future__ import annotations

import json
import random

import msgspec
import pytest

from online_models.errors import InputError
from streams.contracts.events import Source
from streams.contracts.recommendations import Recommendation
from streams.experiment_rules import alone
from streams.pipeline import Pipeline
from streams.readout.fold import Readout
from streams.readout.tally import Tally
from tests.streams.readout_tape import Tape, definition, unit_of
from tests.worlds import shop_log


def test_what_a_person_would_count():
    t = Tape()
    t.add(0, "a", shown="bcd")  # nothing was shown before: a list, no target
    t.add(10, "b", shown="efg")  # in the list: a click and a hit
    t.add(20, "z", shown="hij")  # not in the list
    t.add(30, "z", "purchase", shown="klm", value=5.0)  # the same item as just before is nobody's target; a conversion
    t.add(40, "z", "return", shown="nop", value=2.0)
    t.add(50, "q", "odd", shown="rst")  # a word of nobody: it only gets a list
    assert t.unit() == {"conversion": 1.0, "revenue": 3.0, "clicked": 1.0, "lists": 6.0, "hits": 1.0, "targets": 2.0}


def test_a_list_is_clicked_once():
    t = Tape()
    t.add(0, "a", shown="bcd")
    t.add(10, "b", shown="")
    t.add(10, "c", shown="")  # of the same moment: the list from before it
    assert t.unit() == {"conversion": 0.0, "revenue": 0.0, "clicked": 1.0, "lists": 3.0, "hits": 2.0, "targets": 2.0}


def test_an_event_that_names_its_list_counts_for_that_one():
    t = Tape()
    first = t.add(0, "a", shown="b", variant=None)
    t.add(10, "x", shown="c", variant=None)
    second = t.add(20, "y", shown="d")
    t.add(30, "b", shown="", request_id=first)  # outside the experiment
    t.add(40, "d", shown="", request_id=second)
    found = t.unit()
    assert (found["clicked"], found["hits"], found["targets"]) == (1.0, 1.0, 1.0)


def test_what_comes_too_late_counts_for_nothing():
    t = Tape()
    t.add(0, "a", shown="b")
    t.add(3_601, "b", shown="", variant=None)
    assert t.unit(attribution_s=3_600)["clicked"] == 0.0
    assert t.unit(attribution_s=3_601)["clicked"] == 1.0
    assert t.play(attribution_s=3_600).tally().unattributed == 1


def test_only_what_would_have_counted_is_unattributed():
    """Whether it names the list or not."""
    for kind, counts in (("cart", 0), ("rating", 0), ("view", 1), ("purchase", 1)):
        for names in (False, True):
            t = Tape()
            first = t.add(0, "a", shown="b")
            t.add(3_601, "b", kind, shown="", variant=None, request_id=first if names else None)
            assert t.play(attribution_s=3_600).tally().unattributed == counts, (kind, names)


def test_what_came_before_the_experiment_or_in_the_moment_of_its_list_is_not_unattributed():
    t = Tape()
    t.add(0, "a", shown="b", variant=None)
    t.add(9_000, "b", shown="c", variant=None)
    t.add(18_000, "c", shown="d")
    t.add(18_000, "x", shown="e")
    assert t.play(attribution_s=3_600).tally().unattributed == 0
    t.add(27_000, "d", shown="e")
    assert t.play(attribution_s=3_600).tally().unattributed == 1


def test_an_event_does_not_count_for_the_list_that_answers_it():
    t = Tape()
    t.add(0, "a", "purchase", shown="a", value=9.0)
    t.add(0, "a", shown="a")
    assert t.unit() == {"conversion": 0.0, "revenue": 0.0, "clicked": 0.0, "lists": 2.0, "hits": 0.0, "targets": 0.0}


def test_returns_of_what_was_not_bought_here_change_nothing():
    t = Tape()
    t.add(0, "a", "purchase", shown="b", value=9.0, variant=None)
    t.add(10, "c", shown="d")
    t.add(20, "a", "return", shown="", value=9.0)
    t.add(30, "e", "purchase", shown="", value=4.0)
    t.add(40, "e", "return", shown="", value=7.0)  # no more than was paid
    t.add(50, "e", "return", shown="", value=7.0)
    assert t.unit()["revenue"] == 0.0
    assert t.unit()["conversion"] == 1.0


def test_exposure_by_impression():
    t = Tape()
    first = t.add(0, "a", shown="b")
    t.add(10, "a", shown="c")
    t.add(20, "-", "impression", shown="", request_id=first)
    t.add(30, "c", shown="")  # of a list that was never seen
    t.add(40, "b", shown="")
    assert t.unit(exposure="impression") == {
        "conversion": 0.0,
        "revenue": 0.0,
        "clicked": 1.0,
        "lists": 1.0,
        "hits": 1.0,
        "targets": 2.0,
    }


def test_what_was_before_the_first_exposure_is_the_covariate():
    t = Tape()
    t.add(0, "a", shown="b", variant=None)
    t.add(10, "b", shown="c", variant=None)
    t.add(20, "k", "purchase", shown="d", variant=None, value=3.0)
    t.add(30, "d", shown="e")
    unit = unit_of(t.play())
    assert unit.before == (1.0, 3.0, 2.0, 3.0, 2.0, 3.0, 0.0, 0.0)
    assert unit.now == [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    old = Tape()
    old.add(0, "a", shown="b", variant=None)
    old.add(15 * 86_400, "x", shown="y")
    assert unit_of(old.play()).before == (0.0,) * 8


def test_a_unit_of_two_variants_is_left_out_and_counted():
    t = Tape()
    t.add(0, "a", shown="b")
    t.add(5, "b", shown="c", user="v")
    t.add(10, "b", shown="c", variant="control")
    tally = t.play().tally()
    assert (tally.mixed, dict(tally.entered)) == (1, {("new", 0): 2})
    assert tally.total("ctr", "new").n == 1
    assert tally.total("ctr", "control").n == 0


def test_testers_count_for_nothing():
    t = Tape()
    t.add(0, "a", shown="b", forced=True)
    t.add(10, "b", shown="c")
    assert t.unit() == {"conversion": 0.0, "revenue": 0.0, "clicked": 0.0, "lists": 1.0, "hits": 0.0, "targets": 0.0}


def test_credit_of_a_list_that_two_variants_share():
    t = Tape()
    t.add(0, "x", shown="abcd", picks={"a": "control", "b": "new", "c": "new"}, variant="interleaved")
    t.add(10, "a", shown="")
    t.add(10, "b", shown="")
    t.add(10, "b", shown="")  # counts once
    unit = unit_of(t.play(method="interleave"))
    assert unit.now[6:] == [0.0, 1.0]
    t.add(10, "c", shown="")
    t.add(10, "d", shown="")  # nobody's pick
    assert unit_of(t.play(method="interleave")).now[6:] == [1.0, 1.0]


def test_sessions_as_units():
    t = Tape()
    t.add(0, "a", shown="b", unit="u/1", variant="new")
    t.add(10, "b", shown="c", unit="u/2", variant="control")
    t.add(20, "c", shown="d", unit="u/2", variant="control")
    played = t.play(unit="session")
    assert {name: unit_of(played, name).now[2] for name in ("u/1", "u/2")} == {"u/1": 1.0, "u/2": 1.0}


LOG = shop_log(900, users=60, seed=4)


@pytest.fixture(scope="module")
def played() -> tuple[list[bytes], list[bytes]]:
    pipeline = Pipeline()
    experiment = alone(definition(), 0)
    pipeline.experiments.run([experiment])
    outcomes = pipeline.process([(e, Source(0, n)) for n, e in enumerate(LOG)])
    assert all(o.recommendation for o in outcomes)
    return [msgspec.json.encode(e) for e in LOG], [msgspec.json.encode(o.recommendation) for o in outcomes]


def fold(events, lists, **more) -> Tally:
    readout = Readout(definition(), **more)
    for kind, n in order_of(more.pop("order", 0), len(events)):
        readout.take_event(events[n], Source(0, n)) if kind else readout.take_list(lists[n])
    return readout.tally()


def order_of(seed: int, n: int):
    """Both topics in their own order, and together in any."""
    kinds = [0] * n + [1] * n
    random.Random(seed).shuffle(kinds)
    at = [0, 0]
    for kind in kinds:
        yield kind, at[kind]
        at[kind] += 1


def test_whoever_is_read_first_the_sums_are_the_same(played):
    events, lists = played
    found = []
    for seed in range(8):
        readout = Readout(definition())
        for kind, n in order_of(seed, len(events)):
            readout.take_event(events[n], Source(0, n)) if kind else readout.take_list(lists[n])
            if n % 97 == 0:
                readout.tally()  # a look changes nothing
        found.append(readout.tally().plain())
    assert all(plain == found[0] for plain in found)
    assert sum(cell["sums"]["ctr"]["n"] for cell in found[0]["cells"]) == 60


def test_nothing_is_counted_twice(played):
    events, lists = played
    once = fold(events, lists)
    readout = Readout(definition())
    for n in range(len(events)):
        for back in range(min(n, 3), -1, -1):  # a worker that dies and publishes again, a reader that reads again
            readout.take_event(events[n - back], Source(0, n - back))
            readout.take_list(lists[n - back])
    assert readout.tally().plain() == once.plain()
    again = Readout(definition())
    for n, raw in enumerate([*events, *events]):  # a shop that sends everything again: the same ids at later offsets
        again.take_event(raw, Source(0, n))
    for raw in lists:
        again.take_list(raw)
    assert again.tally().plain() == once.plain()


def test_four_readers_of_a_part_each_add_up_to_one_of_all(played):
    events, lists = played
    place = [int(e.user_id[1:]) % 4 for e in LOG]
    at = [0] * 4
    spread = []
    for n, p in enumerate(place):
        recommendation = msgspec.json.decode(lists[n], type=Recommendation)
        cause = msgspec.structs.replace(recommendation.caused_by, partition=p, offset=at[p])
        spread.append(
            (events[n], Source(p, at[p]), msgspec.json.encode(msgspec.structs.replace(recommendation, caused_by=cause)))
        )
        at[p] += 1

    def read(partitions):
        readout = Readout(definition(), partitions=partitions)
        for event, source, answer in spread:
            readout.take_event(event, source)
            readout.take_list(answer, source.partition)
        return readout.tally()

    whole = read(None)
    parts = [Tally.from_plain(json.loads(json.dumps(read(frozenset({p})).plain())), definition()) for p in range(4)]
    added = parts[3] + parts[0] + (parts[2] + parts[1])
    assert added.plain() == whole.plain() == fold(events, lists).plain() | {"partitions": [0, 1, 2, 3]}


def test_tallies_of_something_else_are_refused():
    tally = Tape().play().tally()
    with pytest.raises(InputError, match="one of y"):
        tally + Readout(definition(name="y")).tally()
    for plain in ({}, {"v": 1}, tally.plain() | {"cells": [{"variant": "new"}]}):
        with pytest.raises(InputError, match="such files"):
            Tally.from_plain(plain, definition())
    with pytest.raises(InputError, match="name the files of one experiment"):
        Tally.from_plain(tally.plain(), definition(name="y"))


def test_a_look_while_workers_are_behind_changes_nothing(played):
    events, lists = played
    readout = Readout(definition())
    for n, raw in enumerate(events):
        readout.take_event(raw, Source(0, n))
    assert readout.tally().events == 0  # nothing is answered yet
    for n, raw in enumerate(lists):
        readout.take_list(raw)
        assert readout.tally().events == n + 1
    assert readout.tally().plain() == fold(events, lists).plain()
    assert readout.answered == len(events)


def test_the_same_part_is_not_added_twice(played):
    tally = fold(*played)
    with pytest.raises(InputError, match="add each once"):
        tally + tally
