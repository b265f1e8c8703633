"""``headrace publish`` against real brokers: every record arrives once and in order, even when the broker falls."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from infra import topics
from infra.cli.publish import command
from infra.local import start_kafka
from infra.settings import Settings, load
from online_models.errors import InputError, ServiceError


def event(number: int, user: str = "", **more: Any) -> bytes:
    fields = {"timestamp": 1_400_000_000_000 + number * 1000, "user_id": user or f"u{number % 50}", "item_id": "i"}
    return msgspec.json.encode(fields | {"event_type": "view"} | more)


def read_all(settings: Settings, topic: str) -> list[Any]:
    """All records, in the order of each partition."""
    parts = topics.require(settings, topic)
    ends = topics.end_offsets(settings, parts)
    records: list[Any] = []
    with topics.consumer(settings) as consumer:
        consumer.assign(parts)
        while any(consumer.position(part) < ends[part] for part in parts):
            for found in consumer.poll(500).values():
                records += found
    return records


def run(settings: Settings, *arguments: str) -> Any:
    shared = ["--broker", settings.broker, "--topic-prefix", settings.topic_prefix]
    return CliRunner().invoke(command, [*arguments, *shared], catch_exceptions=False)


def test_every_record_arrives_keyed_and_in_order(settings: Settings, tmp_path: Path) -> None:
    topics.create(settings, 3)
    lines = [event(number) for number in range(5000)]
    lines[7], lines[70], lines[700] = b"nonsense", b'{"user_id":5}', event(700, event_id="mine")
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n\n".join(lines)))
    result = run(settings, str(path), "--speed", "max")
    assert result.exit_code == 0
    assert result.stdout.startswith("published 5,000 events in ")
    assert result.stderr == "headrace: warning: records without a user, sent without a key: 2\n"
    records = read_all(settings, settings.topics.events)
    assert len(records) == 5000
    assert {record.value for record in records if record.key is None} == {lines[7], lines[70]}
    by_user: dict[bytes, list[int]] = {}
    for record in records:
        if record.key is not None:
            decoded = msgspec.json.decode(record.value)
            assert decoded["user_id"].encode() == record.key
            by_user.setdefault(record.key, []).append(int(decoded["event_id"].replace("mine", "701")))
    assert sorted(number for numbers in by_user.values() for number in numbers) == sorted({*range(1, 5001)} - {8, 71})
    assert all(numbers == sorted(numbers) for numbers in by_user.values())
    assert len({(record.key, record.partition) for record in records if record.key is not None}) == 50


def test_from_and_to_bound_event_time(settings: Settings, tmp_path: Path) -> None:
    topics.create(settings, 1)
    lines = [event(number, event_id=str(number)) for number in range(100)]
    lines[5], lines[50] = b"outside", b"inside"
    (tmp_path / "log").write_bytes(b"\n".join(lines))
    result = run(settings, str(tmp_path / "log"), "--from", "1400000010000", "--to", "2014-05-13T16:54:20Z")
    assert result.stdout.startswith("published 50 events")
    assert [record.value for record in read_all(settings, settings.topics.events)] == lines[10:60]


def test_pace_and_late_events(settings: Settings, tmp_path: Path) -> None:
    topics.create(settings, 1)
    (tmp_path / "log").write_bytes(b"\n".join(event(number) for number in (0, 10, 5, 30)))
    began = time.monotonic()
    result = run(settings, str(tmp_path / "log"), "--speed", "60x")
    assert time.monotonic() - began >= 0.5
    assert "events older than one before them: 1" in result.stderr
    stamps = [record.timestamp for record in read_all(settings, settings.topics.events)]
    assert stamps[-1] - stamps[0] >= 250
    assert abs(stamps[0] / 1000 - time.time()) < 60, "a record's own time must be now: retention goes by it"


def test_a_catalogue_is_keyed_by_item(settings: Settings, tmp_path: Path) -> None:
    topics.create(settings, 2)
    items = [b'{"item_id":"i%d","title":"Item %d"}' % (number, number) for number in range(30)]
    (tmp_path / "items.jsonl").write_bytes(b"\n".join(items))
    result = run(settings, "--catalogue", str(tmp_path / "items.jsonl"))
    assert result.stdout.startswith("published 30 items")
    records = read_all(settings, settings.topics.items)
    assert sorted((record.key, record.value) for record in records) == sorted(
        (b"i%d" % number, item) for number, item in enumerate(items)
    )


def test_a_faulty_catalogue_names_the_line(settings: Settings, tmp_path: Path) -> None:
    topics.create(settings, 1)
    (tmp_path / "items.jsonl").write_bytes(b'{"item_id":"a"}\n{"title":"no id"}\n')
    with pytest.raises(InputError, match=r"record 2 of .*items\.jsonl"):
        run(settings, "--catalogue", str(tmp_path / "items.jsonl"))


def test_topics_must_be_there(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(event(1))
    with pytest.raises(ServiceError, match="headrace topics create"):
        run(settings, str(tmp_path / "log"))


# kafka-python leaves the sockets of failed connections to the garbage collector, which complains: hence processes.


@pytest.mark.slow
def test_a_broker_that_falls_and_comes_back_loses_and_doubles_nothing(kafka_script: Path, tmp_path: Path) -> None:
    service = start_kafka(kafka_script, tmp_path / "kafka")
    settings = load({"broker": service.address}, environ={})
    count = 20_000
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"\n".join(event(number, "", timestamp=10**12 + number) for number in range(count)))
    try:
        topics.create(settings, 2)
        arguments = ["publish", str(log), "--speed", "4x", "--broker", service.address]
        program = [sys.executable, "-c", "from infra.cli import main; main()", *arguments]
        with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as publishing:
            while sum(topics.end_offsets(settings, topics.require(settings, "events")).values()) <= 1000:
                assert publishing.poll() is None
            service.stop()
            service = start_kafka(kafka_script, tmp_path / "kafka", port=service.port)
            out, err = publishing.communicate(timeout=100)
        assert (publishing.returncode, err) == (0, "")
        assert out.startswith("published 20,000 events")
        ids = [int(msgspec.json.decode(record.value)["event_id"]) for record in read_all(settings, "events")]
        assert sorted(ids) == list(range(1, count + 1))
    finally:
        service.stop()


BROKER_GOES = """
import sys, time
from pathlib import Path
from infra import publishing, topics
from infra.local import start_broker
from infra.settings import load

with start_broker(Path(sys.argv[1])) as service:
    settings = load({"broker": service.address}, environ={})
    topics.create(settings, 1)
    topics.PRODUCER.update(request_timeout_ms=500, delivery_timeout_ms=1500)

    def lines():
        for number in range(2000):
            if number == 1000:
                time.sleep(0.3)
                service.stop()
            yield b'{"user_id":"u","timestamp":%d}' % number

    try:
        publishing.publish_log(settings, lines(), publishing.Pace(None))
    except Exception as error:
        print(repr(error))
"""


def test_a_broker_that_stays_away_is_an_error_with_a_count(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", BROKER_GOES, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert found.stderr == ""
    assert re.search(r"ServiceError.*after the first [1-9][0-9,]* were acknowledged; publish again", found.stdout)
