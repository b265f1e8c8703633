"""Work on a copy: both tracks are the same to the bit, one after the other or side by side, and a copy that fails is heard of."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from infra.quality import beside
from infra.quality.beside import shared
from infra.quality.runs import Setup, by_tracks
from tests.infra.quality.worlds import REPEATS, ader_plan, nothing, walk


def test_both_tracks_are_the_same_with_a_fork_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = ader_plan(tmp_path, [walk(300, 1), walk(200, 2, 1000), walk(200, 3, 2000)])
    found = []
    for forks in (False, True):
        monkeypatch.setattr(beside, "FORKS", forks)
        found.append(by_tracks(plan, Setup(REPEATS), True, nothing))
    for one, two in zip(*found, strict=True):
        assert one is not None
        assert two is not None
        assert one.asked.sum() == len(plan) > 100
        assert np.array_equal(one.values, two.values)
        assert np.array_equal(one.known, two.known)
        assert (one.coverage, one.listed, one.wanted) == (two.coverage, two.listed, two.wanted)


@pytest.mark.parametrize("forks", [False, True])
def test_what_is_shared_is_seen_and_nothing_else(monkeypatch: pytest.MonkeyPatch, forks: bool) -> None:
    monkeypatch.setattr(beside, "FORKS", forks)
    common, own, body = shared((2, 3), np.float32), np.zeros(1), []

    def work() -> None:
        common[1, 2], own[0] = 7.0, os.getpid()

    with beside.beside(work):
        body.append(os.getpid())
    assert body == [os.getpid()]
    assert common.tolist() == [[0, 0, 0], [0, 0, 7]]
    assert own[0] == (0 if forks else os.getpid())


def fails() -> None:
    raise ValueError("no such thing")


def test_a_copy_that_fails_is_heard_of(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ended with 1"), beside.beside(fails):
        pass
    assert "no such thing" in capfd.readouterr().err


def test_a_copy_that_fails_waits_for_no_lock_of_a_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """As rich has it while a bar is drawn: stderr is a proxy, and another thread may be at it."""
    lock = threading.Lock()

    class Proxy(io.StringIO):
        def write(self, text: str) -> int:
            with lock:
                return len(text)

    monkeypatch.setattr(sys, "stderr", Proxy())
    with lock, pytest.raises(RuntimeError, match="ended with 1"), beside.beside(fails):
        pass


def test_a_body_that_fails_ends_the_copy() -> None:
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

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


KILLED = """
import os, time
from infra.quality.beside import beside, shared
ready = shared((), "int64")
def work():
    ready[()] = os.getpid()
    time.sleep(600)
with beside(work):
    while not ready:
        time.sleep(0.01)
    print(int(ready), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_copy_does_not_outlive_the_original(how: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as original:
        assert original.stdout is not None
        assert int(original.stdout.readline())
        original.send_signal(how)
        assert original.wait() == -how
        assert original.stdout.read() == "", "waits until nobody has the pipe: the copy has ended, too"


def test_ctrl_c_is_the_originals_matter(capfd: pytest.CaptureFixture[str]) -> None:
    ready = shared((), np.int64)

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        ready[()] = 1

    with beside.beside(work):
        pass
    assert ready == 1
    assert capfd.readouterr().err == ""
