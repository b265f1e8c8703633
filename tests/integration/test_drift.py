"""Users change their ways: the worker tells of it on topic ``drift``, and ``headrace offline --on-drift`` retrains early."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from infra import topics
from infra.drifts import drifts
from infra.settings import Settings
from streams.contracts.drifts import QualityDrift
from streams.quality_watch import drift_id
from tests.integration.stream_support import START, Worker, await_answers, publish, read, until
from tests.streams.test_quality_watch import WALK

EVENTS = [msgspec.to_builtins(event) for event in WALK[700:2_500]]
"""A bit more than half of them of users who walk in a ring."""


def test_a_drift_reaches_topic_metrics_and_the_service_that_retrains(settings: Settings, tmp_path: Path) -> None:
    topics.create(settings, partitions=1)
    said = tmp_path / "offline.log"
    arguments = [
        "--broker",
        settings.broker,
        "--topic-prefix",
        settings.topic_prefix,
        "--data-dir",
        str(tmp_path / "o"),
    ]
    # A minute more than the test may take: only a drift makes it come.
    arguments += ["--every", "1h", "--on-drift", "--no-announce", "--fewest", "1000000"]
    with said.open("wb") as log:
        service = subprocess.Popen([sys.executable, "-c", START, "offline", *arguments], stdout=log, stderr=log)
    try:
        with Worker(settings, tmp_path).ready() as worker:
            publish(settings, EVENTS[:800])
            until(lambda: "round 1 waited" in said.read_text(), 60, said.read_text)
            publish(settings, EVENTS[800:])
            await_answers(settings, EVENTS)
            page = worker.get("/metrics")[1]
            assert worker.stop() == 0, worker.output
        found = [msgspec.json.decode(r.value, type=QualityDrift) for r in read(settings, settings.topics.drift)]
        blend = next(drift for drift in found if drift.figure == "hr@20 blend" and drift.worse)
        assert 800 < blend.offset < 1_500
        assert blend.drift_id == drift_id("hr@20 blend", blend.partition, blend.offset)
        assert 'headrace_pipeline_drift_alarms{name="hr@20 blend"} ' in page
        assert "hr@20 following" in {drift.figure for drift in found}
        until(lambda: "round 2 begins early: hr@20 " in said.read_text(), 30, said.read_text)
        until(lambda: "round 2 waited" in said.read_text(), 60, said.read_text)
    finally:
        service.terminate()
        assert service.wait(20) == 0, said.read_text()
    assert "round 3" not in said.read_text(), "a fleet's other records of it start no further round"
    assert "Traceback" not in said.read_text()


def test_a_worker_without_the_topic_says_so_when_it_starts(settings: Settings, tmp_path: Path) -> None:
    """Not hours later, when something drifts."""
    with topics.admin(settings) as client:
        names = settings.topics.configs().keys() - {settings.topics.drift}
        client.create_topics({name: {"num_partitions": 1} for name in names})
        client.wait_for_topics(list(names), timeout_ms=15_000)
    with Worker(settings, tmp_path) as worker:
        assert worker.wait() == 1
    [line] = [line for line in worker.output.splitlines() if line.startswith("headrace: ")]
    assert settings.topics.drift in line
    assert "headrace topics create" in line


def test_what_was_told_before_is_no_news_and_a_copy_is_none_either(settings: Settings) -> None:
    topics.create(settings, partitions=2)

    def tell(drift: str, figure: str = "hr@20 served") -> None:
        record = QualityDrift(
            drift_id=drift, figure=figure, before=0.5, after=0.25, worse=True, moments=9, timestamp=1, partition=0, offset=1
        )  # fmt: skip
        with topics.producer(settings) as producer:
            producer.send(settings.topics.drift, msgspec.json.encode(record), key=drift.encode())
            producer.flush()

    tell("old")
    with drifts(settings) as early:
        assert early() == ""
        tell("new")
        told: list[str] = []
        until(lambda: bool(told.append(early()) or told[-1]), 20)
        assert told[-1] == "hr@20 served went from 0.5000 to 0.2500"
        tell("new")
        tell("other", "hr@20 knn")
        tell("last")
        told.clear()
        until(lambda: bool(told.append(early()) or told[-1]), 20)
        assert [text for text in told if text] == ["hr@20 served went from 0.5000 to 0.2500"]
        assert early() == ""
