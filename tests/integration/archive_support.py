"""The archive's process, events for it, what they should have left, and what is there."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from infra import archive, topics
from infra.settings import Settings
from streams.contracts.events import Event
from streams.validate import validate, wrong_key
from tests.integration.stream_support import START, read

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


class Archiver:
    """``headrace archive`` in a process of its own; ``before`` is Python that runs in it first."""

    def __init__(self, settings: Settings, *arguments: str, before: str = "") -> None:
        shared = ["--broker", settings.broker, "--data-dir", str(settings.data_dir)]
        shared += ["--topic-prefix", settings.topic_prefix]
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{before}\n{START}", "archive", *arguments, *shared],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> tuple[int, str, str]:
        """Exit status, stdout, stderr."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def stop(self, number: int) -> tuple[int, str, str]:
        self.process.send_signal(number)
        return self.wait()
