"""The union of the lists and its description against plain Python, column by column."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np

from online_models import closeness, habits, shelf
from online_models.base import BOUGHT, CARTED, LIKED, OWN, RATED
from online_models.features import (
    ITEM,
    LAST,
    OWN_NAMES,
    PAIR,
    PER_SOURCE,
    Beside,
    describe,
    feature_names,
    seen_by_units,
    unite,
)

LISTS, K, N = ("a", "b", "mf"), 6, 40
INV = (1.0 / (1.0 + np.arange(K))).astype(np.float32)
LOG = (1.0 - np.log1p(np.arange(K)) / np.log(K + 1)).astype(np.float32)
MINMAX = np.array([False, False, True])


def test_the_names_are_the_columns_in_order() -> None:
    names = feature_names(LISTS, 2)
    assert names[:4] == ("a.inv_rank", "b.inv_rank", "mf.inv_rank", "a.ratio")
    assert names[seen_by_units(LISTS) :][:4] == ("a.log_rank", "b.log_rank", "mf.log_rank", "share-0")
    assert names[PER_SOURCE * 3 :] == (
        "share-0", "share-1", *ITEM, *OWN_NAMES, *PAIR, *habits.NAMES, *closeness.FACTORS, *closeness.VISITS, LAST,
    )  # fmt: skip
    assert len(set(names)) == len(names)


def some_lists(rng: random.Random) -> tuple[Any, Any, Any]:
    items, scores = np.zeros((3, K), np.int32), np.zeros((3, K), np.float32)
    counts = np.array([rng.randrange(K + 1) for _ in LISTS], np.int32)
    for s in range(3):
        items[s] = rng.sample(range(N), K)
        low = -1.0 if MINMAX[s] else 0.0
        scores[s] = sorted((rng.choice((low, 0.25, 1.0, rng.random())) for _ in range(K)), reverse=True)
    return items, scores, counts


def united(items: Any, scores: Any, counts: Any) -> tuple[Any, Any]:
    mark, rows = np.zeros(N, np.int32), np.full(3 * K, -1, np.int32)
    x = np.full((3 * K, PER_SOURCE * 3), np.nan, np.float32)  # what was there before must not show
    n = unite(items, scores, counts, MINMAX, INV, LOG, mark, rows, x, 3, 0)
    assert not mark.any()
    return rows[:n], x[:n]


def test_the_union_holds_each_row_once_with_what_each_source_says() -> None:
    rng = random.Random(0)
    for _ in range(200):
        items, scores, counts = some_lists(rng)
        rows, x = united(items, scores, counts)
        listed = [[int(r) for r in items[s, : counts[s]]] for s in range(3)]
        assert rows.tolist() == list(dict.fromkeys(r for found in listed for r in found))  # in order of first sight
        for at, row in enumerate(rows.tolist()):
            for s, found in enumerate(listed):
                got = x[at, s : 3 * PER_SOURCE : 3].tolist()
                if row not in found:
                    assert got == [0.0] * PER_SOURCE
                    continue
                r = found.index(row)
                floor = float(scores[s, counts[s] - 1]) if MINMAX[s] else 0.0
                span = float(scores[s, 0]) - floor
                ratio = (float(scores[s, r]) - floor) / span if span > 0 else 1.0
                right = [
                    1 / (1 + r),
                    ratio,
                    1 + math.log(ratio + 0.001) / 6.91,
                    1,
                    1 - math.log(1 + r) / math.log(K + 1),
                ]
                np.testing.assert_allclose(got, right, atol=1e-4)


def test_lists_beside_the_others_leave_their_columns_as_they_were() -> None:
    rng, mark = random.Random(3), np.zeros(N, np.int32)
    for _ in range(50):
        items, scores, counts = some_lists(rng)
        rows, x = np.zeros(3 * K, np.int32), np.full((3 * K, 9 + PER_SOURCE * 3), np.nan, np.float32)
        n = unite(items, scores, counts, MINMAX, INV, LOG, mark, rows, x, 2, 9 + PER_SOURCE * 2)
        only = np.where(np.arange(3) < 2, counts, 0).astype(np.int32)
        for lists, found in ((only, x[:, : PER_SOURCE * 2]), (counts - only, x[:, 9 + PER_SOURCE * 2 :])):
            alone, y = np.zeros(3 * K, np.int32), np.full((3 * K, PER_SOURCE * 3), np.nan, np.float32)
            m = unite(items, scores, lists, MINMAX, INV, LOG, mark, alone, y, 3, 0)
            here = {int(row): found[i] for i, row in enumerate(rows[:n])}
            for i, row in enumerate(alone[:m].tolist()):
                of = [0, 1] if lists is only else [2]
                right = y[i, : PER_SOURCE * 3].reshape(PER_SOURCE, 3)[:, of].ravel()
                assert here[row].tolist() == right.tolist()


def test_columns_beside_the_others_and_what_hidden_units_see_of_them() -> None:
    beside = Beside(100, ("category", "untried"), bonus=True)
    assert beside.names[:3] == ("category.inv_rank", "untried.inv_rank", "category.ratio")
    first, n = beside.seen_by_units
    assert beside.names[first - 100 :] == ("category.log_rank", "untried.log_rank", *shelf.NAMES, "bonus")
    assert first + n == 100 + len(beside.names)
    assert beside.names[beside.of_item - 100] == shelf.NAMES[0]


def plain(row: int, w: dict[str, Any]) -> list[float]:
    """One row of `describe`, as the names of the columns say it."""
    out = [
        1 + math.log(w["pop"][h, row] / w["total"][h] + 1e-6) / 13.8 if w["total"][h] else 1 - 1.0011 for h in (0, 1)
    ]
    since = w["events"] - w["last_n"][row]
    out += [
        1 - math.log(1 + since) / 14,
        1 - math.log(1 + max(w["now"] - w["last_ms"][row], 0) / 1000) / 16,
        1 / (1 + since),
        1 / (1 + since / 20),
        math.log(1 + w["count"][row]) / 10,
        1 - math.log(1 + max(w["now"] - w["first_ms"][row], 0) / 1000) / 18,
        float(w["count"][row] <= 2),
    ]
    own = w["own"]
    at = own["item"].tolist().index(row) if row in own["item"] else -1
    if at >= 0:
        o, later = own[at], len(own) - 1 - at
        waited = max(w["now"] - o["last"], 0)
        usual = (o["last"] - o["first"]) / (o["count"] - 1) if o["count"] > 1 else 0
        out += [
            1.0,
            math.log(o["count"]) / 4,
            o["count"] / max(w["n_events"], 1),
            1 - math.log(1 + waited / 1000) / 16,
            1 / (1 + later),
            1 - math.log(1 + later) / 6,
            float(o["seq"] >= w["session_seq"]),
            float(o["count"] == 1),
            float(later == 0),
            min(waited / usual, 2) / 2 if usual else 0.0,
            *(float(bool(o["flags"] & bit)) for bit in (BOUGHT, CARTED, LIKED)),
        ]
    else:
        out += [0.0] * len(OWN_NAMES)
    pairs = dict(zip(w["keys"][3:9].tolist(), w["weights"][3:9].tolist(), strict=True))
    p = pairs.get(row, 0.0) / w["t_total"]
    out += [p, 1 + math.log(p + 0.001) / 6.91] if row in pairs else [0.0, 0.0]
    sources = sum(row in found for found in w["listed"]) / 3
    return [*out, sources]


def some_world(rng: np.random.Generator, now: int) -> dict[str, Any]:
    own = np.zeros(8, OWN)
    own["item"] = rng.permutation(N)[:8]
    own["count"] = rng.choice([1, 1, 2, 5], 8)
    own["seq"] = np.sort(rng.integers(0, 50, 8))
    own["flags"] = rng.choice([0, RATED, BOUGHT, CARTED, LIKED, BOUGHT | CARTED], 8)
    own["last"] = np.sort(rng.integers(5_000_000, 9_000_000, 8))
    own["first"] = np.where(own["count"] == 1, own["last"], own["last"] - rng.integers(0, 4_000_000, 8))
    return {
        "pop": rng.random((2, N)) * 10, "total": np.array([rng.choice([0.0, 200.0]), 400.0]), "events": 500,
        "last_n": rng.integers(0, 501, N), "last_ms": rng.integers(5_000_000, 9_000_000, N),
        "first_ms": rng.integers(0, 5_000_000, N), "count": rng.integers(1, 90, N), "now": now, "own": own,
        "n_events": 60, "session_seq": 30, "keys": rng.permutation(N)[:12].astype(np.int32),
        "weights": rng.random(12).astype(np.float32), "t_total": 7.0,
    }  # fmt: skip


def test_every_column_says_what_its_name_says() -> None:
    shuffle = random.Random(1)
    for seed in range(40):
        # before the last events too: a request may be older than what is known
        w = some_world(np.random.default_rng(seed), now=(9_500_000, 40_000_000, 7_000_000, 4_000_000)[seed % 4])
        items, scores, counts = some_lists(shuffle)
        w["listed"] = [items[s, : counts[s]].tolist() for s in range(3)]
        mark, rows = np.zeros(N, np.int32), np.zeros(3 * K, np.int32)
        x = np.zeros((3 * K, len(feature_names(LISTS, 2))), np.float32)
        n = unite(items, scores, counts, MINMAX, INV, LOG, mark, rows, x, 3, 0)
        describe(
            x, rows, n, PER_SOURCE * 3, 3, w["pop"], w["total"], w["last_n"], w["last_ms"], w["first_ms"], w["count"], w["events"],
            w["now"], w["own"], w["n_events"], w["session_seq"], mark, w["keys"], w["weights"], 3, 9, w["t_total"],
        )  # fmt: skip
        assert not mark.any()
        names = ("share-0", "share-1", *ITEM, *OWN_NAMES, *PAIR)
        for at in range(n):
            right = plain(int(rows[at]), w)
            for name, got, expected in zip(names, x[at, PER_SOURCE * 3 :][: len(names)].tolist(), right, strict=True):
                assert abs(got - expected) < 1.5e-4, (name, got, expected)
                assert -0.2 < got < 1.6, (name, got)
