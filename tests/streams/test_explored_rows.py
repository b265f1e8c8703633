"""Which lists that explored count, which are left out and counted, and what is kept of all that is read."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from online_models.errors import InputError
from streams.readout.explored import rows_of
from streams.readout.explored_rows import left_out, told

from .test_explored import JUDGED, world

A, B = ({"name": "x", "variant": v, "share": 0.5} for v in "ab")


def changed(raw: bytes, **fields: Any) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(raw) | fields)


def asked_for(raw: bytes, number: int, **fields: Any) -> bytes:
    """A list over HTTP that was made after this one, before the user's next event."""
    cause = msgspec.json.decode(raw)["caused_by"]
    after = {"partition": cause["partition"], "offset": cause["offset"]}
    return changed(raw, request_id=f"get-{number}", caused_by=None, propensity=None, **{"after": after, **fields})


def peak(run: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_lists_that_did_not_explore_and_the_candidate_s_beside_them_are_not_kept() -> None:
    """20 users of 4,000 explored; all have 50 items a list, of names of their own."""
    events, published, _ = world(4_000)

    def made(candidate: bool) -> Iterator[bytes]:
        for n, raw in enumerate(published):
            items = [{"item_id": f"{n}-{k}", "score": 50.0 - k} for k in range(50)]
            explored = n % 2 == 0 and n < 40 and not candidate
            yield changed(raw, items=items, propensity=0.02 if explored else None)

    found = peak(lambda: rows_of(events[:40], made(False), made(True), JUDGED, 60_000))
    assert found < 400_000, "50 bytes for each list that was read"


def test_a_tester_s_lists_are_left_out() -> None:
    events, published, candidate = world(100)
    forced = [changed(p, experiments=[A | {"forced": True} if n < 20 else A]) for n, p in enumerate(published)]
    rows, joined = rows_of(events, forced, candidate, JUDGED, 60_000)
    assert (joined.rows, joined.forced, joined.not_explored) == (90, 10, 100)
    assert min(r.timestamp for r in rows) == msgspec.json.decode(published[20])["timestamp"]
    assert "10 records of lists of testers" in told(joined)


def test_lists_of_several_variants_count_and_are_told_apart() -> None:
    events, published, candidate = world(100)
    other = {"name": "y", "variant": "a"}
    of = [[A], [A], [B], [B, other]]
    made = [changed(p, experiments=of[n // 2 % 4]) for n, p in enumerate(published)]
    _, joined = rows_of(events, made, candidate, JUDGED, 60_000)
    assert (joined.rows, joined.of_others) == (100, 0)
    assert joined.variants == {"x/a": 50, "x/b": 25, "x/b+y/a": 25}
    for experiment, variant, expected in (
        ("x", None, {"x/a": 50, "x/b": 25, "x/b+y/a": 25}),
        ("x", "b", {"x/b": 25, "x/b+y/a": 25}),
        ("y", None, {"x/b+y/a": 25}),
        ("y", "a", {"x/b+y/a": 25}),
    ):
        rows, some = rows_of(events, made, candidate, JUDGED, 60_000, experiment, variant)
        assert some.variants == expected
        assert (some.rows, len(rows), some.of_others) == (sum(expected.values()), some.rows, 100 - some.rows)
    with pytest.raises(InputError, match=r"100 records of lists of another experiment or variant.*name an experiment"):
        rows_of(events, made, candidate, JUDGED, 60_000, "y", "b")


def test_of_experiments_of_one_name_the_one_begun_last_is_meant() -> None:
    """As the read-out, which has the definition at hand. Of lists of before there was `begun` it is not known."""
    events, published, candidate = world(100)
    begun = [{}, {"begun": 1_000}, {"begun": 3_000}, {"begun": 2_000}]
    made = [changed(p, experiments=[A | begun[n // 2 % 4]]) for n, p in enumerate(published)]
    rows, joined = rows_of(events, [*made, *made], candidate, JUDGED, 60_000, "x", "a")
    assert (joined.rows, joined.of_namesakes, joined.variants) == (50, 50, {"x/a": 50})
    times = {msgspec.json.decode(p)["timestamp"] for n, p in enumerate(published) if n // 2 % 4 in (0, 2)}
    assert {row.timestamp for row in rows} <= times
    assert "50 lists explored, but under another experiment of that name, begun before" in told(joined)
    known = [p for n, p in enumerate(made) if n // 2 % 4]
    plain = changed(published[0], experiments=[A | {"begun": 4_000}], propensity=None)
    with pytest.raises(InputError, match="75 lists explored, but under another experiment of that name"):
        rows_of(events, [*known, plain], candidate, JUDGED, 60_000, "x")


def test_experiments_of_one_name_are_told_apart_where_all_count() -> None:
    events, published, candidate = world(100)
    other = {"name": "y", "variant": "a", "begun": 500}
    of = [[A | {"begun": 1_000}], [A | {"begun": 2_000}, other], [other]]
    made = [changed(p, experiments=of[n // 2 % 3]) for n, p in enumerate(published)]
    _, joined = rows_of(events, made, candidate, JUDGED, 60_000)
    assert joined.of_namesakes == 0
    assert joined.variants == {"x/a@1000": 34, "x/a@2000+y/a": 33, "y/a": 33}


@pytest.mark.parametrize("first", [False, True])
def test_an_event_after_a_list_over_http_is_for_the_logged_one_only_if_it_says_so(first: bool) -> None:
    """Of users 0 and 1 there is a list over HTTP after the one that explored; of 2 from before it; of 3 another user's; of 4 after the next
    event."""
    events, published, candidate = world(100)
    plain, _ = rows_of(events, published, candidate, JUDGED, 60_000)
    named = [changed(e, request_id="1-0") if n == 3 else e for n, e in enumerate(events)]
    asked = [
        asked_for(published[0], 0),
        asked_for(published[0], 0),
        asked_for(published[2], 1),
        asked_for(published[4], 2, after={"partition": 0, "offset": 1}),
        asked_for(published[6], 3, user_id="another"),
        asked_for(published[9], 4),
        asked_for(published[10], 5, after=None),
    ]
    lists = [*asked, *published] if first else [*published, *asked]
    rows, joined = rows_of(named, lists, candidate, JUDGED, 60_000)
    assert (joined.shown_another, joined.named_another, joined.over_http) == (1, 0, 7)
    assert [r.then for r in rows] == [None, *(r.then for r in plain[1:])]
    assert left_out(joined) == "1 lists whose user was given another over HTTP before"
    of_it = [changed(e, request_id="get-0") if n == 1 else e for n, e in enumerate(named)]
    rows, joined = rows_of(of_it, lists, candidate, JUDGED, 60_000)
    assert (joined.shown_another, joined.named_another, rows[0].then) == (0, 1, None)


def test_a_list_over_http_in_another_partition_is_of_another_event() -> None:
    events, published, candidate = world(50)
    asked = asked_for(published[0], 0, after={"partition": 1, "offset": 0})
    assert rows_of(events, [*published, asked], candidate, JUDGED, 60_000)[1].shown_another == 0


def test_a_list_says_what_was_drawn_also_where_scores_do_not() -> None:
    """All items of a list have the same score, as where nothing names them and popular ones fill it up."""
    events, published, candidate = world(100)
    plain, _ = rows_of(events, published, candidate, JUDGED, 60_000)
    flat, said = [], []
    for raw in published:
        items = [item | {"score": 1.0} for item in msgspec.json.decode(raw)["items"]]
        flat.append(changed(raw, items=items))
        said.append(changed(raw, items=[items[0] | {"place": "abcde".index(items[0]["item_id"])}, *items[1:]]))
    rows, joined = rows_of(events, said, candidate, JUDGED, 60_000)
    assert ([(r.order, r.place) for r in rows], joined.ties) == ([(r.order, r.place) for r in plain], 0)
    with pytest.raises(InputError, match="100 records of lists whose best two have the same score"):
        rows_of(events, flat, candidate, JUDGED, 60_000)


def test_a_tie_at_the_top_leaves_lists_out_whatever_was_drawn() -> None:
    """Otherwise those with the best two in the first place would be missing, and what these earn be held for nothing."""
    events, published, candidate = world(200)
    tied, out = [], set()
    for n, raw in enumerate(published):
        equal = [("a", "b"), ("b", "c"), ()][n // 2 % 3]  # the best two, two below, none
        items = [i | ({"score": 4.0} if i["item_id"] in equal else {}) for i in msgspec.json.decode(raw)["items"]]
        beyond = {"place": 5} if n == 4 else {}  # of no use
        tied.append(changed(raw, items=[items[0] | beyond, *items[1:]]))
        out |= {msgspec.json.decode(raw)["timestamp"]} if "a" in equal else set()
    rows, joined = rows_of(events, tied, candidate, JUDGED, 60_000)
    plain, _ = rows_of(events, published, candidate, JUDGED, 60_000)
    assert joined.ties == 67
    kept = [r for r in plain if r.timestamp not in out]
    assert [(r.timestamp, r.order[r.place]) for r in rows] == [(r.timestamp, r.order[r.place]) for r in kept]
    assert {r.order[r.place] for r in plain if r.timestamp in out} == set("abcde")
    assert [(r.order, r.place) for n, r in enumerate(rows) if n % 2] == [
        (r.order, r.place) for n, r in enumerate(kept) if n % 2
    ]
    alone = [changed(p, items=msgspec.json.decode(p)["items"][:1]) for p in published]
    rows, joined = rows_of(
        events, alone, [changed(c, items=[{"item_id": "a", "score": 1.0}]) for c in candidate], JUDGED, 60_000
    )
    assert (joined.rows, joined.ties, {r.place for r in rows}) == (200, 0, {0})


def of_others(candidate: list[bytes], n: int) -> list[bytes]:
    """The first ``n`` lists are another user's, for an event of the same id."""
    return [changed(c, user_id=f"another-{k}") if k < n else c for k, c in enumerate(candidate)]


def test_a_candidate_of_another_log_is_refused_though_the_ids_are_the_same() -> None:
    """A log without ids has 1, 2, 3 ...: any two have these."""
    events, published, candidate = world(200)
    with pytest.raises(InputError, match=r"200 of 200 .* replay the log that the lists are of"):
        rows_of(events, published, of_others(candidate, 400), JUDGED, 60_000)
    with pytest.raises(InputError, match="4 of 200"):
        rows_of(events, published, of_others(candidate, 8), JUDGED, 60_000)
    events, published, candidate = world(2)
    with pytest.raises(InputError, match="2 of 2"):
        rows_of(events, published, of_others(candidate, 4), JUDGED, 60_000)


def test_an_id_that_comes_twice_in_a_small_log_closes_nothing() -> None:
    events, published, candidate = world(20)
    rows, joined = rows_of(events, published, of_others(candidate, 2), JUDGED, 60_000)
    assert (len(rows), joined.other_users) == (19, 1)


@pytest.mark.parametrize("older", [100, 200])
def test_a_log_that_was_answered_under_an_older_experiment_first_loses_nothing(older: int) -> None:
    """The events are the same, and so are their ids, whichever topic partition is read first."""
    events, published, candidate = world(100)
    old, new = ([changed(p, experiments=[A | {"begun": at}]) for p in published] for at in (1_000, 2_000))
    for made in ([*old[:older], *new], [*new, *old[:older]]):
        rows, joined = rows_of(events, made, candidate, JUDGED, 60_000, "x", "a")
        assert (len(rows), joined.of_namesakes) == (100, older // 2)


def test_a_few_of_the_candidate_s_lists_for_another_user_s_event_are_left_out() -> None:
    events, published, candidate = world(200)
    rows, joined = rows_of(events, published, of_others(candidate, 3), JUDGED, 60_000)
    assert (len(rows), joined.other_users, joined.no_candidate) == (198, 2, 2)
    assert "2 records of lists of the candidate for an event of the same id, but of another user" in told(joined)
    assert {row.timestamp for row in rows}.isdisjoint(msgspec.json.decode(p)["timestamp"] for p in published[:3])
