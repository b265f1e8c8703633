"""Sessions are over when event time says so, or when there is no room; each gives one sample."""

from __future__ import annotations

from online_models.open_sessions import AT_ONCE, OpenSessions


def test_a_session_is_over_after_its_own_last_event() -> None:
    sessions = OpenSessions(gap_ms=1000)
    sessions.touch(1, 0, b"a")
    sessions.touch(2, 100, b"b")
    sessions.touch(1, 900, b"")
    assert sessions.over(1000) == []
    assert sessions.over(1101) == [b"b"]
    assert sessions.over(1900) == []
    assert sessions.over(1901) == [b"a"]
    assert len(sessions) == 0


def test_the_latest_sample_stands_for_the_session() -> None:
    sessions = OpenSessions(gap_ms=1000)
    sessions.touch(1, 0, b"a")
    sessions.touch(1, 10, b"later")
    sessions.touch(2, 10, b"")
    assert sessions.converts(2) == b""
    assert sessions.converts(1) == b"later"
    assert sessions.over(1 << 40) == []


def test_a_late_event_takes_no_time_back() -> None:
    sessions = OpenSessions(gap_ms=1000)
    sessions.touch(1, 5000, b"a")
    sessions.touch(1, 0, b"")
    assert sessions.over(5900) == []


def test_there_is_room_for_so_many_and_one_event_closes_so_many() -> None:
    sessions = OpenSessions(gap_ms=1000, capacity=100)
    for n in range(101):
        sessions.touch(n, n, b"%d" % n)
    assert sessions.over(100) == [b"0"]
    assert len(sessions.over(1 << 40)) == AT_ONCE
    assert len(sessions) == 100 - AT_ONCE


def test_a_snapshot_goes_on_as_if_never_interrupted() -> None:
    sessions, other = OpenSessions(gap_ms=1000), OpenSessions(gap_ms=1000)
    for n in range(30):
        sessions.touch((n * 7919) << 40, 100 * n, b"x" * (n % 5 + 1))
    other.restore({name: array.copy() for name, array in sessions.snapshot().items()})
    assert other.over(2000) == sessions.over(2000) != []
    assert {k: v.tolist() for k, v in other.snapshot().items()} == {
        k: v.tolist() for k, v in sessions.snapshot().items()
    }
