"""Work on a copy: both tracks are the same to the bit, one after the other or side by side, and a copy that fails is heard of."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from infra.quality import beside
from infra.quality.beside import shared
from infra.quality.runs import Setup, by_tracks
from tests.infra.quality.worlds import REPEATS, ader_plan, nothing, walk


def side_by_side(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(beside, "_cores", lambda: cores)


def test_both_tracks_are_the_same_on_one_core_and_on_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = ader_plan(tmp_path, [walk(300, 1), walk(200, 2, 1000), walk(200, 3, 2000)])
    found = []
    for cores in (1, 2):
        side_by_side(monkeypatch, cores)
        found.append(by_tracks(plan, Setup(REPEATS), True, nothing))
    for one, two in zip(*found, strict=True):
        assert one is not None
        assert two is not None
        assert one.asked.sum() == len(plan) > 100
        assert np.array_equal(one.values, two.values)
        assert np.array_equal(one.known, two.known)
        assert (one.coverage, one.listed, one.wanted) == (two.coverage, two.listed, two.wanted)


@pytest.mark.parametrize("cores", [1, 2])
def test_what_is_shared_is_seen_and_nothing_else(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    side_by_side(monkeypatch, cores)
    common, own, body = shared((2, 3), np.float32), np.zeros(1), []

    def work() -> None:
        common[1, 2], own[0] = 7.0, os.getpid()

    with beside.beside(work):
        body.append(os.getpid())
    assert body == [os.getpid()]
    assert common.tolist() == [[0, 0, 0], [0, 0, 7]]
    assert own[0] == (os.getpid() if cores == 1 else 0)


def test_a_copy_that_fails_is_heard_of(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise ValueError("no such thing")

    side_by_side(monkeypatch, 2)
    with pytest.raises(RuntimeError, match="ended with 1"), beside.beside(work):
        pass
    assert "no such thing" in capfd.readouterr().err


def test_a_body_that_fails_ends_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    pid = shared((), np.int64)

    def work() -> None:
        pid[()] = os.getpid()
        time.sleep(600)

    def interrupted() -> None:
        with beside.beside(work):
            while not pid:
                time.sleep(0.01)
            os.kill(int(pid), 0)
            raise KeyboardInterrupt

    side_by_side(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
