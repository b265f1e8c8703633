"""One life of a worker's model feed in a process of its own, which may end by kill -9 at a given step.

Topics are files in the life's folder, so that they outlive it; the feed, the cache, the preparing process, the pipeline and its
trial are the real ones. It plays 200 events to begin with and then those of the given seeds, until ``live:VERSION`` or
``gone:VERSION`` holds, and writes what came of it to `RESULT`.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from online_models import prepared
from online_models.embeddings import ITEMS
from streams import model_fetch
from streams.app.bringing import Bringer
from streams.app.model_feed import ModelFeed
from streams.app.publisher import Outgoing
from streams.contracts.interactions import Interaction
from streams.contracts.models import SLOT
from streams.contracts.topics import Topics
from streams.hotswap import Versions
from streams.model_fetch import Cache
from streams.pipeline import Pipeline
from streams.trial import Phase
from tests.streams.test_hotswap import CONFIG, play, walk

RESULT = "life.json"
TOPICS = Topics()
PIECE = 10
"""Events between two flips."""


class FileTopic:
    """A topic as lines of a file: what was written before a kill -9 is there after it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.path, self._read = name, folder / f"{name}.jsonl", 0
        self.path.touch()

    def put(self, value: msgspec.Struct | bytes | None, key: str = SLOT) -> None:
        raw = msgspec.json.encode(value) if isinstance(value, msgspec.Struct) else value
        with self.path.open("a") as file:
            file.write(json.dumps([key, raw.decode() if raw is not None else None]) + "\n")

    def records(self) -> list[Any]:
        lines = enumerate(map(json.loads, self.path.read_text().splitlines()))
        return [
            SimpleNamespace(topic=self.name, partition=0, offset=n, key=key.encode(), value=value and value.encode())
            for n, (key, value) in lines
        ]

    async def start(self, positions: dict[int, int]) -> None:
        self._read = 0

    async def ends(self) -> dict[int, int]:
        return {0: len(self.records())}

    def behind(self, ends: dict[int, int]) -> list[int]:
        return [0] if self._read < ends[0] else []

    async def fetch(self, timeout_s: float, limit: int) -> dict[int, list[Any]]:
        await asyncio.sleep(0.005)
        found = self.records()[self._read :]
        self._read += len(found)
        return {0: found} if found else {}


class Publisher:
    """Writes decisions first, then where the worker is: a kill can come between the two, as between two topics of a broker."""

    def __init__(self, topics: dict[str, FileTopic]) -> None:
        self._topics = topics

    async def publish(self, records: Iterable[Outgoing]) -> None:
        for record in records:
            self._topics[record.topic].put(record.value, record.key.decode())
            if record.topic == TOPICS.model_decisions and record.value is not None:
                self.decision_written(json.loads(record.value)["state"])

    def decision_written(self, state: str) -> None:
        """A place to die at."""


def die() -> None:
    """As the operating system ends a process that it must be rid of: nothing is closed, written or said."""
    os.kill(os.getpid(), signal.SIGKILL)


def dies(owner: Any, name: str, when: Callable[..., bool] = lambda *_: True, afterwards: bool = False) -> None:
    """Let the process die when this function is called, or has been."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def dying(*arguments: Any, **named: Any) -> Any:
        if not afterwards and when(*arguments):
            die()
        found = function(*arguments, **named)
        if afterwards and when(*arguments):
            die()
        return found

    setattr(owner, name, dying)


def half_copied() -> None:
    take = model_fetch._take

    def dying(source: Any, target: Path, most: int) -> None:
        if target.name == ITEMS:
            target.write_bytes(source.read(most // 2))
            die()
        take(source, target, most)

    model_fetch._take = dying


HALF_PREPARED = """
import os, runpy, signal, sys, numpy
save, calls = numpy.save, []
def dying(*arguments, **named):
    save(*arguments, **named)
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
numpy.save = dying
runpy.run_module("online_models.preparing", run_name="__main__")
"""


def half_prepared() -> None:
    """The preparing process dies in the middle of its writing, and so does the worker."""
    begin = asyncio.create_subprocess_exec

    async def dying(program: str, *arguments: str, **named: Any) -> Any:
        process = await begin(program, "-c", HALF_PREPARED, *arguments[2:], **named)
        assert await process.wait() == -signal.SIGKILL
        die()

    asyncio.create_subprocess_exec = dying  # type: ignore[assignment]


def being_prepared() -> None:
    """The worker dies; the process that prepares for it goes on and comes to its end."""
    begin = asyncio.create_subprocess_exec

    async def dying(*arguments: Any, **named: Any) -> Any:
        await begin(*arguments, **named)
        die()

    asyncio.create_subprocess_exec = dying  # type: ignore[assignment]


def compared(phase: Phase, moments: int) -> Callable[..., bool]:
    return lambda v, *_: v.trial is not None and v.trial.phase is phase and v.trial.difference.n >= moments


STEPS: dict[str, Callable[[], None]] = {
    "half copied": half_copied,
    "being prepared": being_prepared,
    "half prepared": half_prepared,
    "mapping": lambda: dies(prepared, "load"),
    "replaying": lambda: dies(Bringer, "_replay"),
    "flipping": lambda: dies(Versions, "begin", afterwards=True),
    "shadow": lambda: dies(Versions, "judge", compared(Phase.SHADOW, 30)),
    "canary": lambda: dies(Versions, "judge", compared(Phase.CANARY, 70)),
    "promoting": lambda: dies(ModelFeed, "_decided", lambda feed, trial: trial.phase is Phase.PROMOTED),
    "promotion written": lambda: dies(Publisher, "decision_written", lambda _, state: state == "promoted"),
    "rolling back": lambda: dies(ModelFeed, "_decided", lambda feed, trial: trial.phase is Phase.ROLLED_BACK),
    "roll-back written": lambda: dies(Publisher, "decision_written", lambda _, state: state == "rolled_back"),
}  # fmt: skip


async def _nothing_since(time_ms: int) -> AsyncIterator[Interaction]:
    for interaction in ():
        yield interaction


async def live(folder: Path, seeds: Iterable[int], until: str) -> dict[str, Any]:
    """Live until ``until`` holds; ``named``: what the lists said, ``begun``: the trials of this life."""
    pipeline, begun = Pipeline(CONFIG), []
    named = play(pipeline, walk(200, seed=1))
    topics = {t: FileTopic(folder, t) for t in (TOPICS.models, TOPICS.model_decisions, TOPICS.model_status)}
    feed = ModelFeed(
        pipeline, topics[TOPICS.models], topics[TOPICS.model_decisions], Cache(folder / "cache"),  # type: ignore[arg-type]
        Publisher(topics), TOPICS, f"w{os.getpid()}", _nothing_since,  # type: ignore[arg-type]
    )  # fmt: skip
    begin = pipeline.versions.begin
    pipeline.versions.begin = lambda version: (begun.append(version.name), begin(version))[1]  # type: ignore[method-assign, func-returns-value]
    await feed.catch_up()
    following = asyncio.create_task(feed.follow())
    what, _, version = until.partition(":")

    def reached() -> bool:
        decided = feed.fleet.decisions.get(version)
        if what == "gone":
            return decided is not None and decided.state == "rolled_back" and pipeline.versions.candidate is None
        return decided is not None and pipeline.versions.live is not None and pipeline.versions.live.name == version

    events = [event for seed in seeds for event in walk(2_000, seed=seed)]
    at = flips = 0
    async with asyncio.timeout(60):
        while not (flips and feed._bringer.bringing == "" and feed._bringer._ready is None and reached()):
            assert not following.done(), following
            if pipeline.versions.candidate is not None or begun:
                named += play(pipeline, events[at : at + PIECE], 200 + at)
                at += PIECE
            feed.flip()
            flips += 1
            await asyncio.sleep(0.005)
    named += play(pipeline, events[at : at + PIECE], 200 + at)
    await asyncio.sleep(0.05)  # what is decided is written by `follow`
    following.cancel()
    return {"named": named, "begun": begun, "live": pipeline.versions.live and pipeline.versions.live.name}


def run(folder: Path, step: str, seeds: Iterable[int], until: str) -> None:
    """See the module; an empty ``step``: nothing kills it."""
    if step:
        STEPS[step]()
    (folder / RESULT).write_text(json.dumps(asyncio.run(live(folder, seeds, until))))
