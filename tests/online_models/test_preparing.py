"""Preparing leaves most of the time to the stream beside it, once there is one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from time import process_time

import pytest

from online_models import preparing


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    found: list[float] = []
    monkeypatch.setattr(preparing, "sleep", found.append)
    monkeypatch.setattr(os, "nice", lambda more: 0)
    before = signal.getsignal(signal.SIGPROF)
    yield found
    signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize(("restless_s", "rests"), [(0.0, True), (3_600.0, False)])
def test_it_rests_for_most_of_its_time_unless_nothing_is_beside_it(
    slept: list[float], restless_s: float, rests: bool
) -> None:
    with preparing._gently(restless_s):
        until = process_time() + 0.2
        while process_time() < until:
            pass
    assert bool(slept) == rests
    assert sum(slept) == pytest.approx(4 * 0.2 if rests else 0.0, rel=0.5)
