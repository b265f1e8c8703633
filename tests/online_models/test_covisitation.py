"""Co-visitation against a list of all pairs with their times, and planted pairs that must be found."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from online_models.covisitation import CoVisitation
from tests.online_models.small import asked, listed, rows, same_list, seen


@dataclass
class Pairs:
    """Every pair that was ever counted: from, to, when, how much."""

    half_life: float
    window: int = 1
    last: int = 1
    step: float = 0.6
    fade: float = 0.8
    damp: float = 1.0
    max_age_ms: int = 30 * 60_000
    both: bool = False
    now: int = 0
    counted: list[tuple[int, int, int, float]] = field(default_factory=list)

    def learn(self, item: int, history: list[int], ages: list[int], weight: float) -> None:
        if weight <= 0:
            return
        self.now += 1
        for place, (other, age) in enumerate(zip(history[: self.window], ages, strict=False)):
            if age > self.max_age_ms:
                return
            if other != item:
                w = weight * self.step**place
                self.counted += [(other, item, self.now, w)] + ([(item, other, self.now, w)] if self.both else [])

    def scores(self, recent: list[int]) -> dict[int, float]:
        out: dict[int, float] = {}
        for place, row in enumerate(recent[: self.last]):
            here = [(b, w * 2.0 ** ((t - self.now) / self.half_life)) for a, b, t, w in self.counted if a == row]
            total = sum(w for _, w in here)
            for b, w in here:
                out[b] = out.get(b, 0.0) + self.fade**place * w / (total + self.damp)
        return out


@pytest.mark.parametrize(
    "settings",
    [
        {"half_life": 50.0},
        {"half_life": 500.0, "window": 3, "last": 1, "damp": 0.3},
        {"half_life": 1e5, "window": 10, "last": 10, "step": 0.9, "both": True, "max_age_ms": 1 << 60},
        {"half_life": 2.0, "window": 2, "last": 3, "fade": 0.5},  # the unit overflows every 120 events
    ],
)
def test_lists_are_those_of_the_pairs(settings: dict[str, Any]) -> None:
    rng, n_items = random.Random(5), 30
    model, pairs = CoVisitation("x", **({"window": 1, "last": 1} | settings)), Pairs(**settings)
    for step in range(900):
        item, n = int(rng.triangular(0, n_items, 0)), rng.randrange(12)
        history = rng.sample(range(n_items), n)
        ages = sorted(rng.choice((0, 1_000, 1_800_000, 1_800_001, 9_999_999)) for _ in range(n))
        weight = rng.choice((1.0, 2.0, 0.0))
        model.learn_one(seen(item, history, ages, weight=weight))
        pairs.learn(item, history, ages, weight)
        if step % 45 == 44:
            recent, blocked = rng.sample(range(n_items + 5), rng.randrange(12)), rng.sample(range(n_items), 4)
            expected = {row: s for row, s in pairs.scores(recent).items() if row not in blocked}
            [found] = listed(model, asked(recent, blocked=blocked), k=10)
            floor = 1e-30  # float32 weights end there
            same_list(
                [x for x in found if x[1] > floor], {r: s for r, s in expected.items() if s > floor}, 10, rel=2e-5
            )


def test_a_planted_pair_is_found_in_its_direction() -> None:
    rng = random.Random(6)
    one_way, both_ways = CoVisitation("a", 1, 1, 1e4), CoVisitation("b", 1, 1, 1e4, both=True)
    follows = {1: 11, 2: 12, 3: 13}
    for _ in range(500):
        first = rng.choice((1, 2, 3))
        for model in (one_way, both_ways):
            model.learn_one(seen(first, [rng.randrange(20, 40)]))
            model.learn_one(seen(follows[first], [first]))
    for first, second in follows.items():
        [there], [back] = listed(one_way, asked([first])), listed(one_way, asked([second]))
        assert there[0] == (second, pytest.approx(1.0, abs=0.02))
        assert rows(there) == [second]
        assert back == []
        assert rows(listed(both_ways, asked([second]))[0])[0] == first


def test_what_follows_now_overtakes_what_followed_once() -> None:
    quick, slow = CoVisitation("quick", 1, 1, 20.0), CoVisitation("slow", 1, 1, 1e4)
    for item, times in ((5, 100), (6, 40)):
        for model in (quick, slow):
            for _ in range(times):
                model.learn_one(seen(item, [0]))
    assert rows(listed(quick, asked([0]))[0]) == [6, 5]
    assert rows(listed(slow, asked([0]))[0]) == [5, 6]


def test_a_full_row_loses_its_lightest_entry() -> None:
    model = CoVisitation("x", 1, 1, 1e6, row_cap=8)
    for item in (*range(10, 18), *range(11, 18)):
        model.learn_one(seen(item, [0]))
    model.learn_one(seen(30, [0]))
    assert sorted(rows(listed(model, asked([0]))[0])) == [*range(11, 18), 30]


def test_a_history_may_name_rows_that_were_never_learned() -> None:
    """Not even reserved: writing there would write beyond the arrays."""
    model = CoVisitation("x", 2, 1, 1e4)
    model.learn_one(seen(1, [300, 400]))
    assert rows(listed(model, asked([300]))[0]) == rows(listed(model, asked([400]))[0]) == [1]
    model.learn_one(seen(2, [7, 8, 5_000]))  # beyond the window
    assert len(model.rows.start) < 5_000


def test_pairs_that_decayed_to_nothing_take_no_room() -> None:
    """Counted without weight they would be noted once a row, more often than there is room for."""
    model, hubs = CoVisitation("x", 1, 10, half_life=1.0), list(range(10))
    for hub in hubs:
        for item in range(100, 350):
            model.learn_one(seen(item, [hub]))
    for _ in range(400):
        model.learn_one(seen(99, [98]))
    held = [model.rows.size[hub] for hub in hubs]
    assert sum(held) > 2_000
    assert listed(model, asked(hubs)) == [[]]  # `listed` looks behind the work arrays' end
    model.learn_one(seen(50, [3]))
    assert rows(listed(model, asked(hubs))[0]) == [50]


def test_a_compaction_keeps_rows_and_totals_and_frees_the_others() -> None:
    model = CoVisitation("x", 1, 1, 1e4)
    for item, other, times in ((1, 0, 3), (2, 0, 1), (0, 2, 2), (3, 2, 4)):
        for _ in range(times):
            model.learn_one(seen(item, [other]))
    had = [dict(listed(model, asked([row]))[0]) for row in range(4)]
    model.remap(np.array([1, -1, 0, 2], np.int32))
    assert dict(listed(model, asked([1]))[0]) == {0: had[0][2]}  # as much of its total as before
    assert dict(listed(model, asked([0]))[0]) == {1: had[2][0], 2: had[2][3]}
    assert not model.total[3:].any()
