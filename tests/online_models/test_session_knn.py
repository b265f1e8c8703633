"""Session kNN against a reference in plain Python that keeps every list in full view."""

from __future__ import annotations

import math
import random
import sys
from typing import Any

import numpy as np
import pytest

from online_models.session_knn import SessionKNN
from tests.online_models.small import asked, listed, rows, same_list, seen


class Slow:
    """VMIS-kNN with decays, as its paper says it: sessions as lists, postings as lists of session numbers."""

    def __init__(
        self, last: int, m: int, k: int, fade: float, half_life: float, inner: float, width: int, capacity: int
    ):
        self.last, self.m, self.k, self.fade, self.half_life = last, m, k, fade, half_life
        self.inner, self.width, self.capacity = inner, width, capacity
        self.now, self.begun = 0, 0
        self.number: dict[int, int] = {}  # key → number of its unit, in order of beginning
        self.members: dict[int, list[int]] = {}
        self.touched: dict[int, int] = {}
        self.postings: dict[int, list[int]] = {}

    def learn(self, key: int, item: int) -> None:
        self.now += 1
        if key not in self.number:
            if len(self.number) == self.capacity:
                oldest = min(self.number, key=self.number.__getitem__)
                gone = self.number.pop(oldest)
                del self.members[gone], self.touched[gone]
            self.number[key] = self.begun
            self.members[self.begun] = []
            self.begun += 1
        number = self.number[key]
        self.touched[number] = self.now
        mine = self.members[number]
        if item in mine:
            mine.remove(item)
        else:
            self.postings[item] = [*self.postings.get(item, []), number][-self.m :]
        mine.append(item)
        del mine[: -self.width]

    def scores(self, key: int, recent: list[int]) -> dict[int, float]:
        near: dict[int, float] = {}
        match: dict[int, int] = {}
        units = len(self.number)
        for place, row in enumerate(recent[: self.last]):
            posting = self.postings.get(row, [])
            for number in reversed(posting):
                if number in self.members and number != self.number.get(key):
                    near[number] = near.get(number, 0.0) + self.fade**place * math.log(1 + units / len(posting))
                    match.setdefault(number, row)
        for number in near:
            near[number] *= 0.5 ** ((self.now - self.touched[number]) / self.half_life)
        best = sorted(near, key=lambda number: -near[number])[: self.k]
        out: dict[int, float] = {}
        for number in best:
            mine = self.members[number]
            where = mine.index(match[number]) if match[number] in mine else len(mine) - 1
            for at, item in enumerate(mine):
                if item != match[number]:
                    out[item] = out.get(item, 0.0) + near[number] * self.inner ** abs(at - where)
        return out


SETTINGS: list[dict[str, Any]] = [
    {"last": 5, "m": 64, "k": 100, "fade": 0.8, "half_life": 100.0, "inner": 0.9, "width": 32, "capacity": 512},
    {"last": 3, "m": 8, "k": 4, "fade": 0.5, "half_life": 300.0, "inner": 0.5, "width": 5, "capacity": 20},
    {"last": 20, "m": 16, "k": 10, "fade": 0.9, "half_life": 30.0, "inner": 1.0, "width": 1, "capacity": 2048},
]


@pytest.mark.parametrize("unit", ["user", "session"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_lists_are_those_of_the_slow_reference(settings: dict[str, Any], unit: str) -> None:
    rng, model, slow = random.Random(7), SessionKNN(unit=unit, **settings), Slow(**settings)
    place: dict[int, int] = {}
    for step in range(2_000):
        user = step // 30 + rng.randrange(20)
        session = user * 1_000 + step // 200
        place[user] = (place.get(user, user * 7) + rng.choice((0, 1, 1, 2, 11))) % 40
        model.learn_one(seen(place[user], user=user, session=session))
        slow.learn(user if unit == "user" else session, place[user])
        if step % 40 == 39:
            for asker in (user, 999_999):
                recent, blocked = rng.sample(range(45), rng.randrange(1, 8)), rng.sample(range(40), 3)
                key = session if unit == "session" and asker == user else asker
                expected = {r: s for r, s in slow.scores(key, recent).items() if r not in blocked}
                q = asked(recent, blocked=blocked, user=asker, session=key)
                same_list(listed(model, q, k=15)[0], expected, 15)
    assert slow.begun > 60


def test_the_latest_units_are_kept_and_no_more_than_the_capacity() -> None:
    for capacity in (8, 1_500):
        model = SessionKNN(capacity=capacity, m=2048)
        for user in range(2_000):
            model.learn_one(seen(0, user=user))
            model.learn_one(seen(1 + user % 400, user=user))
        assert sorted(model.slot_of) == list(range(2_000 - capacity, 2_000))
        found = rows(listed(model, asked([0], user=5_000), k=450)[0])
        assert len(found) == min(capacity, 100)  # the 100 neighbours seen last
        assert found[0] == 1 + 1_999 % 400


def test_a_planted_session_is_completed_and_popularity_does_not_mislead() -> None:
    rng, model = random.Random(8), SessionKNN(unit="session", half_life=1e6)
    for session in range(300):
        taste = session % 3
        for item in rng.sample(range(10 * taste, 10 * taste + 10), 5):
            model.learn_one(seen(item, user=session, session=session))
        for _ in range(2):
            model.learn_one(seen(30 + session % 2, user=session, session=session))  # in half of all sessions
    for taste in range(3):
        recent = [10 * taste + 1, 10 * taste + 4, 10 * taste + 7]
        found = [row for row in rows(listed(model, asked(recent, user=9_999))[0]) if row < 30][:7]
        assert all(row // 10 == taste for row in found)
        assert len(found) == 7


def test_a_user_is_no_neighbour_of_his_own() -> None:
    model = SessionKNN(unit="user")
    for item in (1, 2, 3):
        model.learn_one(seen(item, user=5))
    assert listed(model, asked([1], user=5)) == [[]]
    assert sorted(rows(listed(model, asked([1], user=6))[0])) == [2, 3]
    assert listed(model, asked([], user=6)) == [[]]


def test_neighbours_too_old_to_count_take_no_room() -> None:
    """Their similarity is 0 in float32; counted, their items would be noted more often than there is room for."""
    model = SessionKNN(half_life=1.0, width=64)
    for user in range(100):
        for item in range(40):
            model.learn_one(seen(item, user=user))
    for step in range(400):
        model.learn_one(seen(400 + step % 5, user=777))
    assert listed(model, asked([0], user=888)) == [[]]  # `listed` looks behind the work arrays' end


def test_rings_that_have_turned_survive_a_compaction() -> None:
    """The postings keep their order: after it, the oldest entry is still the one that goes."""
    turned, model = SessionKNN(m=8, k=100, half_life=1e6), SessionKNN(m=8, k=100, half_life=1e6)
    identity = np.arange(64, dtype=np.int32)
    for user in range(30):
        for each in (turned, model):
            each.learn_one(seen(1, user=user))
            each.learn_one(seen(10 + user, user=user))
        turned.remap(identity)
        assert listed(turned, asked([1], user=99)) == listed(model, asked([1], user=99))
    assert sorted(rows(listed(model, asked([1], user=99))[0])) == list(range(32, 40))


def test_a_session_forgets_the_items_that_went() -> None:
    model = SessionKNN()
    for user in (1, 2):
        for item in (0, 1, 2, 3):
            model.learn_one(seen(item, user=user))
    model.remap(np.array([0, -1, 1, -1], np.int32))
    assert rows(listed(model, asked([0], user=9))[0]) == [1]
    assert model.length[:2].tolist() == [2, 2]


def test_a_snapshot_is_as_large_as_what_the_units_hold() -> None:
    """At the defaults a unit has room for many more members than most have, and rings have no weights."""
    model = SessionKNN(width=200)
    for user in range(1_000):
        for item in range(3):
            model.learn_one(seen(user % 50 + item, user=user))
    copy = {name: array.copy() for name, array in model.snapshot().items()}
    assert len(copy["entries"]) == 3_000
    assert sum(array.nbytes for array in copy.values()) < model.members.nbytes / 5
    other = SessionKNN(width=200)
    other.restore(copy)
    assert (other.members == model.members).all()
    for each in (model, other):
        for user in range(900, 1_100):
            each.learn_one(seen(user % 60, user=user))
    assert listed(other, asked([10, 11], user=9)) == listed(model, asked([10, 11], user=9))


def test_forgetting_items_takes_no_step_of_python_for_each_unit() -> None:
    def steps(units: int) -> int:
        model, count = SessionKNN(m=8), 0
        for user in range(units):
            for item in range(3):
                model.learn_one(seen((user + item) % 300, user=user))
        new_index = np.arange(300, dtype=np.int32) - 1

        def count_lines(*_: Any) -> Any:
            nonlocal count
            count += 1
            return count_lines

        before = sys.gettrace()
        sys.settrace(count_lines)
        try:
            model.remap(new_index)
        finally:
            sys.settrace(before)
        return count

    steps(1)
    assert steps(2_000) < steps(100) + 50
