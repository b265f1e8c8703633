"""What fills a list up: the same work however many items there are, in a fixed order, and never nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online_models.base import Observation
from online_models.popularity import TOP
from streams.config import FilterConfig, PipelineConfig
from streams.contracts.events import Event, Source
from streams.fallback import SCAN, fill
from streams.filters import FOR_ALL, FOR_USER
from streams.knowledge import Knowledge
from streams.pipeline import Pipeline

NONE = np.zeros(0, np.int32)


class Watched(np.ndarray):  # type: ignore[type-arg]
    """Counts the elements that are taken out of it."""

    taken = 0

    def __getitem__(self, key: Any) -> Any:
        out = np.asarray(super().__getitem__(key))
        Watched.taken += out.size
        return out


def known(items: int, seen: int = 400) -> Knowledge:
    """So many items, of which the first ``seen`` have been clicked: item 0 most often."""
    k = Knowledge(PipelineConfig())
    for row in range(items):
        k.items.add(f"i{row}", 0)
    k.items.count[:seen] = np.arange(seen, 0, -1)
    for row in range(seen - 1, -1, -1):
        k.popularity.learn_one(Observation(row, 1.0, 0, 1, 1, NONE, NONE.astype(np.int64), 0))
    return k


def looked_at(items: int, have: int, n: int, block: slice = slice(0)) -> int:
    k = known(items)
    k.items.blocked[block] = FOR_USER
    k.items.blocked, k.items.count = k.items.blocked.view(Watched), k.items.count.view(Watched)
    Watched.taken = 0
    fill(k, np.arange(have, dtype=np.int32), NONE, n)
    return Watched.taken


@pytest.mark.parametrize(("have", "block"), [(0, slice(0)), (50, slice(0)), (0, slice(0, 390)), (50, slice(60, 9_000))])
def test_the_work_is_the_same_however_many_items_there_are(have: int, block: slice) -> None:
    work = {looked_at(items, have, 200, block) for items in (20_000, 40_000)}
    assert len(work) == 1
    assert work.pop() <= 5 * TOP + 2 * SCAN


def test_the_popular_ones_come_first_then_the_newest_with_most_events_ties_by_lower_row() -> None:
    k = known(10_000, seen=300)
    k.items.count[[9_000, 9_500]] = 7
    got = fill(k, np.array([4, 2], np.int32), NONE, 500)
    kept = k.popularity.ranked(len(k.popularity.growth) - 1).tolist()
    assert got[: TOP - 2] == [row for row in kept if row not in (2, 4)]
    others = set().union(*(k.popularity.ranked(h).tolist() for h in range(5))) - {2, 4}
    rest = got[len(others) :]
    assert set(got[: len(others)]) == others
    assert rest == [9_000, 9_500, *range(10_000 - SCAN, 10_000)][: len(rest)]
    assert len(set(got)) == len(got) == 500


def test_an_item_that_none_of_the_lists_has_is_found_when_all_others_are_blocked() -> None:
    k = known(20_000)
    k.items.blocked[:20_000] = FOR_ALL
    k.items.blocked[[7_000, 7_001]] = 0
    assert fill(k, NONE, NONE, 20) == [7_000]
    assert fill(k, np.array([7_001], np.int32), NONE, 20) == []


def test_where_everything_is_consumed_the_users_own_items_come_back_but_no_denied_one() -> None:
    k = known(30, seen=30)
    k.items.blocked[:30] = FOR_ALL
    k.items.blocked[[3, 5, 9]] = FOR_USER
    k.items.blocked[7] = FOR_ALL | FOR_USER
    k.items.count[[3, 5, 9]] = 1, 4, 4
    assert fill(k, NONE, np.array([3, 7, 9, 5], np.int32), 2) == [5, 9]
    k.items.blocked[:30] |= FOR_ALL
    assert fill(k, NONE, np.array([3, 7, 9, 5], np.int32), 2) == []
    assert fill(Knowledge(PipelineConfig()), NONE, NONE, 20) == []


def test_a_user_who_has_consumed_all_gets_a_list_and_one_new_item_ends_that() -> None:
    pipeline = Pipeline(PipelineConfig(filters=FilterConfig(consumed="all", deny_items=("i0",))))

    def see(n: int, user: str, item: str) -> None:
        event = Event(timestamp=10**12 + n, user_id=user, item_id=item, event_type="view", event_id=f"e{n}")
        pipeline.process([(event, Source(0, n))])

    for n in range(8):
        see(n, "ada", f"i{n % 4}")
    assert {i.item_id for i in pipeline.recommend("ada", 20).items} == {"i1", "i2", "i3"}
    see(8, "bob", "new")
    assert [i.item_id for i in pipeline.recommend("ada", 20).items] == ["new"]
