"""The split is what the documentation says, uniform, independent of other salts, and sticky."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency, kstest
from xxhash import xxh64

from online_models.errors import InputError
from online_models.experiments.split import BUCKETS, Ranges, Split, allocate, bucket, counts, seed_of

MILLION = [f"user-{n}" for n in range(1_000_000)]
HALVES = allocate(counts({"control": 1, "new": 1}))

VECTORS = [
    ("", "", 634_168),
    ("checkout", "u1", 175_814),
    ("checkout", "u2", 729_135),
    ("feed", "u1", 769_349),
    ("feed", "Zoë", 335_477),
    ("feed", "用户-1", 997_519),
]
"""Salt, unit, bucket: what other services have to come to (also in the documentation)."""


@pytest.mark.parametrize(("salt", "unit", "expected"), VECTORS)
def test_vectors(salt: str, unit: str, expected: int) -> None:
    assert bucket(seed_of(salt), unit) == expected
    seed = int.from_bytes(xxh64(salt.encode(), 0).digest(), "big")
    assert int.from_bytes(xxh64(unit.encode(), seed).digest(), "big") * 1_000_000 // 2**64 == expected


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    split = Split("s", allocate(counts({"a": 5, "b": 3, "c": 2}, traffic=0.7)))
    units = [*MILLION[:2_000], "", "Zoë", "\ud800"]
    assert split.variants(units) == [split.variant(u) for u in units]
    assert split.buckets(units).tolist() == [bucket(split.seed, u) for u in units]


def test_uniform_over_a_million_ids() -> None:
    found = []
    for number in range(20):
        cells = np.bincount(Split(f"salt {number}", HALVES).buckets(MILLION) // 1_000, minlength=1_000)
        found.append(chi2.sf(float(((cells - 1_000.0) ** 2 / 1_000.0).sum()), 999))
    assert min(found) > 0.05 / 20 / 10
    assert kstest(found, "uniform").pvalue > 0.01


def test_independent_of_another_salt() -> None:
    one, other = (Split(salt, HALVES).buckets(MILLION) * 10 // BUCKETS for salt in ("layer/feed", "feed"))
    table = np.zeros((10, 10), np.int64)
    np.add.at(table, (one, other), 1)
    assert chi2_contingency(table).pvalue > 0.001


def test_shares_are_what_was_asked_for() -> None:
    split = Split("shares", allocate(counts({"control": 90, "new": 10}, traffic=0.5)))
    assert split.shares() == {"control": 0.45, "new": 0.05}
    found = Counter(split.variants(MILLION))
    assert abs(found["new"] - 50_000) < 5 * 50_000**0.5
    assert abs(found[None] - 500_000) < 5 * 500_000**0.5


def test_growing_coverage_moves_nobody() -> None:
    units = MILLION[:200_000]
    shares = {"a": 2.0, "b": 1.0, "c": 1.0}
    before = allocate(counts(shares, 0.01))
    found = Split("grow", before).variants(units)
    for traffic in (0.05, 0.2, 0.5, 1.0):
        before = allocate(counts(shares, traffic), before)
        now = Split("grow", before).variants(units)
        assert all(new == old for new, old in zip(now, found, strict=True) if old is not None)
        found = now
    assert None not in found


weights = st.lists(st.integers(0, 20), min_size=3, max_size=3).filter(any)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(weights, st.integers(0, 100)), min_size=2, max_size=6))
def test_who_grows_loses_nobody(steps: list[tuple[list[int], int]]) -> None:
    before = allocate({}, ())
    for numbers, percent in steps:
        wanted = counts(dict(zip("abc", numbers, strict=True)), percent / 100)
        after = allocate(wanted, before)
        old, new = owners(before), owners(after)
        assert {v: int((new == ord(v)).sum()) for v in "abc"} == wanted
        for variant in map(ord, "abc"):
            if (new == variant).sum() >= (old == variant).sum():
                assert (new[old == variant] == variant).all()
            else:
                assert (old[new == variant] == variant).all()
        before = after


def moved(before: Ranges, after: Ranges) -> Counter[tuple[str | None, str | None]]:
    """Buckets by their owner before and after."""
    found: Counter[tuple[str | None, str | None]] = Counter()
    at = 0
    for end in sorted({end for _, end in (*before, *after)}):
        found[tuple(next(o for o, stop in ranges if at < stop) for ranges in (before, after))] += end - at
        at = end
    return found


@pytest.mark.parametrize(("n", "most"), [(2, 10), (3, 20), (10, 120)])
@pytest.mark.parametrize("kind", ["a little between two", "all anew", "traffic too"])
def test_a_thousand_ramps_leave_few_ranges(n: int, most: int, kind: str) -> None:
    rng = random.Random(n)
    shares, traffic = {f"v{i}": 1.0 for i in range(n)}, 1.0
    ranges = allocate(counts(shares))
    for number in range(1_000):
        if kind == "a little between two":
            for name in rng.sample(sorted(shares), 2):
                shares[name] = max(0.01, shares[name] + rng.uniform(-0.05, 0.05))
        else:
            shares = {name: rng.expovariate(1.0) for name in shares}
            traffic = rng.random() if kind == "traffic too" else 1.0
        wanted = counts(shares, traffic)
        after = allocate(wanted, ranges)
        assert len(after) <= most
        if number % 10 == 0:
            steps = moved(ranges, after)
            for name, n_wanted in wanted.items():
                assert sum(size for (_, now), size in steps.items() if now == name) == n_wanted
                had = sum(size for (old, _), size in steps.items() if old == name)
                assert steps[name, name] == min(had, n_wanted)  # who grows keeps all, who shrinks gets nobody new
        ranges = after


def owners(ranges: tuple[tuple[str | None, int], ...]) -> np.ndarray:
    out = np.zeros(BUCKETS, np.uint8)
    start = 0
    for owner, end in ranges:
        out[start:end] = ord(owner or "-")
        start = end
    return out


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": -1.0, "b": 2.0}, {"a": float("nan")}, {"a": float("inf")}])
def test_impossible_weights_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(InputError, match="correct the weights"):
        counts(shares)


def test_ranges_that_do_not_cover_everything_are_refused() -> None:
    with pytest.raises(InputError, match="rise to 1000000"):
        Split("s", (("a", 10),))
