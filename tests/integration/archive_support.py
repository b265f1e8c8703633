"""Events for an archive, what the topic should have left in it, and what is there."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from infra import archive, topics
from infra.settings import Settings
from streams.contracts.events import Event
from streams.validate import validate, wrong_key
from tests.integration.stream_support import read

DAY_MS = 86_400_000


def events(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Events over four days, a millisecond or more apart, a few hours late now and then."""
    rng = random.Random(seed)
    times = [1_700_000_000_000 + seed * 10**9 + n * 4 * DAY_MS // count for n in range(count)]
    return [
        {
            "event_id": f"{seed}-{n}",
            "timestamp": times[n] - rng.choice([0, 0, 0, 7_200_001]),
            "user_id": f"u{rng.randrange(30)}",
            "item_id": f"i{rng.randrange(50)}",
            "event_type": rng.choice(["view", "click", "purchase", "impression"]),
            "context": {"page": n},
        }
        for n in range(count)
    ]


def rubbish(settings: Settings, count: int) -> None:
    """Records that are no events, among them good ones with the wrong key."""
    good = json.dumps(events(1)[0]).encode()
    with topics.producer(settings) as producer:
        for n in range(count):
            producer.send(settings.topics.events, [b"nonsense", None, good][n % 3], key=b"somebody%d" % n)
        producer.flush()


def expected(settings: Settings) -> dict[tuple[int, int], str]:
    """(partition, offset) → event id of the valid events that the topic holds."""
    records = read(settings, settings.topics.events)
    partitions = len(topics.require(settings, settings.topics.events))
    found = ((record, validate(record.value, None)) for record in records)
    return {
        (record.partition, record.offset): event.event_id
        for record, event in found
        if isinstance(event, Event) and not wrong_key(event, record.key, partitions)
    }


def archived(folder: Path) -> dict[tuple[int, int], str]:
    """The same of the archive; fails where something is there twice."""
    found: dict[tuple[int, int], str] = {}
    for path in folder.rglob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        partition = int(table.schema.metadata[b"headrace.partition"])
        for offset, event in zip(table["offset"].to_pylist(), table["event_id"].to_pylist(), strict=True):
            assert (partition, offset) not in found
            found[partition, offset] = event
    return found


def folder_of(settings: Settings) -> Path:
    return archive.default_folder(settings)
