"""What topics hold up to their ends as of now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from infra import topics
from infra.settings import Settings
from online_models.errors import ServiceError

POLL_MS = 200
SILENT_S = 30.0
"""A broker that has records and gives none for so long is not there. (kafka-python's poll says nothing of it.)"""


class Patience:
    """Who waits for records that are known to be there. `seen` is told how many came; raises ServiceError after `SILENT_S` of none."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._since = settings, time.monotonic()

    def seen(self, records: int) -> None:
        """So many came just now."""
        now = time.monotonic()
        if records:
            self._since = now
        elif now - self._since > SILENT_S:
            raise ServiceError(
                f"records that the broker at {self._settings.broker} has", f"none within {SILENT_S:.0f} s",
                "see that it runs, then run the command again",
            )  # fmt: skip


def records(settings: Settings, *names: str, **options: Any) -> Iterator[Any]:
    """The records of the topics, those of each partition in order; ``options`` are kafka-python's.

    Raises ServiceError when a topic does not exist, or the broker falls silent.
    """
    parts = topics.require(settings, *names)
    ends = topics.end_offsets(settings, parts)
    with topics.consumer(settings, **options) as client:
        client.assign(parts)
        client.seek_to_beginning(*parts)
        patience = Patience(settings)
        while any(client.position(part) < ends[part] for part in parts):
            polled = client.poll(timeout_ms=POLL_MS)
            for part, found in polled.items():
                yield from (record for record in found if record.offset < ends[part])
            patience.seen(len(polled))


def values(settings: Settings, topic: str) -> Iterator[bytes | None]:
    """Values of the records of one topic, as a recorded file would give them. Raises as `records` does."""
    return (record.value for record in records(settings, topic, check_crcs=False))
