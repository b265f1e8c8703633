"""Search by inner product: the flat scan is exact, the inverted lists find nearly all, and blocked items stay out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from online_models import ann
from online_models.base import FloatArray, IntArray

NONE = np.zeros(0, np.float32)


def clustered(n: int, dims: int = 32, groups: int = 300, seed: int = 1) -> tuple[FloatArray, FloatArray]:
    """Vectors in groups, of lengths that differ, and queries beside them."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, dims))
    vectors = (centres[rng.integers(0, groups, n)] + 0.3 * rng.normal(size=(n, dims))) * rng.lognormal(0, 0.2, (n, 1))
    queries = centres[rng.integers(0, groups, 50)] + 0.3 * rng.normal(size=(50, dims))
    return vectors.astype(np.float32), queries.astype(np.float32)


def exact(scores: FloatArray, k: int) -> list[int]:
    return sorted(np.flatnonzero(np.isfinite(scores)).tolist(), key=lambda i: (-scores[i], i))[:k]


def flat(
    vectors: FloatArray, bias: FloatArray, query: FloatArray, blocked: np.ndarray, item_of: IntArray, k: int = 20
) -> tuple[list[int], list[float]]:
    items, scores = np.empty(k, np.int32), np.empty(k, np.float32)
    n = ann.scan(vectors, bias, query, np.arange(len(vectors), dtype=np.int32), item_of, blocked, items, scores, 0)
    return items[:n].tolist(), scores[:n].tolist()


@pytest.mark.parametrize("with_bias", [False, True])
def test_the_scan_is_exact(with_bias: bool) -> None:
    vectors, queries = clustered(500)
    rng = np.random.default_rng(2)
    bias = rng.normal(size=500).astype(np.float32) if with_bias else NONE
    blocked = (rng.random(600) < 0.3).astype(np.uint8)
    item_of = rng.permutation(600)[:500].astype(np.int32)
    item_of[::7] = -1
    for query in queries:
        scores = np.full(600, -np.inf, np.float32)
        known = item_of >= 0
        scores[item_of[known]] = (vectors @ query + (bias if with_bias else 0.0))[known]
        scores[blocked > 0] = -np.inf
        items, got = flat(vectors, bias, query, blocked, item_of)
        assert got == pytest.approx(scores[items].tolist(), rel=1e-4, abs=1e-4)
        assert got == pytest.approx(np.sort(scores)[::-1][:20].tolist(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("before", [0, 5, 20])
def test_short_vectors_are_passed_over_and_nothing_is_missed(before: int) -> None:
    vectors, queries = clustered(2_000)
    rng = np.random.default_rng(3)
    vectors *= rng.integers(0, 51, (2_000, 1)) / np.float32(51)
    lengths = np.linalg.norm(vectors, axis=1)
    blocked = (rng.random(2_000) < 0.3).astype(np.uint8)
    item_of = rng.permutation(2_000).astype(np.int32)
    rows, first = np.arange(2_000, dtype=np.int32), np.arange(before, dtype=np.int32)
    for query in (*queries, -queries[0], np.zeros_like(queries[0])):
        found = []
        for short in (False, True):
            items, scores = np.empty(20, np.int32), np.empty(20, np.float32)
            n = ann.scan(vectors, NONE, query, first, item_of, blocked, items, scores, 0)
            if short:
                n = ann.scan_long(
                    vectors[before:], lengths[before:], query, item_of[before:], blocked, items, scores, n
                )
            else:
                n = ann.scan(vectors, NONE, query, rows[before:], item_of, blocked, items, scores, n)
            found.append((items[:n].tolist(), scores[:n].tobytes()))
        assert found[0] == found[1]


def test_a_vector_that_points_as_the_query_does_is_not_taken_for_too_short() -> None:
    """Its length times the query's is its score, but for rounding: the least that may get it into the list."""
    rng, free = np.random.default_rng(4), np.zeros(3, np.uint8)
    for _ in range(2_000):
        query = rng.normal(size=128).astype(np.float32)
        vectors = np.stack([query, query * np.float32(1 + 1e-6), query * np.float32(1 + 2e-6)])
        lengths = np.sqrt(np.array([v @ v for v in vectors], np.float32))
        items, scores = np.empty(1, np.int32), np.empty(1, np.float32)
        ann.scan_long(vectors, lengths, query, np.arange(3, dtype=np.int32), free, items, scores, 0)
        assert items.tolist() == flat(vectors, NONE, query, free, np.arange(3, dtype=np.int32), 1)[0]


def test_ties_go_to_the_lower_item_and_few_items_make_a_short_list() -> None:
    vectors = np.ones((6, 4), np.float32)
    item_of = np.array([5, 3, 1, 0, 2, 4], np.int32)
    free = np.zeros(6, np.uint8)
    assert flat(vectors, NONE, np.ones(4, np.float32), free, item_of, k=3)[0] == [0, 1, 2]
    assert flat(vectors, NONE, np.ones(4, np.float32), free, item_of, k=9)[0] == [0, 1, 2, 3, 4, 5]


def test_inverted_lists_find_nearly_all_and_hold_each_row_once() -> None:
    vectors, queries = clustered(20_000)
    lists = ann.lists_for(vectors)
    assert lists is not None
    assert sorted(lists.order.tolist()) == list(range(20_000))
    assert lists.starts[0] == 0
    assert lists.starts[-1] == 20_000
    free, item_of = np.zeros(20_000, np.uint8), np.arange(20_000, dtype=np.int32)
    found = 0
    for query in queries:
        items, scores = np.empty(20, np.int32), np.empty(20, np.float32)
        n = ann.search(
            vectors, NONE, lists.groups, lists.first, lists.centroids, lists.order, lists.starts, query, 8, 16, item_of,
            free, items, scores,
        )  # fmt: skip
        assert n == 20
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)
        found += len(set(items.tolist()) & set(exact(vectors @ query, 20)))
    assert found / (20 * len(queries)) > 0.9


def test_a_row_stands_in_the_list_it_points_to_most_even_where_that_is_of_another_group() -> None:
    vectors, _ = clustered(20_000, groups=2_000)
    lists = ann.lists_for(vectors)
    assert lists is not None
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    own = np.empty(len(vectors), np.int64)
    own[lists.order] = np.repeat(np.arange(len(lists.starts) - 1), np.diff(lists.starts))
    near = np.einsum("ij,ij->i", directions, lists.centroids[own])
    nearest = (directions @ lists.centroids.T).max(axis=1)
    assert (near > nearest - 1e-6).mean() > 0.96, "0.84 if only the lists of the nearest group are looked at"


def test_the_same_vectors_give_the_same_lists_and_small_tables_none() -> None:
    vectors, _ = clustered(10_000)
    one, two = ann.lists_for(vectors), ann.lists_for(vectors)
    assert one is not None
    assert two is not None
    assert (one.order == two.order).all()
    assert (one.centroids == two.centroids).all()
    assert ann.lists_for(vectors[: ann.FLAT]) is None


def test_cosines_leave_alone_what_has_no_vector() -> None:
    vectors, queries = clustered(50)
    row_of = np.array([4, -1, 7], np.int32)
    out = np.full(3, 9.0, np.float32)
    ann.cosines(vectors, queries[0], row_of, np.array([0, 1, 2], np.int32), out)
    for at, row in ((0, 4), (2, 7)):
        wanted = vectors[row] @ queries[0] / np.linalg.norm(vectors[row]) / np.linalg.norm(queries[0])
        assert out[at] == pytest.approx(wanted, abs=1e-5)
    assert out[1] == 9.0


def test_a_memory_mapped_table_is_searched_where_it_is(tmp_path: Path) -> None:
    vectors, queries = clustered(300)
    np.save(tmp_path / "v.npy", vectors)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    free, item_of = np.zeros(300, np.uint8), np.arange(300, dtype=np.int32)
    assert flat(mapped, NONE, queries[0], free, item_of) == flat(vectors, NONE, queries[0], free, item_of)
