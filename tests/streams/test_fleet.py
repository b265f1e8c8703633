"""What all workers want is a function of what was announced and decided, in whatever order it is read."""

from __future__ import annotations

import itertools

import numpy as np

from streams.contracts.models import Announcement, Decision, TrainedOn
from streams.fleet import KEPT, Fleet, Wanted


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


def test_what_is_said_no_more_goes_and_nothing_else_changes() -> None:
    """Hundreds of versions, tried, promoted, pinned and sent back: the topic stays short, and who starts anew wants the same."""
    rng, fleet, topic, clock = np.random.default_rng(3), Fleet(), dict[str, Decision](), 0
    newest = None
    for n in range(400):
        taken_off = fleet.spent()  # as of before the next version is announced
        fleet.announce(newest := announced(f"v{n}", n))
        for version in taken_off:
            topic.pop(version)
            fleet.forget(version)
        for _ in range(int(rng.integers(0, 3))):
            clock += 1
            some = n if rng.random() < 0.7 else n - min(n, int(rng.integers(1, 4)))
            state = rng.choice(["promoted", "rolled_back", "pinned"], p=[0.03, 0.95, 0.02])
            topic[f"v{some}"] = decided(f"v{some}", state, clock, created=some)
            fleet.decide(topic[f"v{some}"])
        before, spent = fleet.wanted, fleet.spent()
        left = [decision for version, decision in topic.items() if version not in spent]
        assert wanted(newest, *left) == before
        assert len(left) <= KEPT + 3, "the latest, two that are or would be live, the one announced"
        if before.live is not None and before.live.version in topic:
            back = decided(before.live.version, "rolled_back", clock + 1, created=before.live.created)
            assert wanted(newest, *left, back).live == wanted(newest, *topic.values(), back).live, (
                "and so on a rollback"
            )
        announced_again = [announced(version, decision.announcement.created) for version, decision in topic.items()]
        assert wanted(newest, *announced_again, *left) == before, "what was sent back is not tried again"


def test_nothing_is_spent_as_long_as_nothing_newer_was_announced() -> None:
    fleet = Fleet()
    for n in range(3 * KEPT):
        fleet.decide(decided(f"v{n}", "rolled_back", n, created=n))
    assert fleet.spent() == {}
    fleet.announce(announced("v9", 9))
    assert set(fleet.spent()) == {f"v{n}" for n in range(9)}
    fleet.announce(announced("new", 99))
    assert set(fleet.spent()) == {f"v{n}" for n in range(2 * KEPT)}
