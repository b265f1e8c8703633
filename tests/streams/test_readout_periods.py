"""Sums by period: how many there may be, and what the line over time is made of."""

from __future__ import annotations

from collections import Counter

import pytest

from online_models.errors import InputError
from streams.readout import tally
from streams.readout.tally import Tally
from streams.readout.users import Unit
from tests.streams.readout_tape import definition


def test_too_many_periods_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MOST_PERIODS", 5)
    halves = [Tally(definition(), 60), Tally(definition(), 60)]
    for n in range(5):
        halves[0].tell(Unit("new", 0, n * 60_000, (0.0,) * 8))
        halves[1].tell(Unit("new", 0, (n + 1) * 60_000, (0.0,) * 8))
    with pytest.raises(InputError, match=r"at most 5 periods, got more, of 60 s each; .*longer --period"):
        halves[0].tell(Unit("new", 0, 5 * 60_000, (0.0,) * 8))
    with pytest.raises(InputError, match="longer --period"):
        halves[1] + Tally.from_plain(halves[0].plain() | {"partitions": [3]}, definition())


def test_the_timeline_takes_one_pass_over_the_cells() -> None:
    """Each period holds what was first exposed in it, and together they are the whole."""
    of = Tally(definition(), 60)
    for n in range(30):
        for v in ("control", "new"):
            of.tell(Unit(v, n % 2, (n % 7) * 60_000, (0.0,) * 8, now=[0.0, 1.0, 1.0, 2.0, 0.0, 1.0, 0.0, 0.0]))
    found = of.by_period("ctr")
    assert list(found) == list(range(7))
    got = Counter((v, sums.n) for cells in found.values() for v, _, sums in cells)
    assert sum(n * times for (v, n), times in got.items() if v == "new") == 30
