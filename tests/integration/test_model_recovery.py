"""A worker on a real broker that is killed between its decision and its next word: the next one comes up with what was decided."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from infra import topics
from infra.cli.publish_model import announcer
from infra.settings import Settings, load
from offline.publish import publish as publish_model
from streams.contracts.models import Decision, WorkerStatus
from tests.integration.stream_support import Worker, await_answers, lists, publish, read, shop_events, until
from tests.versions import artefact

TRIAL = """
[pipeline.trial]
compared = 1.0
users = 0.5
shadow = 20
most = 60
margin = 0.5
"""
KILLED_AFTER_ITS_DECISION = """
import os, signal
from streams.app.publisher import Publisher
publish = Publisher.publish
async def dying(self, records):
    records = list(records)
    decided = [record for record in records if record.topic.endswith("models.decisions")]
    if decided:
        await publish(self, decided)
        os.kill(os.getpid(), signal.SIGKILL)
    await publish(self, records)
Publisher.publish = dying
"""


@pytest.fixture
def settings(embedded_broker: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Settings:
    flags = {"broker": embedded_broker, "redis": redis_url, "web": "127.0.0.1:0", "topic_prefix": topic_prefix}
    return load(flags | {"data_dir": str(tmp_path / "data")}, environ={})


def values(settings: Settings, topic: str, kind: Any) -> list[Any]:
    return [msgspec.json.decode(r.value, type=kind) for r in read(settings, topic) if r.value is not None]


def test_a_worker_killed_after_its_decision_comes_up_with_it_and_loses_no_event(
    settings: Settings, tmp_path: Path
) -> None:
    topics.create(settings, 1)
    ids = [f"i{n}" for n in range(60)]
    angle = 2 * np.pi * np.arange(60) / 60  # neighbours on the shop's ring stand beside each other
    vectors = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)], axis=1).astype(np.float32)
    version = artefact(tmp_path / "model", ids, vectors).version
    events = shop_events(400, seed=1)
    with Worker(settings, tmp_path, before=KILLED_AFTER_ITS_DECISION, more=TRIAL).ready() as worker:
        publish(settings, events[:50])
        await_answers(settings, events[:50])
        publish_model(tmp_path / "model", str(tmp_path / "store"), announcer(settings))
        statuses = settings.topics.model_status
        until(lambda: "shadow" in {s.step for s in values(settings, statuses, WorkerStatus)}, 30, lambda: worker.output)
        publish(settings, events[50:300])
        assert worker.wait(30) == -signal.SIGKILL, worker.output
    [decision] = values(settings, settings.topics.model_decisions, Decision)
    assert (decision.announcement.version, decision.state) == (version, "promoted")
    assert {s.live for s in values(settings, statuses, WorkerStatus)} == {"none"}, "it had no time to say so"
    with Worker(settings, tmp_path, more=TRIAL) as again:
        publish(settings, events[300:])
        await_answers(settings, events)
        late = {event["event_id"] for event in events[300:]}
        named = {x["model"]["version"] for x in lists(settings) if x["caused_by"]["event_id"] in late}
        assert named == {f"1+{version}"}, again.output
        assert again.stop() == 0, again.output
    assert len(values(settings, settings.topics.model_decisions, Decision)) == 1
