"""The service and the workers: it goes on from what they have live, removes nothing that they need, and does not end their trials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event

import fsspec
import pytest

from offline import job
from offline.publish import InUse, publish
from offline.schedule import Outcome, once
from streams.contracts.models import Announcement
from tests.offline.planted import ring_log
from tests.offline.test_schedule import CONFIG, plan


def test_a_round_goes_on_from_what_is_live_and_not_from_what_was_rolled_back(tmp_path: Path) -> None:
    told: list[Announcement] = []
    for events in (500, 600):
        assert once(plan(tmp_path, ring_log(events)), told.append, Event()).what == "published"
    first, second = (a.version for a in told)
    rolled_back = InUse(told[0], frozenset({second}), frozenset({first}))
    found = once(replace(plan(tmp_path, ring_log(700)), fleet=lambda: rolled_back), told.append, Event())
    assert found.what == "published", found.told
    assert f"against {first}" in found.told
    third = told[-1].version
    nobody = InUse(None, frozenset({first, second, third}))
    last = once(replace(plan(tmp_path, ring_log(800)), fleet=lambda: nobody), told.append, Event())
    assert last.what == "published", last.told
    assert "against popularity" in last.told


def test_a_round_goes_on_from_what_somebody_else_has_published_elsewhere(tmp_path: Path) -> None:
    job.train(ring_log(450), tmp_path / "mine", CONFIG)
    mine = publish(tmp_path / "mine", str(tmp_path / "else where"))
    theirs = replace(plan(tmp_path, ring_log(600)), fleet=lambda: InUse(mine))
    found = once(theirs, lambda a: None, Event())
    assert (found.what, f"against {mine.version}" in found.told) == ("published", True), found.told


def test_a_live_version_in_a_store_is_fetched_once(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    job.train(ring_log(450), tmp_path / "mine", CONFIG)
    mine = publish(tmp_path / "mine", "memory://once/models")
    for events, what in ((500, "published"), (700, "published")):
        theirs = replace(plan(tmp_path, ring_log(events)), fleet=lambda: InUse(mine))
        found = once(theirs, lambda a: None, Event())
        assert (found.what, f"against {mine.version}" in found.told) == (what, True), found.told
        if store.exists("/once"):
            store.rm("/once", recursive=True)


def test_versions_in_use_are_not_removed(tmp_path: Path) -> None:
    told: list[Announcement] = []
    used = replace(plan(tmp_path), keep=1)
    for events in (500, 600, 700):
        fleet = InUse(kept=frozenset({told[0].version})) if told else InUse()
        again = replace(used, read=lambda *_, n=events: ring_log(n), fleet=lambda f=fleet: f)
        assert once(again, told.append, Event()).what == "published"
    assert {p.name for p in (tmp_path / "to").iterdir()} == {told[0].version, told[2].version}


def test_a_trial_is_not_ended_by_the_next_round_before_patience_is(tmp_path: Path) -> None:
    told: list[Announcement] = []
    assert once(plan(tmp_path), told.append, Event()).what == "published"
    first, hour = told[0].version, 3_600_000

    def later(at_h: float, events: int, busy: str = "") -> Outcome:
        fleet, now = InUse(busy=busy), int(at_h * hour)
        again = replace(
            plan(tmp_path, ring_log(events)), fleet=lambda: fleet, patience_s=2 * 3600.0, now_ms=lambda: now
        )
        return once(again, told.append, Event())

    trial = f"version {first} is on trial"
    assert later(100, 400, trial).told == "0 new events, 100 are worth a round", (
        "the wait counts from here on all the same"
    )
    found = later(101.5, 600, trial)
    assert (found.what, found.told) == ("waited", f"{trial}, which another one would end; for 0.5 h more at most")
    watched = f"version {first} is still compared with the one before it"
    assert later(103, 600, watched).what == "waited", "the watch has a patience of its own"
    assert (len(told), len(list((tmp_path / "work").glob("candidate-*")))) == (1, 1), "nothing was trained either"
    assert later(105, 600, watched).what == "published"
    assert later(105, 800, f"version {told[1].version} is on trial").what == "waited"
    assert later(106, 800).what == "published", "the trial is over"


def test_a_trial_that_somebody_begins_while_a_round_trains_is_not_ended(tmp_path: Path) -> None:
    asked = iter([InUse(), InUse(busy="version x is on trial")])
    found = once(replace(plan(tmp_path), fleet=lambda: next(asked)), lambda a: pytest.fail("it was announced"), Event())
    assert (found.what, "version x is on trial" in found.told) == ("waited", True)
    assert once(plan(tmp_path), lambda a: None, Event()).what == "published"
