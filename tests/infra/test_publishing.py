"""What goes out for a record of a log, and when."""

from __future__ import annotations

import contextlib
import json
import string
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import DefaultPartitioner

from infra import publishing
from infra.cli.parameters import Duration, Instant, Speed
from infra.cli.publish import command
from infra.publishing import Pace, Record, _Partitioner, record, user_key
from infra.settings import load
from online_models.errors import InputError
from streams.contracts.events import Event


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_events_are_due_by_event_time() -> None:
    clock = Clock()
    pace = Pace(100, clock, clock.sleep)
    for timestamp in (5_000, 5_000, 15_000, None, 10_000, 25_000):
        pace.wait(timestamp)
    assert clock.slept == pytest.approx([0.1, 0.1])


def test_time_that_work_took_is_not_waited_again() -> None:
    clock = Clock()
    pace = Pace(1, clock, clock.sleep)
    pace.wait(0)
    clock.now += 1.5
    pace.wait(1_000)
    pace.wait(2_000)
    assert clock.slept == pytest.approx([0.5])


def test_max_never_waits() -> None:
    clock = Clock()
    pace = Pace(None, clock, clock.sleep)
    pace.wait(0)
    pace.wait(10**12)
    assert clock.slept == []


def test_a_record_with_an_id_goes_out_unchanged() -> None:
    raw = b' {"event_id" : "e", "timestamp":1, "user_id":"\xc3\xbc", "more": [1e999999]} '
    assert record(raw, 3) == Record("ü".encode(), raw, 1)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{",
        b"\xff",
        b'{"user_id":5,"timestamp":1}',
        b'{"user_id":"","timestamp":"x"}',
        b"[" * 100_000,
    ],
)
def test_a_record_without_a_readable_user_goes_out_as_it_is_and_without_a_key(raw: bytes) -> None:
    assert record(raw, 3) == Record(None, raw, None)
    assert user_key(raw) is None


@pytest.mark.parametrize(
    "raw", [b'{"user_id":"u"}', b'{"user_id":"u","timestamp":"now"}', b'{"user_id":"u","timestamp":1e30}']
)
def test_a_record_without_a_readable_time_keeps_its_key(raw: bytes) -> None:
    assert record(raw, 3) == Record(b"u", raw, None)


@given(
    st.fixed_dictionaries(
        {
            "timestamp": st.integers(0, 2**50),
            "user_id": st.text(string.printable, min_size=1),
            "item_id": st.just("i"),
            "event_type": st.just("view"),
        },
        optional={
            "value": st.floats(allow_nan=False, allow_infinity=False),
            "context": st.just({"event_id": "x"}),
            "event_id": st.just(""),
        },
    ),
    st.sampled_from(["", " ", "\t "]),
    st.booleans(),
)
def test_an_absent_id_becomes_the_number_and_nothing_else_changes(
    event: dict[str, Any], blank: str, spaced: bool
) -> None:
    raw = (blank + json.dumps(event, separators=(", ", " : ") if spaced else (",", ":"))).encode()
    out = record(raw, 12)
    assert msgspec.json.decode(out.value) == event | {"event_id": "12"}
    assert msgspec.json.decode(out.value, type=Event).event_id == "12"
    assert out.key == event["user_id"].encode()


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=30))
def test_the_remembered_partition_is_the_default_one(keys: list[bytes]) -> None:
    class Cluster:
        def topics(self) -> list[str]:
            return ["t"]

        def partitions_for_topic(self, topic: str) -> set[int]:
            return set(range(7))

        available_partitions_for_topic = partitions_for_topic

    ours, default = _Partitioner(), DefaultPartitioner()
    for key in keys * 2:
        given = ("t", key, key, b"", b"", Cluster())
        assert ours.partition(*given) == default.partition(*given)
    assert ours.partition("t", None, None, b"", b"", Cluster()) in range(7)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Instant(), "2020-01-01T00:00:00Z", 1_577_836_800_000),
        (Instant(), "2020-01-01T01:00:00.5+01:00", 1_577_836_800_500),
        (Duration(), "10s", 10.0),
        (Duration(), "3", 3.0),
        (Duration(), "1.5m", 90.0),
        (Speed(), "0.5x", 0.5),
        (Speed(), "10", 10.0),
        (Instant(), "1577836800", None),
        (Instant(), "yesterday", None),
        (Duration(), "10 s", None),
        (Duration(), "-1s", None),
        (Speed(), "0x", None),
        (Speed(), "fast", None),
        (Speed(), "-1", None),
    ],
)
def test_parameters(kind: Any, text: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(Exception, match="expected a"):
            kind.convert(text, None, None)
    else:
        assert kind.convert(text, None, None) == value


def test_nothing_to_publish_is_wrong_usage() -> None:
    assert CliRunner().invoke(command, []).exit_code == 2
    assert CliRunner().invoke(command, ["log", "--speed", "x"]).exit_code == 2


DEEP = b"[" * 2_000 + b"]" * 2_000


def test_no_nesting_is_too_deep_to_be_published() -> None:
    """Just below what can be read, giving the event an id may be too deep."""
    nested = (b"[" * depth + b"]" * depth for depth in range(900, 1_010))
    found = [record(b'{"user_id":"u","timestamp":1,"event_id":"","context":%s}' % each, 1).timestamp for each in nested]
    assert (found[0], found[-1]) == (1, None)


def test_a_deeply_nested_item_is_refused_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []

    @contextlib.contextmanager
    def nowhere(*_: object) -> Iterator[Any]:
        yield SimpleNamespace(send=lambda key, value: sent.append(key))

    monkeypatch.setattr(publishing, "publisher", nowhere)
    lines = [b'{"item_id":"a"}', b'{"item_id":"b","attributes":{"x":%s}}' % DEEP]
    with pytest.raises(InputError, match=r"expected one item a line, got .* in record 2 of items\.jsonl"):
        publishing.publish_catalogue(load(environ={}), lines, "items.jsonl")
    assert sent == [b"a"]
