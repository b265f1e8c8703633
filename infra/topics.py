"""The topics on the broker: make them, look at them; and clients whose failures come in words.

The clients are kafka-python's: for commands that come and go. The worker has its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from infra.local import kafka_answers
from infra.settings import Settings
from online_models.errors import ServiceError

CONNECT_TIMEOUT_S = 5.0
FETCH_WAIT_MS = 20
"""The embedded broker sees new records only after half of this; Apache Kafka answers at once."""

PRODUCER: dict[str, Any] = {"acks": "all", "delivery_timeout_ms": 120_000, "reconnect_backoff_max_ms": 1_000}
"""Every producer's options: a record is tried for two minutes, so that a broker may be restarted meanwhile."""

_READY_TIMEOUT_S = 15.0
_GRACE_S = 5.0
_EXISTS = 36
_SHOWN_CONFIGS = ("cleanup.policy", "retention.ms", "compression.type")


class TopicState(msgspec.Struct, frozen=True):
    """A topic after `create`: ``created`` now or found, its partitions, and what is not as asked for."""

    name: str
    created: bool
    partitions: int
    differences: list[str]


class PartitionState(msgspec.Struct, frozen=True):
    """Offsets of the first record and after the last one, and how many records each group has still to read."""

    partition: int
    start: int
    end: int
    lag: dict[str, int]


class TopicDescription(msgspec.Struct, frozen=True):
    """A topic as it stands on the broker; no partitions: it is not there."""

    name: str
    partitions: list[PartitionState]
    config: dict[str, str]


@contextlib.contextmanager
def broker_errors(settings: Settings) -> Iterator[None]:
    """Turn what kafka-python raises into a ServiceError that says what to do."""
    try:
        yield
    except (KafkaTimeoutError, KafkaConnectionError) as error:
        raise _silent(settings, f"({error})") from error
    except KafkaError as error:
        raise ServiceError(f"the broker at {settings.broker} to comply", str(error), "see the broker's log") from error


def _silent(settings: Settings, how: str) -> ServiceError:
    remedy = "start one, or set --broker (HEADRACE_BROKER)"
    return ServiceError(f"a Kafka broker at {settings.broker}", f"no answer {how}", remedy)


def await_broker(settings: Settings) -> None:
    """Return when a broker answers. (kafka-python would wait longer, and leaks its sockets when it gives up.)"""
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while not any(kafka_answers(address) for address in settings.brokers):
        if time.monotonic() > deadline:
            raise _silent(settings, f"within {CONNECT_TIMEOUT_S:g} s")
        time.sleep(0.1)


@contextlib.contextmanager
def _client(settings: Settings, kind: Any, options: dict[str, Any]) -> Iterator[Any]:
    with broker_errors(settings):
        await_broker(settings)
        client = kind(bootstrap_servers=settings.brokers, client_id="headrace", **options)
        try:
            yield client
        finally:
            _close(client)


def _close(client: Any) -> None:
    """Close, without a word that would hide the error that brought us here."""
    if not isinstance(client, KafkaProducer):
        with contextlib.suppress(KafkaError):
            client.close()
        return
    try:
        client.close(timeout=1)  # without a timeout it would wait for its broker for ever
    except KafkaError:
        # It stays open while a record has no fate, and would say so again when the interpreter ends.
        client._sender.force_close()
        with contextlib.suppress(KafkaError):
            client.close(timeout=1)


def admin(settings: Settings) -> contextlib.AbstractContextManager[Any]:
    """A KafkaAdminClient, closed at the end."""
    return _client(settings, KafkaAdminClient, {})


def consumer(settings: Settings, **options: Any) -> contextlib.AbstractContextManager[Any]:
    """A KafkaConsumer without a group, closed at the end; ``options`` are kafka-python's."""
    defaults = {
        "enable_auto_commit": False,
        "fetch_max_wait_ms": FETCH_WAIT_MS,
        "auto_offset_reset": "earliest",
        "allow_auto_create_topics": False,
    }
    return _client(settings, KafkaConsumer, defaults | options)


@contextlib.contextmanager
def followed(settings: Settings, take: Callable[[list[Any]], None], *topics: str) -> Iterator[None]:
    """Call ``take`` with the records of ``topics``, from their first on, by a thread of its own, until the end of the block.

    Some 0.1 s late, for the broker and this process have other things to do.
    """
    stop = threading.Event()

    def run() -> None:
        with consumer(settings, fetch_min_bytes=65_536, fetch_max_wait_ms=100, check_crcs=False) as client:
            client.assign(require(settings, *topics))
            client.seek_to_beginning()
            while not stop.is_set():
                for records in client.poll(timeout_ms=100).values():
                    take(records)

    thread = threading.Thread(target=run, daemon=True, name=f"follow {', '.join(topics)}")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)


def producer(settings: Settings, **options: Any) -> contextlib.AbstractContextManager[Any]:
    """A KafkaProducer (acks=all, idempotent), closed at the end: see to it before that all is `acknowledged`."""
    return _client(settings, KafkaProducer, PRODUCER | options)


def acknowledged(sent: Any) -> None:
    """Return when the broker has the record that ``sent`` (what ``send`` of a `producer` gave) stands for.

    Raises KafkaError if it was refused or its time ran out. ``flush`` would wait for ever: a producer that has asked for
    a new id, which it does after an expired record, lets nothing expire until it has one.
    """
    sent.get(timeout=PRODUCER["delivery_timeout_ms"] / 1000 + _GRACE_S)


def partitions_of(client: Any, topics: Iterable[str]) -> dict[str, list[int]]:
    """The partitions of each topic that exists (``client`` is of `admin`). Asking does not create a topic."""
    return {
        topic["name"]: sorted(partition["partition_index"] for partition in topic["partitions"])
        for topic in client.describe_topics(list(topics))
        if topic["error_code"] == 0
    }


def require(settings: Settings, *topics: str) -> list[TopicPartition]:
    """All partitions of the topics. Raises ServiceError when one does not exist."""
    with admin(settings) as client:
        found = partitions_of(client, topics)
    for topic in topics:
        if topic not in found:
            remedy = "run `headrace topics create`, or check --topic-prefix"
            raise ServiceError(f"topic {topic} at {settings.broker}", "none of that name", remedy)
    return [TopicPartition(topic, partition) for topic in topics for partition in found[topic]]


def end_offsets(settings: Settings, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """The offset after the last record of each partition.

    The embedded broker lists the offset after the *first* record of the last batch instead, so the high watermark that
    comes with a fetch is asked as well.
    """
    partitions = list(partitions)
    if not partitions:
        return {}
    deadline = time.monotonic() + _READY_TIMEOUT_S
    with consumer(settings) as client:
        client.assign(partitions)
        listed: dict[TopicPartition, int] = client.end_offsets(partitions)
        for partition, offset in listed.items():
            client.seek(partition, offset)
        while any(client.highwater(partition) is None for partition in partitions):
            if time.monotonic() > deadline:
                raise KafkaTimeoutError("no high watermark")
            client.poll(timeout_ms=100)
        return {partition: max(offset, client.highwater(partition)) for partition, offset in listed.items()}


def create(settings: Settings, partitions: int) -> list[TopicState]:
    """Make the topics that do not exist, with ``partitions`` each, and wait until all can be used.

    Those that exist are left as they are; where they are not as asked for, ``differences`` says so.
    """
    wanted = settings.topics.configs()
    with admin(settings) as client:
        existed = set(partitions_of(client, wanted))
        new = {
            name: {"num_partitions": partitions, "configs": config}
            for name, config in wanted.items()
            if name not in existed
        }
        for topic in client.create_topics(new, raise_errors=False)["topics"] if new else []:
            if topic["error_code"] == _EXISTS:
                existed.add(topic["name"])
            elif topic["error_code"]:
                found = topic["error_message"] or f"error {topic['error_code']}"
                raise ServiceError(f"the broker to create topic {topic['name']}", found, "see the broker's log")
        client.wait_for_topics(list(wanted), timeout_ms=int(_READY_TIMEOUT_S * 1000))
        counts = {name: len(found) for name, found in partitions_of(client, wanted).items()}
        configs = _configs(client, wanted)
    states = []
    for name, config in wanted.items():
        differences = [
            f"{key} is {configs[name][key]}, not {value}"
            for key, value in config.items()
            if configs[name].get(key, value) != value
        ]
        if counts[name] != partitions:
            differences.insert(0, f"{counts[name]} partitions, not {partitions}")
        states.append(TopicState(name, name not in existed, counts[name], differences))
    return states


def describe(settings: Settings) -> list[TopicDescription]:
    """All topics: offsets, settings of the broker, and the lag of each group that has committed offsets."""
    names = list(settings.topics.configs())
    with admin(settings) as client:
        found = partitions_of(client, names)
        configs = _configs(client, found)
        groups = sorted(group["group_id"] for group in client.list_groups())
        committed = {group: client.list_group_offsets([group]).get(group, {}) for group in groups}
    parts = [TopicPartition(name, number) for name in found for number in found[name]]
    ends = end_offsets(settings, parts)
    with consumer(settings) as reader:
        starts = reader.beginning_offsets(parts) if parts else {}
    return [
        TopicDescription(
            name,
            [
                PartitionState(
                    part.partition,
                    starts[part],
                    ends[part],
                    {
                        group: max(ends[part] - offsets[part].offset, 0)
                        for group, offsets in committed.items()
                        if part in offsets and offsets[part].offset >= 0
                    },
                )
                for part in parts
                if part.topic == name
            ],
            configs.get(name, {}),
        )
        for name in names
    ]


def _configs(client: Any, topics: Iterable[str]) -> dict[str, dict[str, str]]:
    """The settings that matter, by topic; what the broker does not tell is left out."""
    wanted = [ConfigResource(ConfigResourceType.TOPIC, topic, None) for topic in topics]
    answer = client.describe_configs(wanted, config_filter="all").get("topic", {}) if wanted else {}
    return {
        topic: {key: str(entries[key]["value"]) for key in _SHOWN_CONFIGS if key in entries}
        for topic, entries in answer.items()
    }
