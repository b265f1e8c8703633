"""Every contract check finds a source that breaks what it is there for, and has nothing against one that is right."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from online_models import checks
from online_models.base import Arrays, FloatArray, IntArray, Observation, Query
from online_models.errors import ContractError, HeadraceError


class Counting:
    """The plainest source that is right: counts of events in one array."""

    lists: tuple[str, ...] = ("counted",)

    def __init__(self) -> None:
        self.count = np.zeros(0, np.int64)

    def learn_one(self, o: Observation) -> None:
        if o.item >= len(self.count):
            self.count = np.concatenate([self.count, np.zeros(o.item + 1 - len(self.count), np.int64)])
        self.count[o.item] += 1

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        score = self.count.astype(np.float64)
        order = [r for r in np.lexsort((np.arange(len(score)), -score)) if score[r] > 0 and not q.blocked[r]]
        order = order[: items.shape[1]]
        items[0, : len(order)], scores[0, : len(order)], counts[0] = order, score[order], len(order)

    def snapshot(self) -> Arrays:
        return {"count": self.count}

    def restore(self, state: Arrays) -> None:
        self.count = state["count"].copy()

    def remap(self, new_index: IntArray) -> None:
        moved = np.zeros(int(new_index.max()) + 1, np.int64)
        for old, new in enumerate(new_index[: len(self.count)].tolist()):
            if new >= 0:
                moved[new] = self.count[old]
        self.count = moved

    @property
    def nbytes(self) -> int:
        return self.count.nbytes


class Lists(Counting):
    """Right, but for what ``spoil`` does to its list."""

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        super().candidates(q, items, scores, counts)
        self.spoil(q, items[0], scores[0], counts)

    def spoil(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        raise NotImplementedError


class WorstFirst(Lists):
    def spoil(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        n = counts[0]
        items[:n], scores[:n] = items[:n][::-1].copy(), scores[:n][::-1].copy()


class TiesByHigherRow(Counting):
    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        order = [r for r in np.lexsort((-np.arange(len(self.count)), -self.count)) if not q.blocked[r]]
        order = [r for r in order if self.count[r]][: items.shape[1]]
        items[0, : len(order)], scores[0, : len(order)], counts[0] = order, self.count[order], len(order)


class Twice(Lists):
    def spoil(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        if counts[0] > 1:
            items[1] = items[0]


class Blocked(Lists):
    def spoil(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        if counts[0] and q.blocked.any():
            items[0] = np.flatnonzero(q.blocked)[0]


class Outside(Lists):
    def spoil(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        if counts[0]:
            items[0] = q.n_items if q.n_items < len(q.blocked) else -1


class NoCount(Counting):
    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        if len(self.count):
            super().candidates(q, items, scores, counts)


class NotANumber(Lists):
    def spoil(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        scores[:1] = np.nan


class RanksAmongFew(Lists):
    def spoil(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        if len(items) <= 3 and counts[0]:
            items[0], counts[0] = items[counts[0] - 1], 1


class LearnsWhenAsked(Lists):
    def spoil(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        self.count += 1


class WritesHistory(Counting):
    def learn_one(self, o: Observation) -> None:
        super().learn_one(o)
        o.history.sort()


class WritesRequest(Lists):
    def spoil(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        q.recent.sort()


class LeavesMarks(Lists):
    def spoil(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        q.scratch.mark[3] = 1


class RunsOver(Lists):
    def spoil(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        whole: Any = q.scratch.touched.base
        whole[len(q.scratch.touched)] = 5


class Random(Counting):
    def learn_one(self, o: Observation) -> None:
        super().learn_one(o)
        self.count[o.item] += random.getrandbits(8)


class ForgetsAField(Counting):
    """Keeps what it says in a second array, which no snapshot holds."""

    def __init__(self) -> None:
        super().__init__()
        self.bonus: dict[int, int] = {}

    def learn_one(self, o: Observation) -> None:
        super().learn_one(o)
        self.bonus[o.user] = self.bonus.get(o.user, 0) + 1
        self.count[o.item] += self.bonus[o.user] > 4


class Shares(Counting):
    def restore(self, state: Arrays) -> None:
        self.count = state["count"]


class KeepsStrangers(Lists):
    def spoil(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        if q.n_events == 0:
            self.count = np.append(self.count, 0)


class TrustsRows(Counting):
    def learn_one(self, o: Observation) -> None:
        super().learn_one(o)
        self.count[o.history] += 0


class StaysPut(Counting):
    def remap(self, new_index: IntArray) -> None:
        self.count[len(new_index) :] = 0


class KeepsTheGone(Counting):
    def remap(self, new_index: IntArray) -> None:
        gone = self.count[: len(new_index)][new_index[: len(self.count)] < 0]
        super().remap(new_index)
        self.count = np.concatenate([self.count, gone])


class Grows(Counting):
    def __init__(self) -> None:
        super().__init__()
        self.log: list[int] = []

    def learn_one(self, o: Observation) -> None:
        super().learn_one(o)
        self.log.append(o.user)

    @property
    def nbytes(self) -> int:
        return super().nbytes + 8 * len(self.log)


class SaysNothing(Counting):
    @property
    def nbytes(self) -> int:
        return 0


BROKEN: dict[str, list[type[Counting]]] = {
    "lists_are_well_formed": [WorstFirst, TiesByHigherRow, Twice, Blocked, Outside, NoCount, NotANumber],
    "longer_lists_begin_with_the_shorter": [RanksAmongFew],
    "candidates_change_nothing": [LearnsWhenAsked],
    "arguments_are_left_alone": [WritesHistory, WritesRequest],
    "scratch_is_handed_back_as_found": [LeavesMarks, RunsOver],
    "twins_agree": [Random],
    "a_restored_source_goes_on_as_if_never_interrupted": [ForgetsAField],
    "a_restored_source_shares_nothing_with_the_snapshot": [Shares],
    "strangers_are_answered": [KeepsStrangers, NotANumber],
    "rows_never_learned_do_no_harm": [TrustsRows, RunsOver],
    "compaction_keeps_the_rest": [StaysPut],
    "compaction_drops_what_is_gone": [KeepsTheGone, StaysPut],
    "memory_is_bounded": [Grows],
    "nbytes_counts_the_state": [SaysNothing],
}


def test_there_is_a_broken_source_for_every_check() -> None:
    assert [check.__name__ for check in checks.all_checks()] == list(BROKEN)


@pytest.mark.parametrize("check", checks.all_checks(), ids=lambda check: check.__name__)
def test_a_source_that_is_right_passes(check: checks.Check) -> None:
    check(Counting)


@pytest.mark.parametrize(
    ("name", "broken"), [(name, cls) for name, found in BROKEN.items() for cls in found], ids=lambda x: getattr(x, "__name__", x)
)  # fmt: skip
def test_a_source_that_breaks_it_is_found(name: str, broken: type[Counting]) -> None:
    expected = IndexError if broken is TrustsRows else ContractError
    with pytest.raises(expected):
        getattr(checks, name)(broken)


def test_a_check_says_what_was_expected_and_what_to_do() -> None:
    with pytest.raises(ContractError, match=r"expected no blocked row in counted, got .*; look at q.blocked") as told:
        checks.lists_are_well_formed(Blocked)
    assert isinstance(told.value, HeadraceError) and isinstance(told.value, AssertionError)  # noqa: PT018
    assert all((check.__doc__ or "").strip() for check in checks.all_checks())
