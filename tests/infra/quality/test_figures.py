"""Intervals, slices and differences: what is told of a run is what is in its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from infra.quality.bootstrap import Interval, intervals
from infra.quality.judge import Verdict
from infra.quality.summary import difference, of_verdict
from online_models.expected import NAMES
from tests.infra.quality.worlds import ader_plan, walk


def sessions_of(n: int, size: int) -> np.ndarray:
    return np.repeat(np.arange(n), size)


def of(values: np.ndarray, sessions: np.ndarray, strata: np.ndarray | None = None) -> Interval:
    [found] = intervals(values[:, None], sessions, np.zeros(len(values), np.int64) if strata is None else strata)
    return found


def test_the_interval_is_that_of_sessions_not_of_queries() -> None:
    """Ten queries of a session that all come out alike are one observation: its standard error is that of 200 draws, not of 2,000."""
    values = np.repeat(np.random.default_rng(0).random(200) < 0.5, 10).astype(float)
    whole = of(values, sessions_of(200, 10))
    each = of(values, np.arange(2000))
    error = np.sqrt(0.25 / 200)
    assert whole.high - whole.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert each.high - each.low == pytest.approx(2 * 1.96 * error / np.sqrt(10), rel=0.15)
    assert whole.mean == pytest.approx(values.mean())


def test_95_of_100_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        rate = rng.beta(2, 2, 100)
        values = (rng.random((100, 5)) < rate[:, None]).astype(float).ravel()
        found = of(values, sessions_of(100, 5))
        held += found.low <= 0.5 <= found.high
    assert 180 <= held <= 198


def test_periods_weigh_the_same_whatever_their_size() -> None:
    values = np.concatenate([np.ones(900), np.zeros(100)])
    strata = np.repeat([1, 2], [900, 100])
    found = of(values, np.arange(1000), strata)
    assert found == Interval(0.5, 0.5, 0.5), "drawn within periods, neither has anything to vary"


def test_pairs_are_compared_query_by_query(tmp_path: Path) -> None:
    plan = ader_plan(tmp_path, [walk(200, 1), walk(400, 2, 1000)])
    rng = np.random.default_rng(0)
    base = rng.random((len(plan), len(NAMES))).astype(np.float32)
    found = difference(plan, base + np.float32(0.01), base)
    assert found["ndcg@20"]["low"] == pytest.approx(0.01, abs=1e-4)
    assert found["ndcg@20"]["high"] == pytest.approx(0.01, abs=1e-4)


def test_slices_are_of_all_queries_and_of_each_once(tmp_path: Path) -> None:
    plan = ader_plan(tmp_path, [walk(200, 1), walk(300, 2, 1000), walk(300, 3, 2000)])
    values = np.zeros((len(plan), len(NAMES)), np.float32)
    values[plan.position == 1] = 1.0
    told = of_verdict(plan, Verdict(values, values, 0.5, 0.2, 0.1))
    assert told["popularity"]["bias"] == 2.0
    for parts in told["slices"].values():
        assert sum(part["queries"] for part in parts.values()) == len(plan)
    assert told["slices"]["session length"]["1"]["hr@20"] == 1.0
    assert told["slices"]["session length"]["2-4"]["hr@20"] == 0.0
    assert set(told["periods"]) == {"1", "2"}
    each = [told["periods"][p]["hr@20"] for p in ("1", "2")]
    assert told["metrics"]["hr@20"]["mean"] == pytest.approx(sum(each) / 2, abs=1e-4)


def test_no_queries_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one query"):
        intervals(np.zeros((0, 1)), np.zeros(0, np.int64), np.zeros(0, np.int64))
