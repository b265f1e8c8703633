"""With `exposure: impression` a list counts once an impression says that it was seen, and what named it before then."""

from __future__ import annotations

import itertools

import pytest

from tests.streams.readout_tape import Tape, unit_of

IMPRESSION = {"exposure": "impression"}


def seen(*kinds: str) -> Tape:
    """One list, and what names it, in this order."""
    t = Tape()
    name = t.add(0, "z", shown="abc")
    for n, kind in enumerate(kinds):
        kind, _, item = kind.partition(" ")
        t.add(5 + n, item or "a", kind, shown="", request_id=name, value=7.0 if kind == "purchase" else None)
    return t


def test_what_names_a_list_waits_until_it_is_seen() -> None:
    """Impressions are sent in batches, so as a rule the click is there first. The order makes no difference."""
    for order in itertools.permutations(["impression", "click a", "click b", "purchase c"]):
        assert seen(*order).unit(**IMPRESSION) == {
            "conversion": 1.0, "revenue": 7.0, "clicked": 1.0, "lists": 1.0, "hits": 3.0, "targets": 3.0,
        }, order  # fmt: skip


def test_who_clicks_is_counted_as_who_does_not() -> None:
    """By impressions alone: where these get lost, units that click would else be more likely to count, and so the better variant's."""
    for kind in ("click a", "purchase a", "cart a", "rating a", "return a"):
        assert seen(kind).play(**IMPRESSION).tally().entered == {}, kind


def test_an_impression_that_comes_when_nothing_can_count_any_more_is_none() -> None:
    for late, entered in ((3_600, 1), (3_601, 0)):
        t = Tape()
        name = t.add(0, "a", shown="b")
        t.add(late, "b", "impression", shown="", request_id=name)
        assert sum(t.play(attribution_s=3_600, **IMPRESSION).tally().entered.values()) == entered


def test_a_return_takes_back_what_was_bought_before_the_impression() -> None:
    t = Tape()
    name = t.add(0, "z", shown="abc")
    t.add(5, "a", "purchase", shown="", request_id=name, value=7.0)
    t.add(6, "-", "impression", shown="", request_id=name)
    t.add(9, "a", "return", shown="", value=4.0)
    found = t.unit(**IMPRESSION)
    assert (found["conversion"], found["revenue"]) == (1.0, 3.0)


def test_a_return_takes_back_what_it_is_of_in_any_order() -> None:
    for order in itertools.permutations(["impression", "purchase a", "return a"]):
        if order.index("purchase a") < order.index("return a"):
            found = seen(*order).unit(**IMPRESSION)
            assert (found["conversion"], found["revenue"]) == (1.0, 0.0), order


def test_the_latest_purchase_is_taken_back_first_seen_or_not() -> None:
    t = Tape()
    first = t.add(0, "z", shown="abc")
    t.add(1, "-", "impression", shown="", request_id=first)
    t.add(2, "a", "purchase", shown="", request_id=first, value=3.0)
    second = t.add(3, "y", shown="abc")
    t.add(4, "a", "purchase", shown="", request_id=second, value=7.0)
    t.add(5, "a", "return", shown="")
    t.add(6, "-", "impression", shown="", request_id=second)
    assert t.unit(**IMPRESSION)["revenue"] == 3.0


@pytest.mark.parametrize("first", [False, True])
def test_all_that_is_bought_before_the_impression_counts(first: bool) -> None:
    t = Tape()
    name = t.add(0, "z", shown="abc")
    kinds = ["impression"] * first + ["purchase"] * 15 + ["impression"] * (not first)
    for n, kind in enumerate(kinds):
        t.add(1 + n, f"i{n}", kind, shown="", request_id=name, value=1.0)
    assert t.unit(**IMPRESSION)["revenue"] == 15.0


@pytest.mark.parametrize("seen_at", [4, 9])
def test_a_list_from_before_is_a_past_whenever_its_impression_comes(seen_at: int) -> None:
    t = Tape()
    outside = t.add(0, "z", shown="abc", variant=None)
    made: dict[int, str] = {}
    for at in sorted([5, 8, seen_at, 12]):
        if at == 5:
            t.add(5, "a", "purchase", shown="", request_id=outside, value=7.0, variant=None)
        elif at == 8:
            made[8] = t.add(8, "y", shown="de")
        else:
            t.add(at, "-", "impression", shown="", request_id=outside if at == seen_at else made[8], variant=None)
    before = unit_of(t.play(**IMPRESSION)).before
    assert before[:2] == (1.0, 7.0)
    assert before[3] == 1.0


def test_what_comes_after_a_list_of_the_experiment_is_no_past_however_many_lists_follow() -> None:
    t = Tape()
    t.add(0, "z", shown="abc")
    for n in range(25):
        t.add(10 + n, "y", shown="de", variant=None)
    t.add(50, "k", "purchase", shown="", value=9.0, variant=None)
    last = t.add(55, "y", shown="de")
    t.add(60, "-", "impression", shown="", request_id=last)
    assert unit_of(t.play(**IMPRESSION)).before[:2] == (0.0, 0.0)


def test_what_comes_late_from_before_the_experiment_is_a_past() -> None:
    t = Tape()
    first = t.add(10, "z", shown="abc")
    t.add(5, "k", "purchase", shown="", value=9.0, variant=None)
    t.add(20, "-", "impression", shown="", request_id=first)
    assert unit_of(t.play(**IMPRESSION)).before[:2] == (1.0, 9.0)


@pytest.mark.parametrize("order", [["impression", "purchase"], ["purchase", "impression"]])
@pytest.mark.parametrize("silence", [0, 16 * 86_400])
def test_a_purchase_that_counts_for_none_is_what_a_return_takes_back(order: list[str], silence: int) -> None:
    """Of a bandit's list from after its unit's ramp."""
    t = Tape()
    first = t.add(0, "z", shown="abc")
    t.add(1, "-", "impression", shown="", request_id=first)
    t.add(2, "a", "purchase", shown="", request_id=first, value=3.0)
    second = t.add(10, "y", shown="abc", ramp=1)
    for n, kind in enumerate(order):
        t.add(11 + n, "a", kind, shown="", request_id=second, value=7.0 if kind == "purchase" else None)
    t.add(20 + silence, "a", "return", shown="")
    assert t.unit(method="bandit", **IMPRESSION)["revenue"] == 3.0


def test_a_list_of_an_unknown_variant_earns_a_bandit_nothing() -> None:
    for order in (["impression", "click"], ["click", "impression"], ["click"]):
        t = Tape()
        name = t.add(0, "z", shown="abc", variant="zz")
        for n, kind in enumerate(order):
            t.add(5 + n, "a", kind, shown="", request_id=name)
        assert t.play(method="bandit", **IMPRESSION).tally().earned == {}, order


@pytest.mark.parametrize("first", [5, 10])
def test_the_past_ends_at_the_earliest_list_whichever_comes_first(first: int) -> None:
    t = Tape()
    t.add(first, "z", shown="abc")
    last = t.add(15 - first, "y", shown="de")
    t.add(7, "k", "purchase", shown="", value=9.0, variant=None)
    t.add(20, "-", "impression", shown="", request_id=last)
    assert unit_of(t.play(**IMPRESSION)).before[:2] == (0.0, 0.0)


def test_lists_that_were_never_seen_are_not_kept_for_what_was_bought() -> None:
    t = Tape()
    for n in range(60):
        name = t.add(10 * n, "z", shown="abc")
        t.add(10 * n + 1, "a", "purchase", shown="", request_id=name, value=1.0, variant=None)
    [part] = t.play(**IMPRESSION)._partitions.values()
    [user] = part.units.users._known.values()
    kept = {id(b.shown) for b in user.bought if b.shown is not None}
    assert len(user.bought) == 60
    assert 0 < len(kept) <= 10
    assert kept <= {id(shown) for shown in user.lists}


@pytest.mark.parametrize("named", [False, True])
def test_what_comes_after_a_list_of_the_experiment_is_no_past(named: bool) -> None:
    """Seen or not: the list may have made it, and a covariate that a variant can change hides the effect."""
    for variant, past in (("new", 0.0), (None, 1.0)):
        t = Tape()
        t.add(-20, "q", "purchase", shown="r", value=2.0, variant=None)
        first = t.add(0, "z", shown="abc", variant=variant)
        t.add(5, "k", "purchase", shown="", value=9.0, variant=None)
        second = first if named and variant else t.add(8, "y", shown="de")
        t.add(10, "-", "impression", shown="", request_id=second)
        assert unit_of(t.play(**IMPRESSION)).before[:2] == (1.0, 2.0 + 9.0 * past)


def test_credit_and_lists_that_decide_are_counted_together() -> None:
    for order in itertools.permutations(["impression", "click a", "click b"]):
        t = Tape()
        picks = {"a": "control", "b": "new", "c": "control", "d": "new"}
        name = t.add(0, "z", shown="abcd", variant="interleaved", picks=picks)
        for n, kind in enumerate([*order, "click d"]):
            kind, _, item = kind.partition(" ")
            t.add(5 + n, item or "a", kind, shown="", variant=None, request_id=name)
        unit = unit_of(t.play(method="interleave", **IMPRESSION))
        assert unit.now[2:4] == [1.0, 1.0]
        assert unit.now[6:] == [1.0, 1.0], order


def test_a_purchase_that_names_a_list_which_was_not_seen_counts_for_none() -> None:
    """Though its unit was exposed by another list before."""
    t = Tape()
    first = t.add(0, "a", shown="bc")
    t.add(1, "b", "impression", shown="", request_id=first)
    second = t.add(5, "q", shown="xy")
    t.add(9, "x", "purchase", shown="", request_id=second, value=7.0)
    found = t.unit(**IMPRESSION)
    assert (found["conversion"], found["revenue"], found["lists"]) == (0.0, 0.0, 1.0)


def test_a_bandit_earns_what_is_clicked_before_its_impression() -> None:
    for order in (["impression", "click a"], ["click a", "impression"]):
        earned = seen(*order).play(method="bandit", **IMPRESSION).tally().earned
        assert {column: n for (_, _, column), n in earned.items()} == {2: 1, 3: 1, 4: 1, 5: 1}, order


@pytest.mark.parametrize("names", [False, True])
def test_unattributed_is_what_comes_too_long_after_a_list_that_was_seen(names: bool) -> None:
    for late in (10, 3_601):
        t = Tape()
        name = t.add(0, "a", shown="b")
        t.add(late, "b", shown="c", request_id=name if names else None)
        tally = t.play(attribution_s=3_600, **IMPRESSION).tally()
        assert (tally.unattributed, tally.entered) == (0, {}), late
    t = Tape()
    name = t.add(0, "a", shown="b")
    t.add(5, "b", "impression", shown="", request_id=name)
    t.add(3_595, "k", shown="c")  # not seen
    t.add(3_601, "b", shown="d", request_id=name if names else None)
    assert t.play(attribution_s=3_600, **IMPRESSION).tally().unattributed == 1
