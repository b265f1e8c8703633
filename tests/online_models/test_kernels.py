"""The shared kernels: a fast logarithm within its bound, and lists that are what sorting would give."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from online_models._kernels import drain_top, fast_log, fast_tanh, insert_top


def test_the_fast_logarithm_is_within_its_bound() -> None:
    tiny, huge = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
    rng = np.random.default_rng(0)
    spread = np.exp(rng.uniform(math.log(tiny), math.log(huge), 20_000)).astype(np.float32)
    near = rng.uniform(0.5, 4.0, 20_000).astype(np.float32)
    edges = np.array([tiny, huge, 1.0, 2.0, 1.0 - 2**-24, 2.0 - 2**-23, 1e-6, 1e-3, 1e12], np.float32)
    x = np.clip(np.concatenate([spread, near, edges]), np.float32(tiny), np.float32(huge))
    worst = max(abs(fast_log(v) - math.log(v)) for v in x.tolist())
    assert 5e-5 < worst < 2e-4


def test_the_fast_logarithm_hardly_ever_falls_where_it_should_rise() -> None:
    x = np.linspace(1.0, 1e6, 20_000)
    values = np.array([fast_log(v) for v in x])
    assert (np.diff(values) > -1e-5).all()


@pytest.mark.parametrize("k", [1, 2, 7, 100])
def test_the_best_k_are_those_of_sorting(k: int) -> None:
    rng = random.Random(k)
    for _ in range(200):
        pairs = list(
            zip(rng.sample(range(1_000), 60), [rng.choice((-1.0, 0.0, 0.5, 1.0, 2.0)) for _ in range(60)], strict=True)
        )
        items, scores, n = np.full(k, -1, np.int32), np.zeros(k, np.float32), 0
        for seen, (item, score) in enumerate(pairs, 1):
            n = insert_top(items, scores, n, k, item, score)
            assert n == min(seen, k)
        best = sorted(pairs, key=lambda p: (-p[1], p[0]))[:k]
        assert list(zip(items[:n].tolist(), scores[:n].tolist(), strict=True)) == best


def test_draining_takes_the_open_and_positive_and_leaves_nothing() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        acc, touched = np.zeros(200, np.float32), np.zeros(200, np.int32)
        blocked = (rng.random(200) < 0.3).astype(np.uint8)
        some = rng.permutation(200)[:80]
        touched[:80], acc[some] = some, rng.choice([-1.0, 0.0, 0.25, 1.5], 80)
        had = acc.copy()
        items, scores = np.zeros(20, np.int32), np.zeros(20, np.float32)
        n = drain_top(acc, touched, 80, blocked, 20, items, scores)
        best = sorted((i for i in some.tolist() if had[i] > 0 and not blocked[i]), key=lambda i: (-had[i], i))[:20]
        assert items[:n].tolist() == best
        assert scores[:n].tolist() == had[best].tolist()
        assert not acc.any()


def test_the_fast_hyperbolic_tangent_is_within_its_bound_and_stays_within_one() -> None:
    x = np.linspace(-40.0, 40.0, 40_001).astype(np.float32)
    values = np.array([fast_tanh(v) for v in x])
    worst = np.abs(values - np.tanh(x.astype(float))).max()
    assert 5e-5 < worst < 1e-4
    assert np.abs(values).max() <= 1.0
