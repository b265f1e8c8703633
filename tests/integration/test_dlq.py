"""``headrace dlq``: letters are listed as they are and sent again once, with the right key."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import redis
from click.testing import CliRunner

from infra import dead_letters, topics
from infra.cli.dlq import command
from infra.settings import Settings, load
from online_models.errors import ServiceError
from streams.contracts.dead_letters import DeadLetter, Reason

NOW = 1_400_000_000_000
GOOD = b'{"event_id":"e","timestamp":1,"user_id":"ada","item_id":"i","event_type":"view"}'


def letter(number: int, reason: Reason, raw: bytes, key: bytes | None = None) -> DeadLetter:
    return DeadLetter(
        raw=raw,
        key=key,
        topic="events",
        partition=number % 3,
        offset=number,
        reason=reason,
        message="m",
        time=NOW + number,
    )


LETTERS = [
    letter(0, Reason.WRONG_KEY, GOOD, b"bob"),
    letter(1, Reason.NOT_JSON, b"nonsense", b"bob"),
    letter(2, Reason.NOT_UTF8, b"\xff\xfe", None),
    letter(3, Reason.WRONG_KEY, GOOD.replace(b"ada", "ü".encode()), b"bob"),
    letter(4, Reason.EMPTY, b"", None),
    letter(5, Reason.TOO_LARGE, b"x" * 70_000, b"bob"),
]


def bury(settings: Settings, letters: list[DeadLetter]) -> None:
    with topics.producer(settings) as producer:
        for each in letters:
            producer.send(settings.topics.dead_letters, msgspec.json.encode(each), key=b"%d" % each.offset)
        producer.flush()


def sent(settings: Settings) -> list[tuple[bytes | None, bytes]]:
    parts = topics.require(settings, settings.topics.events)
    ends = topics.end_offsets(settings, parts)
    found: list[tuple[bytes | None, bytes]] = []
    with topics.consumer(settings) as consumer:
        consumer.assign(parts)
        while any(consumer.position(part) < ends[part] for part in parts):
            for records in consumer.poll(500).values():
                found += [(record.key, record.value) for record in records]
    return found


def dlq(settings: Settings, *arguments: str) -> Any:
    shared = ["--broker", settings.broker, "--redis", settings.redis, "--topic-prefix", settings.topic_prefix]
    return CliRunner().invoke(command, [*arguments, *shared], catch_exceptions=False)


@pytest.fixture
def buried(settings: Settings) -> Settings:
    topics.create(settings, 2)
    bury(settings, LETTERS)
    return settings


def test_list_gives_the_records_as_they_are(buried: Settings) -> None:
    lines = dlq(buried, "list", "--json").stdout.splitlines()
    assert sorted(json.loads(line)["offset"] for line in lines) == list(range(6))
    assert {msgspec.json.decode(line, type=DeadLetter).raw for line in lines} == {each.raw for each in LETTERS}
    text = dlq(buried, "list", "--reason", "not_utf8").stdout
    assert text == "2014-05-13 16:53:20Z events 2/2 not_utf8: m | \ufffd\ufffd\n"
    assert len(dlq(buried, "list", "--limit", "2").stdout.splitlines()) == 2
    since = dlq(buried, "list", "--json", "--since", str(NOW + 4)).stdout.splitlines()
    assert sorted(json.loads(line)["offset"] for line in since) == [4, 5]


def test_redrive_mends_the_key_and_doubles_nothing(buried: Settings) -> None:
    dry = dlq(buried, "redrive", "--dry-run").stdout
    assert dry.splitlines()[-1] == "5 would be sent again (2 with another key, 1 are too large)"
    assert sent(buried) == []
    first = dlq(buried, "redrive").stdout
    assert first.splitlines() == [
        "empty: 1",
        "not_json: 1",
        "not_utf8: 1",
        "wrong_key: 2",
        "5 sent again (2 with another key, 1 are too large)",
    ]
    expected = [
        (b"ada", GOOD),
        (b"bob", b"nonsense"),
        (None, b"\xff\xfe"),
        ("ü".encode(), GOOD.replace(b"ada", "ü".encode())),
        (None, b""),
    ]
    assert sorted(sent(buried), key=repr) == sorted(expected, key=repr)
    assert dlq(buried, "redrive").stdout == "0 sent again (0 with another key, 5 were sent before, 1 are too large)\n"
    assert len(sent(buried)) == 5


def test_list_marks_what_was_sent_again(buried: Settings) -> None:
    dlq(buried, "redrive", "--reason", "not_json")
    lines = dlq(buried, "list").stdout.splitlines()
    assert {line.split(":")[-2].split()[-1] for line in lines if line.endswith(" (sent again)")} == {"not_json"}
    assert len(lines) == 6
    assert "sent again" not in dlq(buried, "list", "--json").stdout
    alone = msgspec.structs.replace(buried, redis="redis://127.0.0.1:1/0")
    result = dlq(alone, "list")
    assert len(result.stdout.splitlines()) == 6
    assert "(sent again)" not in result.stdout
    assert result.stderr.startswith("letters that were sent again are not marked: expected the Redis")


def test_filters_leave_the_rest_for_later(buried: Settings) -> None:
    assert dead_letters.redrive(buried, ["wrong_key"], since=NOW + 1).sent == {"wrong_key": 1}
    assert dead_letters.redrive(buried, ["wrong_key"]).sent == {"wrong_key": 1}
    bury(buried, [letter(9, Reason.NOT_JSON, b"later"), LETTERS[0]])
    result = dead_letters.redrive(buried)
    assert result.sent == {"not_json": 2, "not_utf8": 1, "empty": 1}
    assert result.done_before == 2, "a copy of a letter is the same letter"
    assert len(sent(buried)) == 6


def test_a_copy_in_the_same_run_is_sent_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "CHUNK", 3)
    topics.create(settings, 1)
    bury(settings, [LETTERS[0], LETTERS[1], LETTERS[1], LETTERS[3], LETTERS[0], LETTERS[4]])
    assert sum(dead_letters.redrive(settings).sent.values()) == 4
    assert len(sent(settings)) == 4


def test_order_of_coming_is_kept(settings: Settings) -> None:
    topics.create(settings, 3)
    raws = [GOOD.replace(b'"e"', b'"e%d"' % number) for number in range(200)]
    bury(settings, [letter(number, Reason.WRONG_KEY, raw) for number, raw in enumerate(raws)])
    dead_letters.redrive(settings)
    assert [value for _, value in sent(settings)] == raws


def test_what_is_no_letter_is_passed_over(settings: Settings) -> None:
    topics.create(settings, 1)
    with topics.producer(settings) as producer:
        producer.send(settings.topics.dead_letters, b"garbage")
        producer.flush()
    assert dlq(settings, "list").stdout == ""
    assert dlq(settings, "redrive").stdout == "0 sent again (0 with another key)\n"


def test_marks_older_than_any_letter_are_forgotten(buried: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with redis.Redis.from_url(buried.redis) as client:
        name = f"{buried.topic_prefix}redriven"
        client.zadd(name, {"0/1/old": NOW - 10**8})
        dead_letters.redrive(buried)
        assert client.zcard(name) == 5
        assert client.zscore(name, "0/1/old") is None


def test_without_redis_nothing_is_sent_and_no_password_shown(embedded_broker: str, topic_prefix: str) -> None:
    flags = {"broker": embedded_broker, "redis": "redis://:s3cret@127.0.0.1:1/0", "topic_prefix": topic_prefix}
    settings = load(flags, environ={})
    topics.create(settings, 1)
    bury(settings, LETTERS)
    with pytest.raises(ServiceError, match="Redis") as caught:
        dead_letters.redrive(settings)
    assert "s3cret" not in str(caught.value)
    assert sent(settings) == []


def test_an_unknown_reason_is_wrong_usage(settings: Settings) -> None:
    assert dlq(settings, "list", "--reason", "bad").exit_code == 2
