"""Rounds that come before their time: once between two regular ones, and never over another one."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from offline.gate import GateConfig
from offline.log import Log
from offline.schedule import Plan, serve
from tests.offline.planted import ring_log


class World:
    """A clock that stands still but for the waiting; each round takes ``takes`` seconds. ``says``: time → why to be early."""

    def __init__(self, says: dict[float, str], takes: float = 1.0) -> None:
        self.now, self.takes, self.says = 0.0, takes, dict(says)
        self.began: list[float] = []
        self.at_work = False
        self.asked_at: list[float] = []
        world = self

        class Stop(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                world.now += timeout or 0.0
                return self.is_set()

        self.stop = Stop()

    def read(self, *_: object) -> Log:
        assert not self.at_work, "two rounds at once"
        self.at_work = True
        self.began.append(self.now)
        self.now += self.takes
        self.at_work = False
        return ring_log()

    def early(self) -> str:
        assert not self.at_work, "asked in the middle of a round"
        due = [at for at in self.says if at <= self.now]
        return "; ".join(self.says.pop(at) for at in sorted(due))

    def run(self, folder: Path, rounds: int) -> list[float]:
        plan = Plan(folder / "work", self.read, str(folder / "to"), gate=GateConfig(queries=50), fewest=10**9)
        serve(plan, 100.0, lambda a: None, self.stop, rounds, lambda: self.now, self.early)
        return self.began


def test_a_reason_makes_the_next_round_come_early_and_the_regular_ones_keep_their_times(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "headrace"):
        began = World({30.0: "hr@20 blend fell"}).run(tmp_path, 4)
    assert began == [0.0, 30.0, 100.0, 200.0]
    assert "round 2 begins early: hr@20 blend fell" in caplog.text
    assert caplog.text.count("begins early") == 1


def test_between_two_regular_rounds_there_is_one_early_round_at_most(tmp_path: Path) -> None:
    """A storm of reasons doubles the rounds, and what came before a regular round makes none after it."""
    storm = {float(at): "worse" for at in range(10, 300, 5)}
    assert World(storm).run(tmp_path, 5) == [0.0, 10.0, 100.0, 105.0, 200.0]


def test_what_comes_during_a_round_is_reason_for_one_after_it(tmp_path: Path) -> None:
    assert World({20.0: "worse"}, takes=30.0).run(tmp_path, 3) == [0.0, 30.5, 100.0]


def test_what_was_said_before_a_round_began_is_what_that_round_looks_at(tmp_path: Path) -> None:
    assert World({-5.0: "worse"}).run(tmp_path, 2) == [0.0, 100.0]


def test_an_early_round_that_takes_long_is_not_overtaken(tmp_path: Path) -> None:
    world = World({150.0: "worse"}, takes=70.0)
    began = world.run(tmp_path, 4)
    assert began[:3] == [0.0, 100.0, 170.5]
    assert began[3] >= began[2] + 70.0


def test_nobody_who_could_be_early_changes_nothing(tmp_path: Path) -> None:
    world = World({})
    plan = Plan(tmp_path / "work", world.read, str(tmp_path / "to"), gate=GateConfig(queries=50), fewest=10**9)
    serve(plan, 100.0, lambda a: None, world.stop, 3, lambda: world.now)
    assert world.began == [0.0, 100.0, 200.0]


def test_a_stop_ends_the_waiting_for_a_reason(tmp_path: Path) -> None:
    world = World({})
    plan = replace(
        Plan(tmp_path / "work", world.read, str(tmp_path / "to"), gate=GateConfig(queries=50), fewest=10**9), keep=5
    )

    def early() -> str:
        if world.now > 40.0:
            world.stop.set()
        return ""

    serve(plan, 100.0, lambda a: None, world.stop, None, lambda: world.now, early)
    assert world.began == [0.0]
    assert world.now < 50.0
