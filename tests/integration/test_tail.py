"""``headrace tail``: everything that is there or that comes, then the end; no group is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from infra import topics
from infra.cli.tail import command, follow
from infra.local import start_broker
from infra.settings import Settings, load
from online_models.errors import ServiceError
from streams.contracts.recommendations import ModelVersion, Recommendation


def recommendation(user: str, number: int) -> bytes:
    return msgspec.json.encode(
        Recommendation(
            request_id=f"r{number}",
            user_id=user,
            timestamp=1_400_000_000_000 + number,
            caused_by=None,
            items=[],
            model=ModelVersion("m", "1"),
        )
    )


def send(settings: Settings, topic: str, records: list[tuple[bytes | None, bytes | None]]) -> None:
    with topics.producer(settings) as producer:
        for key, value in records:
            producer.send(topic, value, key=key)
        producer.flush()


def tail(settings: Settings, *arguments: str) -> Any:
    shared = ["--broker", settings.broker, "--topic-prefix", settings.topic_prefix]
    return CliRunner().invoke(command, [*arguments, *shared], catch_exceptions=False)


def test_from_start_with_json_gives_every_record_and_ends(settings: Settings) -> None:
    topics.create(settings, 3)
    sent = [(f"u{number % 20}".encode(), recommendation(f"u{number % 20}", number)) for number in range(3000)]
    send(settings, settings.topics.recommendations, list(sent))
    began = time.monotonic()
    result = tail(settings, "recommendations", "--from-start", "--idle-exit", "1s", "--json")
    assert 1 <= time.monotonic() - began < 8
    assert result.exit_code == 0
    assert sorted(result.stdout_bytes.splitlines()) == sorted(value for _, value in sent)
    assert result.stderr == ""
    with topics.admin(settings) as client:
        assert not [group for group in client.list_groups() if settings.topic_prefix in group["group_id"]]


def test_user_and_limit(settings: Settings) -> None:
    topics.create(settings, 2)
    send(
        settings, settings.topics.recommendations, [(b"a", recommendation("a", 1)), (b"b", recommendation("b", 2))] * 5
    )
    result = tail(settings, "recommendations", "--from-start", "--user", "b", "--limit", "3")
    assert [line.split()[2] for line in result.stdout.splitlines()] == ["b"] * 3
    result = tail(settings, "recommendations", "--from-start", "--user", "nobody", "--idle-exit", "500ms")
    assert (result.exit_code, result.stdout) == (0, "")


def test_the_user_of_an_event_without_a_key_is_read_from_it(settings: Settings) -> None:
    topics.create(settings, 1)
    send(
        settings, settings.topics.events, [(None, b'{"user_id":"a"}'), (None, b"nonsense"), (b"a", b'{"user_id":"a"}')]
    )
    result = tail(settings, "events", "--from-start", "--user", "a", "--json", "--idle-exit", "0.5")
    assert result.stdout.splitlines() == ['{"user_id":"a"}'] * 2


def test_without_from_start_only_what_comes_is_shown(settings: Settings) -> None:
    topics.create(settings, 1)
    send(settings, settings.topics.recommendations, [(b"a", recommendation("a", number)) for number in range(500)])
    program = [sys.executable, "-c", "from infra.cli import main; main()", "tail", "recommendations", "--json"]
    shared = ["--broker", settings.broker, "--topic-prefix", settings.topic_prefix, "--idle-exit", "2500ms"]
    with subprocess.Popen([*program, *shared], stdout=subprocess.PIPE, text=True) as tailing:
        assert tailing.stdout
        with topics.producer(settings) as producer:
            for number in range(1000, 1100):
                producer.send(settings.topics.recommendations, recommendation("a", number), key=b"a")
                time.sleep(0.04)
            producer.flush()
        seen = [json.loads(line)["request_id"] for line in tailing.stdout]
    assert tailing.returncode == 0
    assert seen[-1] == "r1099"
    assert seen == [f"r{number}" for number in range(1100 - len(seen), 1100)]
    assert len(seen) <= 100


def test_a_removed_item_is_a_record_too(settings: Settings) -> None:
    topics.create(settings, 1)
    send(settings, settings.topics.items, [(b"i", b'{"item_id":"i"}'), (b"i", None)])
    result = tail(settings, "items", "--from-start", "--idle-exit", "0.5")
    assert result.stdout.splitlines() == ["i", "i removed"]


def test_usage(settings: Settings) -> None:
    assert tail(settings, "nothing").exit_code == 2
    assert tail(settings, "items", "--user", "a").exit_code == 2
    with pytest.raises(ServiceError, match="headrace topics create"):
        tail(settings, "events")


BROKER_GOES = """
import sys
from pathlib import Path
from infra import topics
from infra.cli.tail import follow
from infra.local import start_broker
from infra.settings import load

with start_broker(Path(sys.argv[1])) as service:
    settings = load({"broker": service.address}, environ={})
    topics.create(settings, 1)
    topics.CONNECT_TIMEOUT_S = 0.5
    with topics.producer(settings) as producer:
        producer.send("events", b"1")
        producer.flush()
    try:
        for _ in follow(settings, "events", True, 1.0):
            service.stop()
    except Exception as error:
        print(repr(error))
"""


def test_silence_of_a_broker_that_has_gone_is_an_error(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", BROKER_GOES, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert found.stderr == ""
    assert "ServiceError('expected a Kafka broker at" in found.stdout


def test_the_clock_can_be_injected(tmp_path: Path) -> None:
    with start_broker(tmp_path) as service:
        settings = load({"broker": service.address}, environ={})
        topics.create(settings, 1)
        ticks = iter(range(0, 1000, 10))
        began = time.monotonic()
        assert list(follow(settings, "events", True, 30.0, clock=lambda: float(next(ticks)))) == []
        assert time.monotonic() - began < 10
