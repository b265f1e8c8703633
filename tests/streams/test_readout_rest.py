"""Who is silent for long and comes back is who never was packed; what is over is forgotten, and no longer counted."""

from __future__ import annotations

import pytest

from streams.readout import fold, tally
from streams.readout.tally import Tally
from streams.readout.users import Unit
from tests.streams.readout_tape import Tape, definition

DAY = 86_400


def test_a_unit_of_two_variants_that_rests_is_taken_out_and_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    t = Tape()
    t.add(0, "a", shown="b", variant="new")
    t.add(10, "b", shown="b", variant="control")
    for day in range(1, 40):
        t.add(day * DAY, "z", user="v", shown="b", variant="new")
    t.add(41 * DAY, "a", shown="b", variant="new")
    t.add(41 * DAY + 10, "b", shown="", variant="new")
    found = []
    for every in (10_000, 1):
        monkeypatch.setattr(fold, "FORGET_EVERY", every)
        counted = t.play(attribution_s=DAY).tally()
        assert (counted.mixed, counted.entered) == (1, {("new", 0): 2})
        sums = counted.total("ctr", "new")
        assert (sums.n, sums.totals[:2]) == (1, (0, 39 << 32)), "of the other user"
        found.append(counted.plain())
    assert found[0] == found[1]


def test_sessions_of_who_comes_back_after_long_are_no_longer_counted() -> None:
    """Of one who was not packed meanwhile."""
    t = Tape()
    for n in range(9):
        t.add(n, "a", shown="b", unit=f"u/{n}")
    [part] = t.play(unit="session")._partitions.values()
    assert part.units.users.sessions == 8
    t.add(60 * DAY, "a", shown="b", unit="u/later")
    readout = t.play(unit="session")
    [part] = readout._partitions.values()
    assert (part.units.users.sessions, readout.users) == (0, 1)


def test_a_session_that_goes_on_keeps_none_that_is_over() -> None:
    """It began first; the one that began after it was exposed last 20 days ago."""
    t = Tape()
    t.add(0, "a", shown="b", unit="u/1")
    t.add(10, "a", shown="b", unit="u/2")
    for day in range(1, 20):
        t.add(day * DAY, "a", shown="b", unit="u/1")
    readout = t.play(unit="session", attribution_s=DAY)
    [part] = readout._partitions.values()
    assert (part.units.users.sessions, readout.tally().entered) == (0, {("new", 0): 2})
    t.add(20 * DAY, "a", shown="b", unit="u/2")
    assert t.play(unit="session", attribution_s=DAY).tally().entered == {("new", 0): 3}


def test_a_period_whose_only_unit_was_taken_out_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MOST_PERIODS", 3)
    of = Tally(definition(), 60)
    for n in range(10):
        unit = Unit("new", 0, n * 60_000, (0.0,) * 8)
        of.tell(unit)
        unit.mixed = True
        of.tell(unit)
    assert (of.mixed, of.cells) == (10, {})
