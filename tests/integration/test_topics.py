"""Topics: made once, waited for, and described as they are, on either broker."""

from __future__ import annotations

import time

import msgspec
import pytest
from click.testing import CliRunner
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition

from infra import topics
from infra.cli.topics import command
from infra.settings import Settings, load
from online_models.errors import ServiceError


def flags(settings: Settings) -> list[str]:
    return ["--broker", settings.broker, "--topic-prefix", settings.topic_prefix]


def send(settings: Settings, topic: str, batches: list[int], partition: int = 0) -> None:
    with topics.producer(settings, linger_ms=200) as producer:
        for batch in batches:
            for number in range(batch):
                producer.send(topic, b"%d" % number, partition=partition)
            producer.flush()


def test_create_is_idempotent_and_says_what_it_did(settings: Settings) -> None:
    first = CliRunner().invoke(command, ["create", "--partitions", "3", *flags(settings)], catch_exceptions=False)
    assert first.exit_code == 0
    names = list(settings.topics.configs())
    assert first.stdout.splitlines() == [f"{name}: created, 3 partitions" for name in names]
    assert first.stderr == ""
    second = CliRunner().invoke(command, ["create", "--partitions", "3", *flags(settings)], catch_exceptions=False)
    assert second.stdout.splitlines() == [f"{name}: exists, 3 partitions" for name in names]
    assert second.stderr == ""


def test_what_differs_is_reported_and_left(settings: Settings) -> None:
    with topics.admin(settings) as client:
        client.create_topics({settings.topics.events: {"num_partitions": 2}})
        client.create_topics(
            {settings.topics.interactions: {"num_partitions": 1, "configs": {"retention.ms": "60000"}}}
        )
    result = CliRunner().invoke(command, ["create", "--partitions", "1", *flags(settings)], catch_exceptions=False)
    assert result.exit_code == 0
    assert f"{settings.topics.events}: exists, 2 partitions" in result.stdout
    assert f"{settings.topics.items}: created, 1 partition\n" in result.stdout
    assert f"{settings.topics.events} was left as it is: 2 partitions, not 1" in result.stderr
    assert f"{settings.topics.interactions} was left as it is: retention.ms is 60000, not -1" in result.stderr


def test_new_topics_can_be_used_at_once(settings: Settings) -> None:
    topics.create(settings, 4)
    for name in settings.topics.configs():
        send(settings, name, [1], partition=3)
    assert topics.end_offsets(settings, topics.require(settings, settings.topics.events)) == {
        TopicPartition(settings.topics.events, number): int(number == 3) for number in range(4)
    }


def test_what_the_broker_compresses_is_read_again(settings: Settings) -> None:
    topics.create(settings, 1)
    send(settings, settings.topics.interactions, [2_000])
    with topics.consumer(settings) as consumer:
        consumer.assign(topics.require(settings, settings.topics.interactions))
        consumer.seek_to_beginning()
        assert [next(consumer).value for _ in range(2_000)] == [b"%d" % number for number in range(2_000)]


@pytest.mark.parametrize("batches", [[], [1], [7], [3, 500], [500, 1], [1] * 20])
def test_the_end_is_after_the_last_record_however_it_was_batched(settings: Settings, batches: list[int]) -> None:
    topics.create(settings, 1)
    send(settings, settings.topics.events, batches)
    partition = TopicPartition(settings.topics.events, 0)
    started = time.monotonic()
    assert topics.end_offsets(settings, [partition]) == {partition: sum(batches)}
    assert time.monotonic() - started < 3


def test_describe_shows_offsets_settings_and_lag(settings: Settings) -> None:
    topics.create(settings, 2)
    send(settings, settings.topics.events, [10])
    group = f"{settings.topic_prefix}readers"
    consumer = KafkaConsumer(bootstrap_servers=settings.brokers, group_id=group, enable_auto_commit=False)
    partition = TopicPartition(settings.topics.events, 0)
    consumer.assign([partition])
    consumer.commit({partition: OffsetAndMetadata(4, "", -1)})
    consumer.close()
    result = CliRunner().invoke(command, ["describe", "--json", *flags(settings)], catch_exceptions=False)
    described = {
        topic.name: topic
        for topic in (msgspec.json.decode(line, type=topics.TopicDescription) for line in result.stdout.splitlines())
    }
    assert list(described) == list(settings.topics.configs())
    events = described[settings.topics.events]
    assert events.partitions == [topics.PartitionState(0, 0, 10, {group: 6}), topics.PartitionState(1, 0, 0, {})]
    assert described[settings.topics.interactions].config["retention.ms"] == "-1"
    assert described[settings.topics.interactions].config["compression.type"] == "zstd"
    assert described[settings.topics.models].config["cleanup.policy"] == "compact"
    text = CliRunner().invoke(command, ["describe", *flags(settings)], catch_exceptions=False).stdout
    assert f"{settings.topics.events}: 2 partitions, 10 records" in text
    assert f"  0: offsets 0 to 10  {group}: 6 behind\n" in text


def test_describe_and_require_say_what_is_missing_and_create_nothing(settings: Settings) -> None:
    result = CliRunner().invoke(command, ["describe", *flags(settings)], catch_exceptions=False)
    assert result.stdout.count("missing (run `headrace topics create`)") == len(settings.topics.configs())
    with pytest.raises(ServiceError, match="headrace topics create"):
        topics.require(settings, settings.topics.events)
    with topics.admin(settings) as client:
        assert not [name for name in client.list_topics() if name.startswith(settings.topic_prefix)]


def test_a_broker_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "CONNECT_TIMEOUT_S", 0.3)
    settings = load({"broker": "127.0.0.1:1"}, environ={})
    with pytest.raises(ServiceError, match=r"Kafka broker at 127\.0\.0\.1:1.*--broker"):
        topics.create(settings, 1)
    with pytest.raises(ServiceError, match="--broker"), topics.producer(settings):
        pass


def fail_after_sending(settings: Settings) -> None:
    with topics.producer(settings, linger_ms=60_000) as producer:
        producer.send(f"{settings.topic_prefix}x", b"v")
        raise ZeroDivisionError


def test_closing_a_producer_does_not_hide_the_error(settings: Settings) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_after_sending(settings)
