"""Sessions: no leakage across the boundary, every pair learned once, negatives as often as they should be."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from offline import dataset, log
from offline.dataset import Negatives, Sessions
from online_models.embeddings import Trained
from online_models.errors import InputError
from tests.offline.planted import ring_log


def sessions(*items: list[int], times: list[list[int]] | None = None) -> Sessions:
    flat = np.array([i for s in items for i in s], np.int64)
    when = np.array([t for s in times for t in s], np.int64) if times else np.arange(len(flat))
    starts = np.concatenate([[0], np.cumsum([len(s) for s in items])]).astype(np.int64)
    return Sessions(flat, when, starts, np.arange(len(items)))


def lists(found: Sessions) -> list[list[int]]:
    return [found.items[a:b].tolist() for a, b in pairwise(found.starts)]


def test_sessions_of_a_log_and_repeats() -> None:
    times = np.array([0, 1, 2, 3, 4, 5], np.int64)
    found = log.arranged(
        times,
        np.array([0, 1, 0, 0, 1, 0]),
        np.array([0, 1, 0, 2, 1, 2]),
        np.array([0, 1, 0, 0, 1, 0]),
        ["u", "v"],
        ["a", "b", "c"],
    )
    assert lists(dataset.sessions_of(found)) == [[1], [0, 2]]
    assert lists(dataset.sessions_of(replace(found, repeats=True))) == [[1, 1], [0, 0, 2, 2]]


def test_pick_and_keep() -> None:
    made = sessions([1, 2, 3], [4], [5, 6])
    assert lists(made.pick(np.array([2, 0]))) == [[5, 6], [1, 2, 3]]
    assert lists(made.keep(np.array([0, 1, 1, 0, 1, 0], bool))) == [[2, 3], [5]]
    assert lists(dataset.joined(made.pick(np.array([1])), made.pick(np.array([2])))) == [[4], [5, 6]]


def test_a_session_across_the_boundary_is_context_after_it_and_lesson_before() -> None:
    made = sessions([1, 2, 3], [4, 5], [6, 7], times=[[0, 10, 20], [5, 6], [15, 16]])
    before, after = dataset.split(made, 15)
    assert lists(before) == [[1, 2], [4, 5]]
    assert lists(after) == [[1, 2, 3], [6, 7]]
    dataset.refuse_leakage(before.trained(), 15)


def test_leakage_is_refused() -> None:
    with pytest.raises(InputError, match="training events before 15"):
        dataset.refuse_leakage(Trained(0, 15, 3), 15)
    dataset.refuse_leakage(Trained(0, 14, 3), 15)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_boundary_splits_by_share(share: float) -> None:
    made = dataset.sessions_of(ring_log())
    before, _ = dataset.split(made, dataset.boundary(made, share))
    assert len(before.items) / len(made.items) == pytest.approx(1 - share, abs=0.01)


def test_a_boundary_needs_time_before_it() -> None:
    with pytest.raises(InputError, match="before the newest window"):
        dataset.boundary(sessions([1, 2], times=[[5, 5]]), 0.1)


def test_rows_of_a_live_version_stay() -> None:
    found = ring_log(sessions=30)
    learned = dataset.sessions_of(found)
    words = dataset.vocabulary(found, learned, first=["gone", "i7"])
    assert words.ids[:2] == ["gone", "i7"]
    assert len(set(words.ids)) == len(words.ids)
    assert all(words.ids[row] == item for item, row in zip(found.item_ids, words.rows, strict=True))
    rare = dataset.vocabulary(found, learned, min_count=10_000)
    assert (rare.ids, set(rare.rows)) == ([], {-1})


@pytest.mark.parametrize(("tokens", "length"), [(64, 50), (7, 3), (1, 1)])
def test_an_epoch_learns_every_pair_once(tokens: int, length: int) -> None:
    rng = np.random.default_rng(3)
    made = sessions(*[list(rng.integers(0, 1000, n)) for n in (1, 2, 5, 9, 3, 1, 30, 2)])
    pairs = []
    old = np.arange(len(made)) % 2 == 0
    for batch in dataset.batches(made, tokens, length, rng, old):
        assert batch.mask.shape[1] <= length
        assert batch.mask.size <= max(tokens, length)
        pairs += list(zip(batch.items[batch.mask], batch.targets[batch.mask], strict=True))
        assert (old[batch.users] == batch.old).all()
    expected = [pair for s in lists(made) for pair in pairwise(s)]
    assert sorted(pairs) == sorted(expected)


def test_epochs_differ_and_are_functions_of_the_seed() -> None:
    made = dataset.sessions_of(ring_log(50))
    first, again, other = (
        np.concatenate([b.items.ravel() for b in dataset.batches(made, 64, 20, np.random.default_rng(seed))])
        for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert first.shape != other.shape or (first != other).any()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_negatives_are_drawn_by_popularity_to_a_power(alpha: float) -> None:
    counts = np.array([1, 4, 16, 64])
    negatives = Negatives(counts, alpha)
    drawn = np.bincount(negatives.draw(200_000, np.random.default_rng(0)), minlength=4) / 200_000
    assert drawn == pytest.approx(counts**alpha / (counts**alpha).sum(), abs=0.005)
    assert negatives.probability == pytest.approx(counts**alpha / (counts**alpha).sum())
