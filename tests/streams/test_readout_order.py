"""Which list answers which event, however the topics are partitioned and read: lists elsewhere, late, or asked for over HTTP."""

from __future__ import annotations

import random

import msgspec
import pytest

from streams.contracts.events import Source
from streams.contracts.recommendations import After
from streams.readout.fold import Readout
from tests.streams.readout_tape import Tape, definition, unit_of


def tape(users: int = 30, steps: int = 400) -> Tape:
    rng = random.Random(5)
    t = Tape()
    for n in range(steps):
        t.add(10 * n, rng.choice("abc"), user=f"u{rng.randrange(users)}", shown="ab", variant=rng.choice(("new", None)))
    return t


def elsewhere(user: str) -> int:
    """Partition of `recommendations`, by another partitioner than that of `events`."""
    return sum(user.encode()) % 2


def event(t: Tape, readout: Readout, n: int) -> None:
    readout.take_event(msgspec.json.encode(t.records[n][0]), Source(0, n))


def answer(t: Tape, readout: Readout, n: int) -> None:
    made = t.records[n][1]
    assert made is not None
    readout.take_list(msgspec.json.encode(made), elsewhere(made.user_id))


def test_lists_of_two_partitions_read_in_any_order_give_the_same_sums():
    t = tape()
    whole = t.play().tally().plain()
    for seed in range(6):
        rng = random.Random(seed)
        queues: dict[int, list[int]] = {0: [], 1: [], 2: []}
        for n, (e, _) in enumerate(t.records):
            queues[elsewhere(e.user_id)].append(n)
            queues[2].append(n)
        readout = Readout(definition())
        while any(queues.values()):
            which = rng.choice([q for q, left in queues.items() if left])
            n = queues[which].pop(0)
            event(t, readout, n) if which == 2 else answer(t, readout, n)
        assert readout.tally().plain() == whole


def test_a_partition_that_has_nothing_to_say_holds_nothing_up():
    """Nobody of the second partition does anything any more, and a copy of an event has no list."""
    t = Tape()
    t.add(0, "a", user="b", shown="b")
    t.add(1, "a", user="a", shown="b")
    t.add(2, "a", user="a", shown="b")  # a copy, which the worker left out
    t.add(3, "b", user="a", shown="b")
    readout = Readout(definition(), lists=2)
    for n in range(4):
        event(t, readout, n)
    for n in (0, 1, 3):
        answer(t, readout, n)
    assert {elsewhere("a"), elsewhere("b")} == {0, 1}
    assert readout.tally().events == 3
    assert unit_of(readout, "a").now[2] == 1.0
    assert readout.waiting == {0: 1}, "the third may have a list in the partition that was read less far"
    readout.caught_up()
    assert readout.waiting == {0: 1}, "what was being published just then may not have been read"
    readout.caught_up()
    assert readout.waiting == {0: 0}


def test_a_list_that_comes_late_counts_with_its_event_and_once():
    t = Tape()
    t.add(0, "a", user="b", shown="c")
    t.add(1, "a", user="a", shown="b")
    t.add(2, "c", user="b", shown="b")
    t.add(3, "b", user="a", shown="b")
    readout = Readout(definition())
    for n in range(4):
        event(t, readout, n)
    for n in (0, 3, 1):
        answer(t, readout, n)
    readout.caught_up()
    readout.caught_up()
    assert readout.tally().events == 3
    for _ in range(2):
        answer(t, readout, 2)
    tally = readout.tally()
    assert (tally.events, tally.lists, readout.answered) == (4, 4, 4)
    assert unit_of(readout, "b").now[2:4] == [1.0, 2.0]


def test_an_event_that_no_list_answers_counts_for_nothing():
    """Copies, and what workers refuse for reasons that only they know: an event from the future, a wrong key."""
    t = Tape()
    t.add(0, "a", shown="b")
    t.add(10, "b", "purchase", shown="c", value=7.0)
    t.add(20, "b", shown="c")
    readout = Readout(definition())
    for n in range(3):
        event(t, readout, n)
    for n in (0, 2):
        answer(t, readout, n)
    assert unit_of(readout).now[:4] == [0.0, 0.0, 1.0, 2.0]
    assert readout.tally().events == 2


def asked(name: str, at: int, shown: str, after: int | None, user: str = "u", variant: str = "new") -> bytes:
    """A list over HTTP, as a worker publishes it."""
    t = Tape()
    t.add(at, "-", user=user, shown=shown, variant=variant)
    [(_, made)] = t.records
    place = None if after is None else After(0, after)
    return msgspec.json.encode(msgspec.structs.replace(made, request_id=name, caused_by=None, after=place))


def test_a_list_asked_for_over_http_is_an_exposure_and_is_joined_by_its_request_id():
    t = Tape()
    t.add(0, "a", shown="b")
    t.add(30, "x", shown="")
    t.add(40, "x", shown="", request_id="r-get")
    readout = Readout(definition())
    for n in range(3):
        event(t, readout, n)
    readout.take_list(asked("r-get", 10, "x", 0), elsewhere("u"))
    readout.take_list(asked("r-get", 10, "x", 0), elsewhere("u"))  # asked for again: the same list
    readout.take_list(asked("r-other", 20, "y", 0), elsewhere("u"))
    for n in range(3):
        answer(t, readout, n)
    assert readout.tally().lists == 5
    assert unit_of(readout).now == [0.0, 0.0, 1.0, 5.0, 0.0, 1.0, 0.0, 0.0]


def test_where_lists_count_when_they_are_seen_one_over_http_does_too():
    t = Tape()
    t.add(0, "a", shown="b")
    t.add(15, "-", "impression", shown="", request_id="r-get")
    t.add(30, "x", shown="")
    readout = Readout(definition(exposure="impression"))
    readout.take_list(asked("r-get", 10, "x", 0), elsewhere("u"))
    readout.take_list(asked("r-unseen", 20, "x", 1), elsewhere("u"))
    for n in range(3):
        event(t, readout, n)
        answer(t, readout, n)
    assert unit_of(readout).now[2:6] == [1.0, 1.0, 1.0, 1.0]


def test_a_stranger_who_asked_is_exposed_with_the_first_event():
    t = Tape()
    t.add(30, "x", shown="")
    readout = Readout(definition())
    readout.take_list(asked("r-get", 10, "x", None), elsewhere("u"))
    assert readout.tally().lists == 0
    event(t, readout, 0)
    answer(t, readout, 0)
    assert unit_of(readout).now[2:4] == [1.0, 2.0]
    assert readout.tally().lists == 2


def test_a_list_over_http_waits_for_the_answer_to_what_it_knows_through_one_look() -> None:
    """What was being published at the first look has been read at the second."""
    for looks, clicked in ((1, 1.0), (2, 0.0)):
        t = Tape()
        t.add(0, "a", shown="b")
        t.add(30, "x", shown="")
        readout = Readout(definition())
        event(t, readout, 0)
        event(t, readout, 1)
        readout.take_list(asked("r-get", 10, "x", 0), elsewhere("u"))
        for _ in range(looks):
            assert readout.unsettled
            readout.caught_up()
        for n in range(2):
            answer(t, readout, n)
        assert unit_of(readout).now[2] == clicked, looks
        assert not readout.unsettled


@pytest.mark.parametrize("seed", range(4))
def test_lists_over_http_stand_after_what_the_user_had_done_whenever_they_are_read(seed):
    t = tape(users=3, steps=120)
    gets = [
        (n, asked(f"get-{n}", 10 * n + 5, "abc"[n % 3], n, t.records[n][0].user_id)) for n in range(len(t.records) - 1)
    ]
    found = []
    for order in (None, random.Random(seed)):
        queues = [
            [(n, None) for n in range(len(t.records))],
            sorted([(n, None) for n in range(len(t.records))] + gets, key=lambda g: (g[0], g[1] is not None)),
        ]
        readout = Readout(definition())
        while any(queues):
            which = order.choice([q for q in (0, 1) if queues[q]]) if order else int(not queues[0])
            n, raw = queues[which].pop(0)
            if which == 0:
                event(t, readout, n)
            elif raw is None:
                answer(t, readout, n)
            else:
                readout.take_list(raw)
        found.append(readout.tally().plain())
    assert found[0] == found[1]
    assert found[0]["lists"] == 239


def test_records_that_are_none_are_counted():
    readout = Readout(definition())
    readout.take_list(b"{")
    readout.take_list(None)
    assert readout.unreadable == 2
