"""With `exposure: impression` a list counts once it was seen, whether its impression or a click that names it says so first."""

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


def test_a_click_that_names_its_list_is_proof_that_it_was_seen() -> None:
    """Impressions are sent in batches, so as a rule the click is there first. The order makes no difference."""
    for order in itertools.permutations(["impression", "click a", "click b", "purchase c"]):
        assert seen(*order).unit(**IMPRESSION) == {
            "conversion": 1.0, "revenue": 7.0, "clicked": 1.0, "lists": 1.0, "hits": 3.0, "targets": 3.0,
        }, order  # fmt: skip
    assert seen("click a").unit(**IMPRESSION)["clicked"] == 1.0, "and without an impression"


def test_what_neither_clicks_nor_converts_is_no_proof() -> None:
    for kind in ("cart", "rating", "return"):
        assert seen(f"{kind} a").play(**IMPRESSION).tally().entered == {}, kind


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


def test_a_purchase_that_names_a_list_without_an_impression_counts_for_its_unit() -> None:
    """Which was exposed by another list before."""
    t = Tape()
    first = t.add(0, "a", shown="bc")
    t.add(1, "b", "impression", shown="", request_id=first)
    second = t.add(5, "q", shown="xy")
    t.add(9, "x", "purchase", shown="", request_id=second, value=7.0)
    found = t.unit(**IMPRESSION)
    assert (found["conversion"], found["revenue"], found["lists"]) == (1.0, 7.0, 2.0)


def test_a_bandit_earns_what_is_clicked_before_its_impression() -> None:
    for order in (["impression", "click a"], ["click a", "impression"]):
        earned = seen(*order).play(method="bandit", **IMPRESSION).tally().earned
        assert {column: n for (_, _, column), n in earned.items()} == {2: 1, 3: 1, 4: 1, 5: 1}, order


@pytest.mark.parametrize("names", [False, True])
def test_unattributed_is_what_comes_too_long_after_a_list_that_was_seen(names: bool) -> None:
    for late, expected in ((10, 0), (3_601, int(names))):
        t = Tape()
        name = t.add(0, "a", shown="b")
        t.add(late, "b", shown="c", request_id=name if names else None)
        assert t.play(attribution_s=3_600, **IMPRESSION).tally().unattributed == expected, late
    t = Tape()
    name = t.add(0, "a", shown="b")
    t.add(5, "b", "impression", shown="", request_id=name)
    t.add(3_595, "k", shown="c")  # not seen
    t.add(3_601, "b", shown="d", request_id=name if names else None)
    assert t.play(attribution_s=3_600, **IMPRESSION).tally().unattributed == 1
