"""The archive follows what happens to its topic: made anew, cut by retention, grown, written by transactions."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition

from infra import archive, local, topics
from infra.archive import Roll, archive_once
from infra.archive_store import SERVICE, open_store
from infra.settings import Settings, load
from online_models.errors import ServiceError
from tests.integration.archive_support import Archiver, archived, events, expected, folder_of
from tests.integration.stream_support import publish, until

ONLY_KAFKA = pytest.mark.parametrize("broker", ["kafka"], indirect=True)


def test_a_topic_made_anew_is_refused(settings: Settings) -> None:
    topics.create(settings, 1)
    publish(settings, events(100))
    archive_once(settings)
    before = archived(folder_of(settings))
    with topics.admin(settings) as client:
        client.delete_topics([settings.topics.events])
        until(lambda: settings.topics.events not in topics.partitions_of(client, [settings.topics.events]), 20)
    topics.create(settings, 1)
    publish(settings, events(300, seed=1))
    with pytest.raises(ServiceError, match="made anew"):
        archive_once(settings)
    assert archived(folder_of(settings)) == before
    assert archive_once(settings, settings.data_dir / "another").events == 300


def test_offsets_beyond_the_end_are_refused_where_the_topic_has_no_id(settings: Settings) -> None:
    topics.create(settings, 1)
    publish(settings, events(10))
    with open_store(folder_of(settings), settings.topics.events) as store:
        store.write(0, 0, 49, archive.Rows(), refused=50)
    with pytest.raises(ServiceError, match=r"ending at offset 10, before 50; it was made anew"):
        archive_once(settings)


def test_without_topic_or_broker(settings: Settings) -> None:
    with pytest.raises(ServiceError, match="headrace topics create"):
        archive_once(settings)
    assert not folder_of(settings).exists()
    with pytest.raises(ServiceError, match="a Kafka broker"):
        archive_once(load({"broker": "127.0.0.1:1", "data_dir": str(settings.data_dir)}, environ={}))


def delete_until(settings: Settings, offset: int) -> None:
    with topics.admin(settings) as client:
        client.delete_records({TopicPartition(settings.topics.events, 0): offset})


@ONLY_KAFKA
def test_what_retention_took_first_is_said_and_counted(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    topics.create(settings, 1)
    publish(settings, events(100))
    delete_until(settings, 10)
    said: list[str] = []
    assert archive_once(settings, tell=said.append).events == 90
    assert said == []
    publish(settings, events(100, seed=1))
    delete_until(settings, 130)
    ends = archive._Archive.ends

    def late(self: Any) -> Any:
        """Retention comes once more, between looking and reading."""
        found = ends(self)
        delete_until(settings, 150)
        return found

    monkeypatch.setattr(archive._Archive, "ends", late)
    found = archive_once(settings, tell=said.append)
    assert (found.events, found.lost, found.next) == (50, 50, {0: 200})
    assert [message.partition(": ")[2].partition(" before")[0] for message in said] == [
        "the broker removed offsets 100 to 129",
        "the broker removed offsets 130 to 149",
    ]
    commit = json.loads((folder_of(settings) / SERVICE / "partition-00000.json").read_text())
    assert (commit["start"], commit["next"], commit["events"], commit["lost"]) == (10, 200, 140, 50)


@ONLY_KAFKA
def test_new_partitions_are_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LOOK_EVERY_S", 0.2)
    topics.create(settings, 1)
    publish(settings, events(100))
    stop = threading.Event()
    following = threading.Thread(
        target=archive.follow, args=(settings, None, Roll(seconds=0.2)), kwargs={"stop": stop.is_set}
    )
    following.start()
    until(lambda: len(archived(folder_of(settings))) == 100, 30)
    with topics.admin(settings) as client:
        client.create_partitions({settings.topics.events: 3})
    publish(settings, events(200, seed=1))
    until(lambda: len(archived(folder_of(settings))) == 300, 30)
    stop.set()
    following.join()
    assert {partition for partition, _ in archived(folder_of(settings))} == {0, 1, 2}
    assert archived(folder_of(settings)) == expected(settings)


@ONLY_KAFKA
def test_offsets_without_a_record_are_passed_over(settings: Settings) -> None:
    """Those of a producer's transactions."""
    topics.create(settings, 1)
    for event in events(3):
        with topics.producer(settings, transactional_id=settings.topic_prefix) as producer:
            producer.init_transactions()
            producer.begin_transaction()
            producer.send(settings.topics.events, json.dumps(event).encode(), key=event["user_id"].encode())
            producer.commit_transaction()
        archive_once(settings)
    assert list(archived(folder_of(settings))) == [(0, 0), (0, 2), (0, 4)]
    assert archive_once(settings).events == 0


def test_a_broker_that_dies_and_comes_back(kafka_script: Path, tmp_path: Path) -> None:
    """It is waited for, and said once. (In a process: kafka-python leaves sockets open where it tries in vain.)"""
    port, folder = local.free_port(), tmp_path / "kafka"
    settings = load({"broker": f"127.0.0.1:{port}", "data_dir": str(tmp_path)}, environ={})
    with local.start_kafka(kafka_script, folder, port):
        topics.create(settings, 2)
        publish(settings, events(100))
        before = "from infra import archive; archive.LOOK_EVERY_S = 0.2"
        following = Archiver(settings, "--roll", "200ms", before=before)
        until(lambda: len(archived(folder_of(settings))) == 100, 30)
        subprocess.run(["/bin/kill", "-9", (folder / "pid").read_text().strip()], check=True)
    time.sleep(1.0)
    with local.start_kafka(kafka_script, folder, port):
        publish(settings, events(100, seed=1))
        until(lambda: len(archived(folder_of(settings))) == 200, 30)
        assert archived(folder_of(settings)) == expected(settings)
        status, _, err = following.stop(signal.SIGTERM)
    assert status == 0
    said = err.splitlines()
    assert said[0].endswith(", got no answer; waiting for it")
    assert len(said) == len(set(said))
