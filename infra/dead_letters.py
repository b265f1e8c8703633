"""Read the dead letters, and send them to topic ``events`` again, each of them once.

What has been sent again is kept in Redis, beside the workers' state: with filters by reason and time it is not a matter
of "all up to here", as committed offsets would have it. What is older than the topic's letters is forgotten.
"""

from __future__ import annotations

import contextlib
import itertools
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import redis

from infra import topic_reading
from infra.addresses import redact
from infra.publishing import publisher, user_key
from infra.settings import Settings
from online_models.errors import ServiceError
from streams.contracts.dead_letters import DeadLetter, Reason
from streams.contracts.reading import UNREADABLE

T = TypeVar("T")

CHUNK = 1_000
"""Letters that are sorted, sent and noted together."""

_SLACK_MS = 3_600_000
"""How much older than any other a letter may be that comes meanwhile, and that another redrive has sent (workers' clocks)."""

_decode = msgspec.json.Decoder(DeadLetter).decode


@dataclass
class Redriven:
    """What a redrive did, or would do: letters sent by reason, those whose key was mended, and those left out."""

    sent: Counter[str] = field(default_factory=Counter)
    mended: int = 0
    done_before: int = 0
    too_large: int = 0


def records(settings: Settings) -> Iterator[Any]:
    """The records of the dead-letter topic from its start to its end as of now."""
    return topic_reading.records(settings, settings.topics.dead_letters)


def letter(value: bytes | None) -> DeadLetter | None:
    """The dead letter in a record's value; None where there is none that can be read."""
    try:
        return _decode(value or b"")
    except UNREADABLE:
        return None


def chosen(letter: DeadLetter, reasons: Iterable[str], since: int | None) -> bool:
    """Whether a letter has one of the reasons (none: any) and is not older than ``since`` (ms)."""
    reasons = tuple(reasons)
    return (not reasons or letter.reason.value in reasons) and (since is None or letter.time >= since)


def redrive(
    settings: Settings, reasons: Iterable[str] = (), since: int | None = None, dry_run: bool = False
) -> Redriven:
    """Send the chosen letters that have not been sent again yet, in the order in which they had come.

    The bytes are what they were. The key becomes the user of the record if one can be read, which mends ``wrong_key``;
    else it stays. What was too large is left out: it still is. After a crash in the middle up to `CHUNK` letters may be
    sent once more; their event ids tell.
    """
    reasons = tuple(reasons)
    result = Redriven()
    oldest: int | None = None
    with contextlib.ExitStack() as stack:
        done = stack.enter_context(_done(settings))
        out = None if dry_run else stack.enter_context(publisher(settings, settings.topics.events))
        for chunk in chunks(found for record in records(settings) if (found := letter(record.value))):
            of_chunk = min(found.time for found in chunk)
            oldest = of_chunk if oldest is None else min(oldest, of_chunk)
            wanted = {_mark(found): found for found in chunk if chosen(found, reasons, since)}
            before = done.known(wanted)
            result.done_before += len(before)
            todo = {mark: found for mark, found in wanted.items() if mark not in before}
            result.too_large += sum(found.reason is Reason.TOO_LARGE for found in todo.values())
            todo = {mark: found for mark, found in todo.items() if found.reason is not Reason.TOO_LARGE}
            for found in sorted(todo.values(), key=lambda each: (each.time, each.partition, each.offset)):
                key = user_key(found.raw) or found.key
                result.sent[found.reason.value] += 1
                result.mended += key != found.key
                if out is not None:
                    out.send(key, found.raw)
            if out is not None and todo:
                out.flush()
                done.add({mark: found.time for mark, found in todo.items()})
        if not dry_run and oldest is not None:
            done.forget(oldest - _SLACK_MS)
    return result


def sent_again(settings: Settings, letters: Iterable[DeadLetter]) -> list[bool]:
    """Whether `redrive` has sent each of the letters again. Raises ServiceError without Redis."""
    marks = [_mark(letter) for letter in letters]
    with _done(settings) as done:
        known = done.known(marks)
    return [mark in known for mark in marks]


def chunks(letters: Iterable[T]) -> Iterator[list[T]]:
    """The letters, `CHUNK` at a time."""
    source = iter(letters)
    while chunk := list(itertools.islice(source, CHUNK)):
        yield chunk


def _mark(letter: DeadLetter) -> str:
    """What tells a letter from any other: where its record stood, and (should the topic be made anew) what it was."""
    return f"{letter.partition}/{letter.offset}/{zlib.crc32(letter.raw):08x}"


class _Done:
    """The marks of the letters that were sent again, by the time of the letter."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        self._client, self._name = client, name

    def known(self, marks: Iterable[str]) -> set[str]:
        marks = list(marks)
        scores: Any = self._client.zmscore(self._name, marks) if marks else []
        return {mark for mark, score in zip(marks, scores, strict=True) if score is not None}

    def add(self, marks: dict[str, int]) -> None:
        self._client.zadd(self._name, marks)

    def forget(self, time: int) -> None:
        """Drop what is older than any letter that is still there."""
        self._client.zremrangebyscore(self._name, "-inf", f"({time}")


@contextlib.contextmanager
def _done(settings: Settings) -> Iterator[_Done]:
    try:
        with redis.Redis.from_url(settings.redis, socket_timeout=10, socket_connect_timeout=5) as client:
            client.ping()
            yield _Done(client, f"{settings.topic_prefix}redriven")
    except redis.RedisError as error:
        found = f"{type(error).__name__} at {redact(settings.redis)}"
        raise ServiceError("the Redis that keeps what was sent again", found, "start it, or set --redis") from None
