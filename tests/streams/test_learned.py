"""Which offsets have been learned: every one exactly once, and what is too far behind is counted."""

from __future__ import annotations

import random

from streams.learned import WINDOW, EventWindow, LearnedOffsets


def test_any_order_within_the_window_is_learned_once() -> None:
    rng = random.Random(5)
    offsets = [n + rng.randint(0, WINDOW // 2) for n in range(0, 3 * WINDOW, 97)] * 2
    learned, wanted = LearnedOffsets(), set()
    for offset in offsets[: len(offsets) // 2]:
        assert learned.add(0, offset) == (offset not in wanted)
        wanted.add(offset)
    top = learned.top()[0]
    assert all(((0, n) in learned) == (n in wanted) for n in range(top - WINDOW + 1, top + 10))
    assert learned.beyond == 0


def test_what_is_too_far_behind_is_taken_for_learned_and_counted() -> None:
    learned = LearnedOffsets()
    assert learned.add(0, 2 * WINDOW)
    assert not learned.add(0, WINDOW)
    assert learned.add(0, WINDOW + 1)
    assert learned.beyond == 1
    assert (0, 17) in learned
    assert (1, 17) not in learned


def test_a_snapshot_knows_the_same() -> None:
    learned = LearnedOffsets()
    for offset in (3, 5, WINDOW + 4):
        learned.add(2, offset)
    again = LearnedOffsets()
    again.restore(learned.snapshot())
    assert [(2, n) in again for n in (3, 4, 5, 6, WINDOW + 4, WINDOW + 5)] == [True, True, True, False, True, False]
    assert again.top() == {2: WINDOW + 4}


def test_the_latest_event_ids_and_no_others() -> None:
    window = EventWindow(3)
    for event in (1, 2, 3, 2, 4):
        window.add(event)
    assert [event in window for event in (1, 2, 3, 4)] == [False, True, True, True]
    again = EventWindow(3)
    again.restore(window.snapshot())
    again.add(5)
    assert [event in again for event in (2, 3, 4, 5)] == [False, True, True, True]
