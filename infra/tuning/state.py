"""What a search has done so far, on disk: whole after each trial, so that it goes on where it was killed."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec

from infra.whole_files import write_whole
from online_models import start
from online_models.errors import InputError
from streams import recorded_catalogue, recorded_log
from streams.contracts.events import Event
from streams.validate import validate

from .search import Result
from .space import Space


class State(msgspec.Struct):
    """The trials done, what they were done for (`mark`), and the seconds that they took in all."""

    mark: str
    results: list[Result] = msgspec.field(default_factory=list)
    seconds: float = 0.0
    v: int = 1

    @classmethod
    def of(cls, path: Path, mark: str) -> State:
        """The state in a file, a new one where there is none. Raises InputError where it is of another search."""
        try:
            found = msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            return cls(mark)
        except (OSError, msgspec.DecodeError) as error:
            raise InputError(f"the state of a search in {path}", str(error), "remove it to start anew") from error
        if found.mark != mark:
            remedy = "remove it to start anew, or name another --out"
            raise InputError(
                f"in {path} a search on this log with these settings", "one on others, or of another release", remedy
            )
        return found

    def keep(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_whole(path, msgspec.json.encode(self))


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """While the search whose state is in ``path`` is this process's. Raises InputError where another one is at it."""
    name = path.with_name(f"{path.name}.lock")
    with name.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = name.exists() and name.stat().st_ino == os.fstat(lock.fileno()).st_ino
        except BlockingIOError:
            locked = False
        if not locked:  # or its owner took it away just now
            raise InputError(f"one search on {path}", "another one at work", "wait for it, or set --out")
        try:
            yield
        finally:
            name.unlink(missing_ok=True)


def part_of(path: str, share: float) -> tuple[int, str]:
    """How many valid events the first ``share`` of a log holds, and a digest of these."""
    valid = sum(isinstance(validate(raw, None, event_id="0"), Event) for raw in recorded_log.read(path))
    events = int(valid * share)
    if not events:
        remedy = (
            f"make a log of other files first: `headrace import csv {path} -o log.jsonl.gz` (see `headrace import -h`)"
        )
        raise InputError(
            "valid events in the log's first part",
            f"{valid:,} in all of {path}",
            "take a longer log, or a larger --share" if valid else remedy,
        )
    digest, seen = hashlib.sha256(), 0
    for raw in recorded_log.read(path):
        if seen >= events:
            break
        digest.update(raw)
        seen += isinstance(validate(raw, None, event_id="0"), Event)
    return events, digest.hexdigest()


def digest_of(catalogue: str) -> str:
    """Of the items in a file. Raises InputError where one is none."""
    digest = hashlib.sha256()
    for item in recorded_catalogue.read(catalogue):
        digest.update(msgspec.json.encode(item, order="sorted"))
    return digest.hexdigest()


def mark_of(digest: str, space: Space, metric: str, seed: int) -> str:
    """Another text for another log, other settings, knobs, metric, seed or release."""
    knobs = [(knob.path, knob.values, knob.tier) for knob in space.knobs]
    whole = [digest, msgspec.to_builtins(space.base), knobs, metric, seed, version("headrace"), start.digest()]
    return hashlib.sha256(msgspec.json.encode(whole, order="sorted")).hexdigest()
