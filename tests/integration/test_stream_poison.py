"""Poison of every kind among good events: all of it is found in the dead letters, nothing else is lost, and it can be sent again."""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path

import pytest

from infra import dead_letters, topics
from infra.settings import Settings
from streams.contracts.dead_letters import Reason
from tests.integration.stream_support import Worker, answered, await_answers, lists, publish, read, shop_events, until
from tests.streams.test_validate import FAULTS

pytestmark = pytest.mark.slow

FUTURE = 4_000_000_000_000
"""A timestamp in ms that is far ahead of any clock that this test runs under."""


def poison() -> list[tuple[bytes | None, Reason]]:
    """The faults of the validator's tests; what is wrong there only by their clock is not wrong here."""
    found = [(raw, reason) for raw, reason in FAULTS if reason is not Reason.TIMESTAMP_IN_FUTURE]
    late = json.dumps({"event_id": "f", "timestamp": FUTURE, "user_id": "u", "item_id": "i", "event_type": "view"})
    return [*found, (late.encode(), Reason.TIMESTAMP_IN_FUTURE)]


def letters(settings: Settings) -> Counter[tuple[str, bytes]]:
    found = [json.loads(record.value) for record in read(settings, settings.topics.dead_letters)]
    return Counter((letter["reason"], base64.b64decode(letter["raw"])) for letter in found)


def test_poison_of_every_reason_among_good_events(settings: Settings, tmp_path: Path) -> None:
    topics.create(settings, partitions=2)
    events = shop_events(200, seed=21)
    misplaced = shop_events(1, seed=22)[0] | {"event_id": "misplaced"}
    bad = [*poison(), (json.dumps(misplaced).encode(), Reason.WRONG_KEY)]
    assert {reason for _, reason in bad} == set(Reason)
    expected = Counter((reason.value, raw or b"") for raw, reason in bad)
    with Worker(settings, tmp_path).ready() as worker:
        for n, (raw, _) in enumerate(bad):
            publish(settings, events[5 * n : 5 * n + 5])
            with topics.producer(settings) as producer:
                producer.send(settings.topics.events, raw, key=b"nobody").get(10)
        publish(settings, events[5 * len(bad) :])
        await_answers(settings, events)
        until(lambda: letters(settings) == expected, 20, lambda: str(letters(settings) - expected))
        assert len(lists(settings)) == len(events)

        result = dead_letters.redrive(settings)
        assert result.mended >= 1
        until(lambda: "misplaced" in answered(settings), 20)
        # What is still wrong is buried again, but for what is too large: that is not sent.
        again = Counter(
            {letter: count for letter, count in expected.items() if letter[0] not in ("wrong_key", "too_large")}
        )
        until(lambda: letters(settings) == expected + again, 20, lambda: str(letters(settings) - expected - again))
        assert len(lists(settings)) == len(events) + 1
        assert worker.stop() == 0, worker.output
    assert "Traceback" not in worker.output
