"""What all workers want is a function of what was announced and decided, in whatever order it is read."""

from __future__ import annotations

import itertools

from streams.contracts.models import Announcement, Decision, TrainedOn
from streams.fleet import Fleet, Wanted


def announced(version: str, created: int) -> Announcement:
    return Announcement(
        version=version, uri=f"file:///m/{version}", sha256="0" * 64, trained=TrainedOn(from_ms=0, to_ms=1, events=1), metrics={},
        created=created,
    )  # fmt: skip


def decided(version: str, state: str, at: int, created: int = 1) -> Decision:
    return Decision(announcement=announced(version, created), state=state, by="w", created=at)  # type: ignore[arg-type]


def wanted(*records: Announcement | Decision) -> Wanted:
    fleet = Fleet()
    for record in records:
        if isinstance(record, Decision):
            fleet.decide(record)
        else:
            fleet.announce(record)
    return fleet.wanted


def names(found: Wanted) -> tuple[str | None, str | None, bool]:
    return (
        found.live.version if found.live else None, found.candidate.version if found.candidate else None, found.pinned
    )  # fmt: skip


def test_nothing_was_announced() -> None:
    assert wanted() == Wanted()


def test_what_is_announced_is_tried_and_what_is_promoted_is_live() -> None:
    assert names(wanted(announced("a", 1))) == (None, "a", False)
    assert names(wanted(announced("a", 1), decided("a", "promoted", 5))) == ("a", None, False)
    assert names(wanted(announced("b", 2), decided("a", "promoted", 5))) == ("a", "b", False)


def test_what_is_rolled_back_is_neither_live_nor_tried_again_and_the_one_before_is() -> None:
    one, two = decided("a", "promoted", 5), decided("b", "promoted", 6, created=2)
    assert names(wanted(one, two)) == ("b", None, False)
    assert names(wanted(announced("b", 2), one, two, decided("b", "rolled_back", 7, created=2))) == ("a", None, False)
    assert names(wanted(decided("a", "rolled_back", 5))) == (None, None, False)


def test_an_older_version_announced_after_a_newer_one_is_left_alone() -> None:
    assert names(wanted(announced("b", 2), announced("a", 1))) == (None, "b", False)
    assert names(wanted(announced("a", 1), decided("b", "promoted", 5, created=2))) == ("b", None, False)
    fleet = Fleet()
    assert fleet.announce(announced("b", 2))
    assert not fleet.announce(announced("a", 1))


def test_a_pin_holds_until_something_is_promoted() -> None:
    pin = decided("a", "pinned", 8)
    assert names(wanted(announced("c", 3), decided("b", "promoted", 5, created=2), pin)) == ("a", None, True)
    later = decided("b", "promoted", 9, created=2)
    assert names(wanted(announced("c", 3), later, pin)) == ("b", "c", False)


def test_the_order_of_reading_does_not_matter() -> None:
    records = (
        announced("c", 3), decided("a", "promoted", 5), decided("b", "rolled_back", 7, created=2), announced("b", 2),
    )  # fmt: skip
    assert {names(wanted(*order)) for order in itertools.permutations(records)} == {("a", "c", False)}


def test_a_decision_can_be_taken_back() -> None:
    fleet = Fleet()
    fleet.announce(announced("a", 1))
    fleet.decide(decided("a", "rolled_back", 2))
    assert names(fleet.wanted) == (None, None, False)
    fleet.forget("a")
    assert names(fleet.wanted) == (None, "a", False)
