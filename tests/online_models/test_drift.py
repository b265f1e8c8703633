"""Drift: planted shifts are found in time, still streams stay silent, a restored monitor goes on as before."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from river import drift

from online_models.drift import Drift, DriftMonitor
from online_models.errors import InputError


def coin(p: float, n: int, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [float(rng.random() < p) for _ in range(n)]


def feed(monitor: DriftMonitor, name: str, values: list[float], **more: float) -> list[Drift]:
    return [d for d in (monitor.update(name, v, **more) for v in values) if d]


def frozen(monitor: DriftMonitor) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in monitor.snapshot().items()}


@pytest.mark.parametrize(("old", "new"), [(0.1, 0.25), (0.25, 0.1), (0.02, 0.12)])
def test_a_planted_shift_is_found_within_a_bounded_delay(old: float, new: float) -> None:
    means = []
    for seed in range(10):
        monitor = DriftMonitor()
        assert feed(monitor, "hit_rate", coin(old, 3_000, seed)) == []
        found = feed(monitor, "hit_rate", coin(new, 700, seed + 100))
        assert len(found) >= 1
        assert 3_000 < found[0].n <= 3_600
        assert found[0].name == "hit_rate"
        assert found[0].old_mean == pytest.approx(old, abs=0.03)
        means.append(found[0].new_mean)
        assert monitor.alarms == {"hit_rate": len(found)}
    assert np.mean(means) == pytest.approx(new, abs=0.06)


def test_a_still_stream_raises_no_more_alarms_than_configured() -> None:
    alarms = sum(
        len(feed(DriftMonitor(window=1024), "x", coin(p, 5_000, seed))) for seed in range(30) for p in (0.05, 0.5)
    )
    assert alarms <= 1  # 60 streams, and delta = 0.002 bounds the chance


def test_a_looser_delta_is_quicker() -> None:
    delays = []
    for delta in (0.1, 0.002, 1e-9):
        found = [
            feed(DriftMonitor(delta=delta), "x", coin(0.1, 2_000, seed) + coin(0.25, 2_000, seed + 100))[0]
            for seed in range(10)
        ]
        delays.append(sum(d.n for d in found))
    assert delays[0] < delays[1] < delays[2]


def test_log_loss_in_its_own_units() -> None:
    rng = random.Random(0)
    monitor = DriftMonitor()
    still = [-math.log(rng.uniform(0.6, 1.0)) for _ in range(3_000)]
    worse = [-math.log(rng.uniform(0.05, 0.6)) for _ in range(500)]
    assert feed(monitor, "loss", still, top=4.0) == []
    [found] = feed(monitor, "loss", worse, top=4.0)
    assert found.old_mean == pytest.approx(np.mean(still), abs=0.02)
    assert found.new_mean == pytest.approx(np.mean(worse), abs=0.3)


def test_one_outlier_is_no_drift() -> None:
    monitor = DriftMonitor()
    assert feed(monitor, "loss", [0.5, 0.4] * 1_000 + [1e308, -1e308] + [0.5, 0.4] * 1_000) == []
    assert len(feed(monitor, "loss", [0.9] * 300)) == 1  # and it is as awake as before


def test_names_are_apart() -> None:
    monitor = DriftMonitor()
    for a, b in zip(coin(0.1, 2_000, 1) + coin(0.9, 200, 2), coin(0.1, 2_200, 3), strict=True):
        monitor.update("a", a)
        assert monitor.update("b", b) is None
    assert monitor.counts == {"a": 2_200, "b": 2_200}
    assert monitor.alarms["a"] >= 1
    assert monitor.alarms["b"] == 0


@pytest.mark.parametrize("clock", [1, 32])
def test_the_verdict_is_that_of_river(clock: int) -> None:
    values = coin(0.1, 1_500, 1) + coin(0.4, 1_500, 2) + coin(0.1, 1_000, 3)
    river, at = drift.ADWIN(delta=0.002, clock=clock), []
    for n, value in enumerate(values, 1):
        river.update(value)
        if river.drift_detected:
            at.append(n)
    found = feed(DriftMonitor(clock=clock), "x", values)
    assert [d.n for d in found] == at
    assert (found[-1].old_mean, found[-1].new_mean) == pytest.approx((0.4, 0.1), abs=0.05)


@pytest.mark.parametrize("cut", [0, 1, 100, 1_000, 1_023, 1_024, 1_025, 2_010, 2_200])
def test_a_restored_monitor_goes_on_as_if_never_interrupted(cut: int) -> None:
    values = coin(0.2, 2_000, 1) + coin(0.6, 1_000, 2)
    whole = DriftMonitor(window=512)
    expected = feed(whole, "ü", values)
    first, second = DriftMonitor(window=512), DriftMonitor(window=512)
    feed(second, "other", [0.0] * 40)
    early = feed(first, "ü", values[:cut])
    second.restore({name: a.copy() for name, a in first.snapshot().items()})
    assert frozen(second) == frozen(first)
    assert early + feed(second, "ü", values[cut:]) == expected
    assert len(expected) >= 1
    assert frozen(second) == frozen(whole)


def test_every_detector_of_a_snapshot_comes_back() -> None:
    monitor, other = DriftMonitor(), DriftMonitor()
    for i, name in enumerate("abc"):
        feed(monitor, name, coin(0.2 * i, 100 + 50 * i, i))
    other.restore(monitor.snapshot())
    assert other.counts == monitor.counts == {"a": 100, "b": 150, "c": 200}
    more = [(name, v) for name in "abc" for v in coin(0.8, 300, 9)]
    assert [other.update(*m) for m in more] == [monitor.update(*m) for m in more]
    assert sum(other.alarms.values()) == 3


def test_a_snapshot_of_other_settings_is_taken_over_as_far_as_it_fits() -> None:
    monitor, small = DriftMonitor(), DriftMonitor(window=32, max_names=2)
    for name in "abc":
        feed(monitor, name, [0.5] * 200)
    small.restore(monitor.snapshot())
    assert small.counts == {"b": 200, "c": 200}
    assert small.snapshot()["lengths"].tolist() == [32, 32]


def test_memory_is_bounded() -> None:
    monitor = DriftMonitor(window=64, max_names=5)
    for i in range(6_000):
        monitor.update(f"name {i % 7}" if i < 3_000 else f"name {i % 5}", float(i % 3 == 0))
    assert monitor.counts.keys() == {f"name {i}" for i in range(5)}
    assert max(monitor.snapshot()["lengths"]) < 128
    assert monitor.nbytes < 5 * (3_000 + 8 * 128)


def test_the_name_updated_longest_ago_makes_room() -> None:
    monitor = DriftMonitor(max_names=2)
    for name in "abac":
        monitor.update(name, 0.0)
    assert monitor.counts == {"a": 2, "c": 1}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    monitor = DriftMonitor()
    monitor.update("x", 0.5)
    before = frozen(monitor)
    with pytest.raises(InputError, match="finite"):
        monitor.update("x", value)
    with pytest.raises(InputError, match="finite"):
        monitor.update("x", 0.5, top=0.0)
    assert frozen(monitor) == before


@pytest.mark.parametrize("name", ["", "two\nlines"])
def test_names_that_a_snapshot_could_not_hold_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="rename"):
        DriftMonitor().update(name, 0.0)


@pytest.mark.parametrize("bad", [{"delta": 0.0}, {"delta": math.nan}, {"clock": 0}, {"window": 1}, {"max_names": 0}])
def test_settings_that_cannot_work_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        DriftMonitor(**bad)
