"""Topic ``experiments`` as every worker reads it: all of them at the start, then each change, in effect between micro-batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from online_models.experiments.split import BUCKETS, Split

from .contracts.experiments import Experiment
from .contracts.reading import UNREADABLE
from .tailing import Tail

log = logging.getLogger("headrace")

FETCH = 100

_decode = msgspec.json.Decoder(Experiment).decode


def read_experiment(key: bytes | None, value: bytes) -> Experiment:
    """The experiment of a record. Raises ValueError (or one of `UNREADABLE`) on what is none, or is of a later release."""
    experiment = _decode(value)
    d = experiment.definition
    if experiment.v != 1:
        raise ValueError(f"expected a record of version 1, got {experiment.v}; run one release on all workers")
    if (key or b"").decode() != d.name:
        raise ValueError(f"expected the experiment's name as key, got {(key or b'')[:64]!r}")
    names = {v.name for v in d.variants}
    for ramp in experiment.ramps:
        ends = [0, *(end for _, end in ramp.ranges)]
        if ends[-1] != BUCKETS or sorted(set(ends)) != ends or not {o for o, _ in ramp.ranges} <= {None, *names}:
            raise ValueError(f"expected ranges of {', '.join(sorted(names))} that rise to {BUCKETS}, got {ramp.ranges}")
    return experiment


def fold(known: dict[str, Experiment], key: bytes | None, value: bytes | None) -> str:
    """Take a record into ``known`` (by name); returns the name. Raises as `read_experiment` does, and ValueError on a record that
    was made before what is known: of an older time, of an older experiment of this name, running again what was stopped, or ramped
    without the latest ramp, which lists may have been made under. A stop holds whatever it was made of."""
    name = (key or b"").decode()
    if value is None:
        known.pop(name, None)
        return name
    found, before = read_experiment(key, value), known.get(name)
    if before is not None and (
        found.changed < before.changed
        or found.created < before.created
        or (before.state, found.state) == ("stopped", "running")
    ):
        raise ValueError(f"{name} was changed, stopped or begun anew before this record was made")
    if before is not None and before.created == found.created and not _goes_on(found, before):
        if found.state == "running":
            raise ValueError(f"{name} was ramped before this record was made")
        found = msgspec.structs.replace(found, definition=before.definition, ramps=before.ramps)
    known[name] = found
    return name


def _goes_on(found: Experiment, before: Experiment) -> bool:
    """Whether the latest ramp of the one stands in the other as it is."""
    latest = before.ramps[-1]
    return any(ramp == latest for ramp in reversed(found.ramps))


class ExperimentFeed:
    """Follows the topic; `flip`, called between micro-batches, puts into effect what has come by calling ``run`` with all."""

    def __init__(self, tail: Tail, run: Callable[[Iterable[Experiment]], None]) -> None:
        self._tail, self._run = tail, run
        self.known: dict[str, Experiment] = {}
        self._changed: dict[str, None] = {}
        """Names, in the order in which they came."""
        self._left_out = 0

    async def catch_up(self) -> None:
        """Read to the end of the topic, and put it into effect."""
        ends = await self._tail.ends()
        while self._tail.behind(ends):
            self._take(await self._tail.fetch(0.1, FETCH))
        self._put_into_effect()  # also where there are none: a snapshot may be of a time when there were some

    async def follow(self) -> None:
        """Read changes as they come, until cancelled."""
        while True:
            self._take(await self._tail.fetch(1.0, FETCH))

    def flip(self) -> None:
        """Put into effect what has come since. Between micro-batches only."""
        if self._changed:
            self._put_into_effect()

    def _put_into_effect(self) -> None:
        self._run(self.known.values())
        for name in self._changed:
            log.info("experiment %s: %s", name, _in_words(self.known.get(name)))
        self._changed = {}

    def _take(self, fetched: dict[int, list[Any]]) -> None:
        for record in (record for records in fetched.values() for record in records):
            try:
                self._changed[fold(self.known, record.key, record.value)] = None
            except (*UNREADABLE, ValueError) as error:
                self._left_out += 1
                if self._left_out & (self._left_out - 1) == 0:
                    log.warning(
                        "%d records are no experiments and left out, the latest at %s-%d/%d: %s",
                        *(self._left_out, record.topic, record.partition, record.offset, error),
                    )


def _in_words(experiment: Experiment | None) -> str:
    if experiment is None:
        return "forgotten"
    reason = f", {experiment.reason}" if experiment.reason else ""
    shares = ", ".join(f"{name} {share:g}" for name, share in Split("", experiment.ranges).shares().items())
    return f"{experiment.state} by {experiment.by}{reason} ({shares})"
