"""kill -9 in the middle of each step of taking over a version: the next life goes on as if nothing had happened."""

from __future__ import annotations

import json
import multiprocessing
import signal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from online_models.embeddings import manifest_sha256
from streams.contracts.models import Announcement, Decision, TrainedOn, WorkerStatus
from tests.streams import model_life
from tests.streams.model_life import STEPS, TOPICS, FileTopic
from tests.streams.test_hotswap import GROUPS, IDS
from tests.versions import artefact, vectors_of

ROLLED_BACK = ("rolling back", "roll-back written")
DECIDED = ("promotion written", "roll-back written")


def made(folder: Path, name: str, vectors: np.ndarray, created: int) -> Announcement:
    place = folder / "store" / name
    manifest = artefact(place, IDS, vectors, created=created)
    return Announcement(
        version=manifest.version, uri=place.as_uri(), sha256=manifest_sha256(place), created=created, metrics={},
        trained=TrainedOn(from_ms=0, to_ms=0, events=1),
    )  # fmt: skip


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.streams.model_life"])  # a life begins without waiting for its imports


def life(folder: Path, step: str, until: str) -> int | None:
    """The exit status of a process that lives until then, or dies at the step."""
    process = CONTEXT.Process(target=model_life.run, args=(folder, step, (2, 3, 4), until))
    process.start()
    process.join(100)
    status = process.exitcode
    process.kill()
    process.join()
    process.close()
    return status


def read(folder: Path, topic: str, kind: Any) -> list[Any]:
    values = (record.value for record in FileTopic(folder, topic).records())
    return [msgspec.json.decode(value, type=kind) for value in values if value is not None]


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_killed_in_the_middle_of_a_step_comes_up_again_and_takes_the_step(step: str, tmp_path: Path) -> None:
    models, decisions = FileTopic(tmp_path, TOPICS.models), FileTopic(tmp_path, TOPICS.model_decisions)
    a = version = made(tmp_path, "a", vectors_of(GROUPS), 1)
    until, before = f"live:{a.version}", "1"
    if step in ROLLED_BACK:  # a bad one beside a good one that is live
        decisions.put(Decision(announcement=a, state="promoted", by="operator", created=1), a.version)
        random = np.random.default_rng(5).normal(size=(len(IDS), 16)).astype(np.float32)
        version = made(tmp_path, "b", random, 2)
        until, before = f"gone:{version.version}", f"1+{a.version}"
    models.put(version)
    assert life(tmp_path, step, until) == -signal.SIGKILL, "it did not come to the step"
    half = {"half copied": "artefact", "half prepared": "prepared"}.get(step)
    assert half is None or not (tmp_path / "cache" / version.version / half).exists(), "whole or not at all"

    assert life(tmp_path, "", until) == 0
    found = json.loads((tmp_path / model_life.RESULT).read_text())
    assert found["live"] == a.version
    if step in DECIDED:
        assert found["begun"] == [], "what was decided is not tried again"
        assert set(found["named"][200:]) == {f"1+{a.version}"}, "from the first list on"
    else:
        assert found["begun"] == [version.version], "the trial begins anew, once"
        assert found["named"][200:250] == [before] * 50, "nobody sees a shadow"
    assert found["named"][-1] == f"1+{a.version}"

    decided = {d.announcement.version: d.state for d in read(tmp_path, TOPICS.model_decisions, Decision)}
    assert decided == {a.version: "promoted"} | ({version.version: "rolled_back"} if step in ROLLED_BACK else {})
    statuses = read(tmp_path, TOPICS.model_status, WorkerStatus)
    assert [s for s in statuses if s.error] == [], "nothing that the kill left behind is in the way"
    if step not in DECIDED:
        [last] = [s for s in statuses if s.worker == statuses[-1].worker][-1:]
        assert last.live == a.version
