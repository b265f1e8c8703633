"""What a read-out remembers of users: enough to be right, and no more however long it watches."""

from __future__ import annotations

import random
from contextlib import nullcontext

import msgspec
import pytest

from online_models.errors import InputError
from streams.contracts.events import Source
from streams.readout import fold
from streams.readout.fold import Readout
from streams.readout.users import KEPT_LISTS, KEPT_PURCHASES
from tests.streams.readout_tape import Tape, definition, unit_of
from tests.worlds import START

DAY = 86_400


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "FORGET_EVERY", 1)


def test_a_click_that_names_the_list_before_last_is_on_its_items():
    t = Tape()
    first = t.add(0, "a", shown="x")
    t.add(10, "b", shown="c")
    t.add(20, "c", shown="d")
    t.add(30, "e", shown="f")
    t.add(40, "x", shown="", request_id=first)
    found = t.unit()
    assert (found["clicked"], found["hits"]) == (2.0, 2.0)


def test_users_are_not_forgotten_while_something_of_them_counts():
    """Everybody else comes and goes meanwhile; the clock that counts is that of the events."""
    t = Tape()
    t.add(0, "a", shown="b")
    t.add(DAY - 10, "z", user="v", shown="b")
    t.add(DAY, "b", shown="c")
    assert t.unit(attribution_s=DAY)["clicked"] == 1.0
    old = Tape()
    old.add(0, "a", "purchase", shown="b", variant=None, value=2.0)
    old.add(13 * DAY, "z", user="v", shown="b")
    old.add(14 * DAY, "a", shown="b")
    assert unit_of(old.play()).before[:2] == (1.0, 2.0)


def test_of_what_was_before_no_more_days_are_kept_than_count() -> None:
    """In whatever order they come; the latest 14 days and the day itself are exact."""
    shuffled = random.Random(3).sample(range(60), 60)
    for days in (range(60), range(59, -1, -1), shuffled):
        t = Tape()
        for day in days:
            t.add(day * DAY, "a", "purchase", shown="b", variant=None, value=2.0 ** (day - 45))
        [part] = t.play()._partitions.values()
        [user] = part.units.users._known.values()
        assert len(user.past) <= 15
        t.add(59 * DAY + 1, "a", shown="b")
        assert unit_of(t.play()).before[:2] == (1.0, 2.0**15 - 1.0)


def test_an_event_that_comes_up_to_a_day_late_finds_what_it_would_have_found() -> None:
    """The covariate of the 14 days before its own time, when by the clock they are over."""
    midnight = 25_600
    t = Tape()
    t.add(midnight, "a", "purchase", shown="b", variant=None, value=2.0)
    for n in range(5):
        t.add(midnight + 15 * DAY + DAY // 2 + n, "z", user="v", shown="b")
    t.add(midnight + 15 * DAY - 3_600, "a", shown="b")
    assert (START // 1000 + midnight) % DAY == 0
    assert unit_of(t.play(attribution_s=DAY)).before[:2] == (1.0, 2.0)
    assert t.play(attribution_s=DAY).tally().lost == 0


def test_a_user_who_comes_back_after_long_is_the_same_unit():
    t = Tape()
    t.add(0, "a", shown="b")
    t.add(10, "b", shown="c")
    for day in range(1, 60):
        t.add(day * DAY, "z", user="v", shown="b")
    t.add(60 * DAY, "a", shown="b")
    t.add(60 * DAY + 9, "b", shown="c")
    tally = t.play().tally()
    assert tally.entered == {("new", 0): 2}
    assert unit_of(t.play()).now[2:4] == [2.0, 4.0]
    assert tally.lost == 0


@pytest.mark.parametrize("unit", ["user", "session"])
def test_a_return_takes_back_from_the_unit_that_bought_whenever_it_comes(unit):
    session = {} if unit == "user" else {"unit": "u/1"}
    later = {} if unit == "user" else {"unit": "u/2"}
    for after in (DAY // 2, 60 * DAY):
        t = Tape()
        t.add(0, "a", shown="b", **session)
        t.add(10, "b", "purchase", shown="c", value=5.0, **session)
        t.add(20, "b", "purchase", shown="c", value=3.0, **session)
        t.add(after - 10, "q", user="v", shown="c")
        t.add(after, "a", shown="b", **later)
        t.add(after + 10, "b", "return", shown="c", value=6.0, **later)
        readout = t.play(unit=unit)
        cells = readout.tally().total("revenue", "new")
        assert cells.totals[0] / 2**32 == 2.0, after
        assert cells.products[0] / 2**64 == 4.0, "not from a unit that bought nothing"


def test_sessions_are_forgotten_when_they_are_over():
    """One by one, of many users or of one: what is remembered stays the same size, and the sums are right."""
    for users in (1, 100_000):
        t = Tape()
        for n in range(600):
            user = f"u{n % users}"
            t.add(n * DAY // 2, "x", user=user, shown="b", unit=f"{user}/{n}")
            t.add(n * DAY // 2 + 5, "b", user=user, shown="c", unit=f"{user}/{n}")
        readout = t.play(unit="session")
        assert readout.tally().total("ctr", "new").n == 600
        assert readout.tally().total("ctr", "new").totals[0] == 600 << 32
        assert readout.users <= 40
        [part] = readout._partitions.values()
        assert max(len(u.units) for u in part.units.users._known.values()) <= 31, "15 days of them"
        assert part.units.users.sessions == (30 if users == 1 else 0)


def in_turns(sessions: int, rounds: int) -> Tape:
    """Of one user, or of many who share an id."""
    t = Tape()
    for n in range(sessions * rounds):
        s = n % sessions
        t.add(n, "b", user="guest", shown="b", variant=("control", "new")[s % 2], unit=f"guest/{s}")
    return t


@pytest.mark.parametrize("sessions", [21, 200])
def test_all_sessions_that_go_on_are_remembered_however_many_a_user_has(sessions: int) -> None:
    found = in_turns(sessions, 5).play(unit="session").tally()
    assert sum(found.entered.values()) == sessions
    assert sum(found.total("ctr", v).n for v in found.variants) == sessions
    assert sum(found.total("ctr", v).totals[1] for v in found.variants) >> 32 == 5 * sessions
    assert (found.mixed, found.lost) == (0, 0)


def test_sessions_reach_the_limit_as_users_do() -> None:
    t = in_turns(200, 1)
    for most in (26, 25):  # the user, and 199 more sessions, eight of which are one
        readout = Readout(definition(unit="session"), max_users=most)
        with pytest.raises(InputError, match="at most 25 users") if most == 25 else nullcontext():
            for n, (event, made) in enumerate(t.records):
                readout.take_event(msgspec.json.encode(event), Source(0, n))
                readout.take_list(msgspec.json.encode(made))
    assert readout.users == 26


@pytest.mark.parametrize("days", [14, 16])
def test_a_session_is_over_when_the_user_has_gone_on_without_it_for_as_long_as_anything_counts(days: int) -> None:
    """And is one of the users who are silent for as long."""
    for meanwhile in (True, False):
        t = Tape()
        t.add(0, "x", shown="b", unit="u/1")
        for day in range(1, days) if meanwhile else ():
            t.add(day * DAY, "x", shown="b", unit="u/2")
        t.add(days * DAY, "x", shown="b", unit="u/1")
        assert t.play(unit="session", attribution_s=DAY).tally().entered["new", 0] == 1 + meanwhile + (days > 15)


def test_what_is_kept_of_one_user_is_bounded():
    t = Tape()
    for n in range(500):
        t.add(n * 60, f"i{n}", "purchase", shown="bcdef", value=1.0)
    [part] = t.play()._partitions.values()
    [user] = part.units.users._known.values()
    assert len(user.lists) == KEPT_LISTS
    assert len(user.bought) == KEPT_PURCHASES


def test_a_partition_that_is_ahead_makes_no_other_forget():
    t = Tape()
    t.add(0, "a", user="u", shown="b")
    t.add(400 * DAY, "a", user="ahead", shown="b")
    t.add(10, "b", user="u", shown="c")
    readout = Readout(definition())
    offsets = [0, 0]
    for event, made in t.records:
        p = int(event.user_id == "ahead")
        assert made is not None
        assert made.caused_by is not None
        cause = msgspec.structs.replace(made.caused_by, partition=p, offset=offsets[p])
        readout.take_event(msgspec.json.encode(event), Source(p, offsets[p]))
        readout.take_list(msgspec.json.encode(msgspec.structs.replace(made, caused_by=cause)), p)
        offsets[p] += 1
    tally = readout.tally()
    assert tally.total("ctr", "new").totals[0] == 1 << 32
    assert tally.until_ms == START + 400 * DAY * 1000


def test_impressions_of_a_list_neither_count_as_lists_nor_push_out_the_one_that_was_seen() -> None:
    t = Tape()
    t.add(0, "a", shown="bc")
    for n in range(KEPT_LISTS + 5):
        t.add(1 + n, "b", kind="impression", request_id="r0", shown="xy")
    t.add(60, "c", request_id="r0", shown="d")
    for exposure in ("published", "impression"):
        counted = t.unit(exposure=exposure)
        assert (counted["clicked"], counted["hits"]) == (1.0, 1.0), exposure
    assert t.unit()["lists"] == 2.0


@pytest.mark.parametrize("names", [False, True])
def test_a_return_long_after_the_window_is_taken_back_whether_it_names_its_list_or_not(names: bool) -> None:
    t = Tape()
    name = t.add(0, "a", shown="b")
    t.add(10, "b", kind="purchase", value=50.0, request_id=name)
    t.add(3 * 86_400, "b", kind="return", value=50.0, request_id=name if names else None)
    assert t.unit(attribution_s=3_600)["revenue"] == 0.0


def test_a_click_that_names_a_list_from_before_the_window_counts_for_nothing() -> None:
    """Nor for the later list, which it does not name."""
    for late, clicked in ((3_600, 1.0), (3_601, 0.0)):
        t = Tape()
        first = t.add(0, "a", shown="b")
        t.add(late - 10, "a", shown="b")
        t.add(late, "b", shown="c", request_id=first)
        played = t.play(attribution_s=3_600)
        assert unit_of(played).now[2] == clicked
        assert played.tally().unattributed == (clicked == 0.0)


def test_sessions_have_no_covariate() -> None:
    """What the user did before is also that of the user's sessions in the other variant."""
    t = Tape()
    t.add(0, "a", shown="b", variant=None)
    t.add(10, "b", shown="c", variant=None)
    t.add(20, "k", "purchase", shown="d", variant=None, value=3.0)
    t.add(30, "d", shown="e", unit="u/1")
    assert unit_of(t.play(unit="session"), "u/1").before == (0.0,) * 8


def test_a_click_on_a_list_of_the_experiment_is_no_past() -> None:
    """One on a list from outside of the experiment, which was seen, is."""
    for variant, before in (("new", 0.0), (None, 1.0)):
        t = Tape()
        first = t.add(0, "a", shown="b", variant=variant)
        if variant is None:
            t.add(5, "-", "impression", shown="", request_id=first, variant=None)
        second = t.add(10, "b", shown="c", request_id=first)
        t.add(20, "-", "impression", shown="", request_id=second)
        unit = unit_of(t.play(exposure="impression"))
        assert unit.before[2:4] == (before, before)
        assert unit.now[2:4] == [0.0, 1.0]


def test_a_click_on_a_list_of_the_experiment_that_was_not_seen_is_no_past() -> None:
    """Which it does not name."""
    t = Tape()
    t.add(0, "a", shown="b")
    second = t.add(10, "b", shown="c")
    t.add(20, "-", "impression", shown="", request_id=second)
    unit = unit_of(t.play(exposure="impression"))
    assert (unit.before[2:6], unit.now[2:6]) == ((0.0,) * 4, [0.0, 1.0, 0.0, 0.0])


def test_between_two_looks_what_has_changed_does_not_pile_up() -> None:
    t = Tape()
    for n in range(300):
        t.add(n, "a", user="u", shown="b", unit=f"u/{n}")
    readout = t.play(unit="session")
    [part] = readout._partitions.values()
    assert len(part.units.changed) <= 1
    assert readout.tally().total("ctr", "new").n == 300
