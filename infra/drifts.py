"""Drifts of a quality, as the workers tell of them on topic ``drift``: what is new, once each."""

from __future__ import annotations

import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec
from kafka.errors import KafkaError

from infra import topics
from infra.settings import Settings
from streams.contracts.drifts import QUALITY, QualityDrift
from streams.contracts.reading import UNREADABLE

log = logging.getLogger("headrace")

FIGURES = tuple(f"{QUALITY} {name}" for name in ("blend", "served", "deep"))
"""What a retrained model can mend: what users get, what they would have got just before the event, and the deep model's own list."""

REMEMBERED = 10_000
"""Latest ids of drifts, so that a copy of one is no news."""


class News:
    """What has become worse, of some figures, in the records that it is given."""

    def __init__(self, figures: Collection[str]) -> None:
        self._figures = frozenset(figures)
        self._known: OrderedDict[str, None] = OrderedDict()

    def of(self, values: list[bytes | None]) -> str:
        """The latest change for the worse that was not known, in words; empty if there is none. Others are passed over."""
        told = ""
        for value in values:
            try:
                drift = msgspec.json.decode(value or b"", type=QualityDrift)
            except UNREADABLE as error:
                log.warning("a record of topic drift is none: %s", error)
                continue
            if drift.worse and drift.figure in self._figures and drift.drift_id not in self._known:
                told = f"{drift.figure} went from {drift.before:.4f} to {drift.after:.4f}"
            self._known[drift.drift_id] = None
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return told


@contextlib.contextmanager
def drifts(settings: Settings, figures: Collection[str] = FIGURES) -> Iterator[Callable[[], str]]:
    """A function that says what has become worse since it was called last, at first since now; empty if nothing has.

    Raises ServiceError where no broker answers or the topic is not there. While the broker is away later on, nothing is new.
    """
    parts = topics.require(settings, settings.topics.drift)
    ends = topics.end_offsets(settings, parts)
    news = News(figures)
    with topics.consumer(settings) as consumer:
        consumer.assign(parts)
        for part, offset in ends.items():
            consumer.seek(part, offset)
        yield lambda: news.of(_new(consumer))


def _new(consumer: Any) -> list[bytes | None]:
    """All that has come, in the order in which it comes."""
    found: list[bytes | None] = []
    try:
        while batches := consumer.poll(timeout_ms=50):
            found += [record.value for records in batches.values() for record in records]
    except KafkaError as error:
        log.warning("topic drift cannot be read for now: %r", error)
    return found
