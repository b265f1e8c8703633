"""Log lines are read by more people than users' data may be: no user's id stands in one."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterable
from typing import Any

import pytest

from streams.app import rim as rim_module
from streams.app.backlog import Arrival
from streams.app.publisher import Outgoing
from streams.app.rim import Rim
from streams.contracts.topics import Topics
from streams.metrics import WorkerMetrics
from streams.pipeline import Pipeline
from streams.stores import MemoryStore

USER = "ada-lovelace"
GOOD = {"event_id": "e", "timestamp": 1_700_000_000_000, "user_id": USER, "item_id": "i", "event_type": "view"}
MESSAGES: list[bytes] = [
    *(
        json.dumps(GOOD | change).encode()
        for change in (
            {"v": 2}, {"timestamp": 1}, {"timestamp": 1 << 60}, {"timestamp": USER}, {"value": USER}, {"value": float("nan")},
            {"user_id": [USER]}, {"user_id": {USER: 1}}, {"user_id": USER * 50}, {"item_id": USER * 50}, {"item_id": ""},
            {"context": {USER: "x" * 5_000}}, {"context": USER}, {"context": {"u": USER * 6_000}}, {"event_type": USER * 9},
        )
    ),
    json.dumps(GOOD).encode()[:-1],
    USER.encode(),
    USER.encode() + b"\xff",
    f'"{USER}"'.encode(),
    b"{" + f'"{USER}": nan'.encode() + b"}",
    json.dumps(GOOD).encode(),
]  # fmt: skip
"""Every one is refused: the last one for its key alone."""


class Nowhere(MemoryStore):
    """A store, and a publisher that keeps dead letters."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[Any] = []

    async def publish(self, records: Iterable[Outgoing]) -> None:
        self.letters += [json.loads(r.value) for r in records if r.topic == "events.dlq"]


KEYS = (None, f"{USER}-2".encode(), USER.encode())


@pytest.mark.parametrize(("number", "key"), [*itertools.product(range(len(MESSAGES)), KEYS)][:-1])
async def test_a_refused_record_is_logged_without_a_users_id(
    number: int, key: bytes | None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(rim_module, "REPORT_EVERY_S", 0.0)
    around = Nowhere()
    rim = Rim(PIPELINE, around, around, Topics(), WorkerMetrics(), ttl_s=60)  # type: ignore[arg-type]
    rim.begin({0: 0})
    rim.partitions = 2
    await rim.run([Arrival(0, 0, key, MESSAGES[number], 0.0)])
    [letter] = around.letters
    assert "refused: expected" in caplog.text
    assert "ada" not in caplog.text
    assert "ada" not in letter["message"]


PIPELINE = Pipeline(stored=True)
