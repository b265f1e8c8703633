"""All that a topic holds, as a recorded file would give it."""

from __future__ import annotations

from collections.abc import Iterator

from infra import topics
from infra.settings import Settings

POLL_MS = 200


def values(settings: Settings, topic: str) -> Iterator[bytes | None]:
    """Values of the records of a topic up to its end as it is now, those of each partition in order. Raises ServiceError without it."""
    parts = topics.require(settings, topic)
    with topics.consumer(settings, check_crcs=False) as client:
        client.assign(parts)
        client.seek_to_beginning(*parts)
        ends = topics.end_offsets(settings, parts)
        while any(client.position(part) < end for part, end in ends.items()):
            for records in client.poll(timeout_ms=POLL_MS).values():
                for record in records:
                    yield record.value
