"""Which list an event is for: what impressions, copies, late events, names and other users change in that, and what they do not."""

from __future__ import annotations

import msgspec
import pytest

from streams.contracts.events import Event
from streams.readout.explored import rows_of
from streams.readout.explored_rows import Joined, Row, told
from tests.worlds import START

from .test_explored import JUDGED, world
from .test_explored_rows import asked_for, changed


def event(raw: bytes, **fields: object) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(msgspec.json.decode(raw, type=Event), **fields))


def time(raw: bytes) -> int:
    return msgspec.json.decode(raw, type=Event).timestamp


def joined(events, published, candidate, ms: int = 60_000) -> tuple[list[Row], Joined]:
    return rows_of(events, published, candidate, JUDGED, ms)


def came(rows: list[Row]) -> list[tuple[tuple[str, ...], int, str | None]]:
    return [(row.order, row.place, row.then) for row in rows]


@pytest.fixture(scope="module")
def plain():
    """Users 0, 1, 2 ... do two things each: events 2n and 2n + 1, of which the list of the first explores."""
    return world(60)


def answered(published: bytes, candidate: bytes, event_id: str, timestamp: int) -> tuple[bytes, bytes]:
    """Another list that explored, of the same user: with `c` drawn from its place."""
    items = [{"item_id": i, "score": 5.0 - "abcde".index(i)} for i in "cabde"]
    cause = {"event_id": event_id, "topic": "events", "partition": 0, "offset": 10_000}
    fields = {"request_id": f"r-{event_id}", "timestamp": timestamp, "caused_by": cause}
    return changed(published, propensity=0.2, items=items, **fields), changed(candidate, **fields)


@pytest.mark.parametrize("named", [False, True])
def test_lists_that_answer_impressions_change_nothing(plain, named: bool) -> None:
    """Each user sees places of their list, two of which are told of before the next event, and the worker answers those too."""
    events, published, candidate = plain
    seen, lists, others = [], [*published], [*candidate]
    for n, raw in enumerate(events):
        if n % 2:
            for k in range(2):
                fields = {"event_id": f"seen-{n}-{k}", "timestamp": time(raw) - 500 + k}
                seen.append(event(raw, event_type="impression", request_id=f"{n // 2}-0", **fields))
                for out, made in zip(
                    (lists, others), answered(published[n - 1], candidate[n - 1], **fields), strict=True
                ):
                    out.append(made)
        seen.append(event(raw, request_id=f"{n // 2}-0") if n % 2 and named else raw)
    expected, without = joined(events, published, candidate)
    rows, found = joined(seen, lists, others)
    assert came(rows) == came(expected)
    assert (found.rows, found.of_impressions, found.named_another, found.no_event) == (60, 120, 0, 0)
    assert without.of_impressions == 0
    assert "120 lists explored, but answer impressions" in told(found)


A = [{"name": "x", "variant": "a"}]
TIED = [{"item_id": i, "score": 1.0} for i in "cabde"]
NOT_KEPT = {
    "not explored": {"propensity": None},
    "no items": {"items": []},
    "a tie": {"items": TIED},
    "a tester's": {"experiments": [A[0] | {"forced": True}]},
    "of no experiment": {"experiments": []},
}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("how", ["kept", "kept alone", *NOT_KEPT])
def test_a_list_over_http_after_an_impression_is_one_after_the_list_that_was_looked_at(plain, how: str, last) -> None:
    """Whether or not the list that answers the impression is kept itself, or the candidate has one for it."""
    events, published, candidate = plain
    look = event(events[1], event_type="impression", event_id="seen", timestamp=time(events[1]) - 500)
    made, other = answered(published[0], candidate[0], "seen", time(look))
    answer = changed(made, **{"experiments": A, **NOT_KEPT.get(how, {})})
    lists = [*(changed(p, experiments=A) for p in published), answer]
    rows, found = rows_of(
        [events[0], look, *events[1:]],
        [*lists, asked_for(made, 0)] if last else [asked_for(made, 0), *lists],
        [*candidate, other] if how == "kept" else candidate,
        JUDGED,
        60_000,
        "x",
        "a",
    )
    kept = how in ("kept", "kept alone")
    assert (found.shown_another, found.of_impressions, found.no_candidate, rows[0].then) == (1, kept, 0, None)
    assert [row.then for row in rows[1:]] == [row.then for row in joined(events, published, candidate)[0][1:]]


def test_a_list_over_http_after_a_late_event_or_a_copy_is_one_in_between_once(plain) -> None:
    """The lists that answer these are not kept."""
    events, published, candidate = plain
    late = event(events[0], event_id="late", timestamp=time(events[0]) - 1)
    answer = changed(answered(published[0], candidate[0], "late", time(late))[0], propensity=None)
    rows, found = joined([events[0], late, *events[1:]], [*published, answer, asked_for(answer, 0)], candidate)
    assert (found.shown_another, rows[0].then) == (1, None)
    expected, _ = joined(events, published, candidate)
    look = event(late, event_type="impression", event_id="late")
    rows, found = joined([look, events[0], look, *events[1:]], [*published, answer, asked_for(answer, 0)], candidate)
    assert (found.shown_another, came(rows)) == (0, came(expected)), "it was before the list"


def test_an_event_is_for_the_list_that_it_names_among_several(plain) -> None:
    """The first user does three things, and then goes back to the list after the first of them, twice."""
    events, published, candidate = plain
    more = [event(events[1], event_id=f"more-{k}", timestamp=time(events[1]) + 1 + k, item_id="z") for k in range(4)]
    lists, others = [*published], [*candidate]
    for each in more[:2]:
        made, other = answered(published[0], candidate[0], msgspec.json.decode(each)["event_id"], time(each))
        lists.append(made)
        others.append(other)
    first = [events[0], *more[:2], event(more[2], request_id="0-0", item_id="b"), event(more[3], request_id="0-0")]
    rows, found = joined([*first, *events[2:]], lists, others)
    assert [row.then for row in rows[:3]] == ["z", "z", None], "the first list was decided by the event after it"
    carts = [event(raw, event_type="cart") if 0 < n < 3 else raw for n, raw in enumerate(first)]
    rows, found = joined([*carts, *events[2:]], lists, others)
    assert [row.then for row in rows[:3]] == ["b", None, None], "the first thing that is meant"
    assert found.named_another == 0
    rows, found = joined([*carts[:3], event(carts[3], request_id="r-more-0"), *events[2:]], lists, others)
    assert [row.then for row in rows[:3]] == [None, "b", None]
    rows, found = joined([*carts[:3], event(carts[3], request_id="1-0"), *events[2:]], lists, others)
    assert ([row.then for row in rows[:3]], found.named_another) == ([None, None, None], 1)
    rows, found = joined([*carts, *events[2:]], lists, others, ms=time(carts[3]) - time(carts[0]))
    assert rows[0].then == "b"
    rows, found = joined([*carts, *events[2:]], lists, others, ms=time(carts[3]) - time(carts[0]) - 1)
    assert (rows[0].then, found.named_another) == (None, 1)


def test_another_user_s_event_that_names_a_list_is_not_for_it(plain) -> None:
    events, published, candidate = plain
    rows, found = joined([events[0], events[2], event(events[3], request_id="0-0")], published, candidate)
    assert ([row.then for row in rows], found.named_another) == ([None, None], 1)


def test_an_event_of_the_same_millisecond_is_the_next_one_and_a_copy_is_not(plain) -> None:
    events, published, candidate = plain
    expected, _ = joined(events, published, candidate)
    same = [event(raw, timestamp=time(events[n - n % 2])) for n, raw in enumerate(events)]
    assert came(joined(same, published, candidate)[0]) == came(expected)
    twice = [each for raw in events for each in (raw, raw)]
    assert came(joined(twice, published, candidate)[0]) == came(expected)
    later = [each for n, raw in enumerate(same) for each in (raw, event(raw, timestamp=time(raw) + 1))]
    assert came(joined(later, published, candidate)[0]) == came(expected), "whatever the copy's time"


def test_a_copy_of_an_event_further_back_decides_nothing(plain) -> None:
    events, published, candidate = plain
    made, other = answered(published[0], candidate[0], "0-1", time(events[1]))
    lists, others = [published[0], made], [candidate[0], other]
    last = event(events[1], event_id="last", timestamp=time(events[1]) + 1, item_id="b")
    copy = event(events[0], timestamp=time(events[1]))
    rows, _ = joined([events[0], events[1], copy, last], lists, others)
    assert rows[1].then == "b"


def test_a_late_event_decides_nothing_and_its_list_does_not_count(plain) -> None:
    """It comes after the list that the user is on, and is from before it."""
    events, published, candidate = plain
    late = event(events[0], event_id="late", timestamp=time(events[0]) - 1, item_id="z")
    made, other = answered(published[0], candidate[0], "late", time(late))
    expected, _ = joined(events, published, candidate)
    rows, found = joined([events[0], late, *events[1:]], [*published, made], [*candidate, other])
    assert came(rows) == came(expected)
    assert (found.rows, found.late) == (60, 1)
    assert "1 lists explored, but their event is older than one before it" in told(found)
    behind = event(late, event_id="behind", timestamp=time(events[1]) - 1)
    made, other = answered(published[0], candidate[0], "behind", time(behind))
    rows, found = joined([*events[:2], behind, *events[2:]], [*published, made], [*candidate, other])
    assert (came(rows), found.late) == (came(expected), 1), "older than the event that decided the list"
    rows, found = joined([events[0], event(late, request_id="0-0"), *events[1:]], published, candidate)
    assert (rows[0].then, found.late) == ("z", 0), "what it says is sure"
    rows, found = joined([events[0], event(late, request_id="get"), *events[1:]], published, candidate)
    assert (came(rows), found.named_another) == (came(expected), 0)


def test_an_event_of_another_user_with_the_same_id_does_not_take_a_list(plain) -> None:
    events, published, candidate = plain
    other = event(events[0], user_id="another")
    expected, _ = joined(events, published, candidate)
    rows, found = joined([other, *events, other], published, candidate)
    assert came(rows) == came(expected)
    assert (found.rows, found.no_event) == (60, 0)
    rows, found = joined([other, *events[2:]], published, candidate)
    assert (found.rows, found.no_event) == (59, 1)
    rows, found = joined([other, *events[2:]], published, candidate[2:])
    assert (found.rows, found.no_event, found.no_candidate) == (59, 0, 1), "for one reason only"


def test_lists_of_two_users_for_events_of_one_id_are_told_apart() -> None:
    """Then their request_ids are the same, too: a click that names one is for its own user's list."""
    events, published, candidate = [], [], []
    for n, user in enumerate(("u1", "u2")):
        events.append(event_of(user, "1", 10 * n, f"x{n}"))
        published.append(list_of(user, 10 * n, n, "abcde", propensity=0.2))
        candidate.append(list_of(user, 10 * n, n, "a"))
    events += [event_of("u1", "c", 20, "a", "r-1"), event_of("u2", "d", 30, "b", "r-1")]
    rows, joined = rows_of(events, published, candidate, JUDGED, 60_000)
    assert [(row.user, row.then) for row in rows] == [(0, "a"), (1, "b")]
    assert joined.named_another == 0


def event_of(user: str, event_id: str, at: int, item: str, request_id: str | None = None) -> bytes:
    return msgspec.json.encode(
        Event(
            timestamp=START + at,
            user_id=user,
            item_id=item,
            event_type="view",
            event_id=event_id,
            request_id=request_id,
        )
    )


def list_of(user: str, at: int, offset: int, items: str, propensity: float | None = None) -> bytes:
    cause = {"event_id": "1", "topic": "events", "partition": 0, "offset": offset}
    listed = [{"item_id": item, "score": 5.0 - n} for n, item in enumerate(items)]
    record = {"request_id": "r-1", "user_id": user, "timestamp": START + at, "items": listed, "caused_by": cause}
    return msgspec.json.encode(record | {"propensity": propensity})
