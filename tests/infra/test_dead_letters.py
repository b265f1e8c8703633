"""Dead letters are read whatever they are, and each goes out again once, in whatever order they stand in the topic."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from infra import dead_letters
from infra.settings import load
from streams.contracts.dead_letters import DeadLetter, Reason

DAY = 86_400_000
START = 1_700_000_000_000


def letter(partition: int, offset: int, time: int) -> DeadLetter:
    raw = b'{"event_id":"%d-%d","timestamp":1,"user_id":"u","item_id":"i","event_type":"view"}' % (partition, offset)
    return DeadLetter(
        raw=raw, key=b"x", topic="events", partition=partition, offset=offset, reason=Reason.WRONG_KEY, message="", time=time
    )  # fmt: skip


class Scores:
    """As much of Redis as the marks need."""

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}

    def zmscore(self, name: str, marks: list[str]) -> list[int | None]:
        return [self.kept.get(mark) for mark in marks]

    def zadd(self, name: str, marks: Mapping[str, int]) -> None:
        self.kept.update(marks)

    def zremrangebyscore(self, name: str, low: str, high: str) -> None:
        self.kept = {mark: time for mark, time in self.kept.items() if time >= int(high[1:])}


class Bench:
    """Topics and Redis made up: ``letters`` are the topic's, ``sent`` is what went out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.letters: list[DeadLetter] = []
        self.sent: list[bytes] = []
        self.scores = Scores()
        encode = msgspec.json.Encoder().encode
        monkeypatch.setattr(
            dead_letters, "records", lambda settings: (SimpleNamespace(value=encode(each)) for each in self.letters)
        )
        monkeypatch.setattr(dead_letters, "_done", self._done)
        monkeypatch.setattr(dead_letters, "publisher", self._publisher)

    @contextlib.contextmanager
    def _done(self, settings: object) -> Iterator[Any]:
        yield dead_letters._Done(self.scores, "redriven")  # type: ignore[arg-type]

    @contextlib.contextmanager
    def _publisher(self, settings: object, topic: str) -> Iterator[Any]:
        yield SimpleNamespace(send=lambda key, value: self.sent.append(value), flush=lambda: None)

    def redrive(self) -> int:
        return sum(dead_letters.redrive(load(environ={})).sent.values())


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_a_letter_older_than_those_before_it_goes_once(bench: Bench) -> None:
    """A broker hands out one partition after the other: the first chunk may lack the oldest letter."""
    bench.letters = [letter(0, n, START + 3 * DAY + n) for n in range(dead_letters.CHUNK)] + [letter(1, 0, START)]
    assert [bench.redrive() for _ in range(3)] == [dead_letters.CHUNK + 1, 0, 0]
    assert len(bench.sent) == len(set(bench.sent))


def test_marks_of_letters_that_the_topic_has_dropped_go(bench: Bench) -> None:
    bench.letters = [letter(0, n, START + n * DAY) for n in range(10)]
    bench.redrive()
    del bench.letters[:4]
    assert bench.redrive() == 0
    assert len(bench.scores.kept) == 6


def test_a_deeply_nested_record_is_no_letter() -> None:
    assert dead_letters.letter(b'{"raw": "", "more": %s}' % (b"[" * 2_000 + b"]" * 2_000)) is None
