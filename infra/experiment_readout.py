"""Read-outs from the topics, from recorded files, and from the sums of others."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import msgspec

from infra import experiments, topic_reading, topics
from infra.settings import Settings
from infra.whole_files import write_whole
from online_models.errors import InputError
from online_models.experiments.bandit import Arm, allocate
from online_models.experiments.effects import Kind
from online_models.experiments.sums import SCALE, Sums
from streams import experiment_rules
from streams.contracts.events import Source
from streams.contracts.experiments import Experiment
from streams.contracts.reading import UNREADABLE
from streams.experiment_feed import read_experiment
from streams.readout.fold import MAX_USERS, Readout
from streams.readout.result import Result
from streams.readout.shares import shares_of
from streams.readout.tally import METRICS, Tally

log = logging.getLogger("headrace")

POLL_MS = 200
SLACK_MS = 60_000
"""How much later than another a list may be published that was made earlier (and by how much clocks of workers differ)."""
GUARD = "readout"
"""Who stops or ramps an experiment by what it shows, in its record."""
FLOOR = 0.02
"""Share that a bandit leaves to every variant."""
HARDLY = 0.02


class Follower:
    """Reads the topics for one experiment, and its definition as it changes."""

    def __init__(self, settings: Settings, client: Any, experiment: Experiment, readout: Readout) -> None:
        self._settings, self._names, self._client = settings, settings.topics, client
        self.experiment, self.readout = experiment, readout
        self._stamps: dict[int, int] = {}
        """Partition of `recommendations` → when the latest list that was read of it was published (ms)."""
        self._marked = -1
        self._parts = sorted(client.assignment())
        self._held: dict[Any, int] = {}
        """Partitions that are ahead of the others, and where to go on with them."""

    def poll(self) -> int:
        """Take what has come, and hold back whoever is ahead of the others. Returns of how many partitions there was something."""
        polled = self._client.poll(timeout_ms=POLL_MS)
        for part, records in polled.items():
            for record in records:
                self._take(part.topic, record)
            if part.topic == self._names.recommendations:
                self._stamps[part.partition] = max(self._stamps.get(part.partition, 0), records[-1].timestamp)
        for part in self._parts:
            if part.topic == self._names.events:
                self.readout.passed(part.partition, self._position(part))
        self._hold_back()
        return len(polled)

    def _hold_back(self) -> None:
        """Read no more of whoever is ahead.

        By assignment: of a partition that is paused and resumed, kafka-python 3 may give nothing any more (what was fetched stays parked).
        """
        events, lists = self.readout.ahead()
        ahead = {
            p
            for p in self._parts
            if p.partition in {self._names.events: events, self._names.recommendations: lists}.get(p.topic, ())
        }
        if ahead == self._held.keys():
            return
        back = {p: at for p, at in self._held.items() if p not in ahead}
        self._held = {p: self._position(p) for p in ahead}
        self._client.assign([p for p in self._parts if p not in ahead])
        for part, at in back.items():
            self._client.seek(part, at)

    @property
    def held(self) -> frozenset[Any]:
        """Partitions of which no more is read until the others have caught up."""
        return frozenset(self._held)

    def _position(self, part: Any) -> int:
        at = self._held.get(part)
        return int(self._client.position(part)) if at is None else at

    def catch_up(self, partitions: Sequence[Any]) -> None:
        """Take everything that ``partitions`` hold now, but for events that are too far ahead of their lists: the workers are behind.

        Raises ServiceError when the broker falls silent.
        """
        still, patience = 0, topic_reading.Patience(self._settings)
        while still < 2:
            now = round(time.time() * 1000)
            ends = topics.end_offsets(self._settings, partitions)
            before = self._positions(partitions)
            while any(self._position(p) < end for p, end in ends.items() if p not in self._held):
                patience.seen(self.poll())
                self._note(ends, now)
            there = {p.partition for p, end in ends.items() if self._is_list(p) and self._position(p) >= end}
            whole = len(there) == sum(map(self._is_list, partitions))
            self.readout.caught_up(None if whole else there)
            if not self._held and not self.readout.unsettled:
                return
            self.poll()
            still = still + 1 if self._positions(partitions) == before else 0

    def _note(self, ends: dict[Any, int], now: int) -> None:
        """What was published of the lists until `SLACK_MS` before the partition that was read least far has been read of all."""
        stamps = [
            max(self._stamps.get(p.partition, 0), now - SLACK_MS if self._position(p) >= end else 0)
            for p, end in ends.items()
            if self._is_list(p)
        ]
        if stamps and min(stamps) > self._marked + SLACK_MS:
            self.readout.caught_up()
            self._marked = max(stamps)

    def _is_list(self, part: Any) -> bool:
        return bool(part.topic == self._names.recommendations)

    def _positions(self, partitions: Sequence[Any]) -> list[int]:
        return [self._position(p) for p in partitions]

    def _take(self, topic: str, record: Any) -> None:
        if topic == self._names.events:
            self.readout.take_event(record.value, Source(record.partition, record.offset))
        elif topic == self._names.recommendations:
            self.readout.take_list(record.value, record.partition)
        elif (
            record.value is not None
            and (record.key or b"").decode("utf-8", "replace") == self.experiment.definition.name
        ):
            try:
                found = read_experiment(record.key, record.value)
            except (*UNREADABLE, ValueError):
                return
            mine = self.experiment
            if mine.state == "running" and found.created == mine.created and found.changed >= mine.changed:
                self.experiment = found


def cut_short(client: Any, parts: Sequence[Any], since_ms: int) -> list[str]:
    """The topics of ``parts`` that have lost records (retention) and of a partition hold none from before ``since_ms``, or none at all."""
    firsts = {part: first for part, first in client.beginning_offsets(parts).items() if first > 0}
    ends = client.end_offsets(list(firsts))
    since = client.offsets_for_times(dict.fromkeys(firsts, since_ms))
    starts = {part: ends[part] if since[part] is None else since[part].offset for part in firsts}
    return sorted({part.topic for part, first in firsts.items() if starts[part] <= first})


def looks(
    settings: Settings, experiment: Experiment, period_s: int, partitions: frozenset[int] | None, every_s: float | None,
    max_users: int = MAX_USERS,
) -> Iterator[tuple[Experiment, Tally]]:  # fmt: skip
    """The sums as of now, and then, unless ``every_s`` is None, every so many seconds until the caller stops."""
    names = settings.topics
    parts = topics.require(settings, names.events, names.recommendations, names.experiments)
    if partitions and (missing := partitions - {p.partition for p in parts if p.topic == names.events}):
        there = ", ".join(str(p.partition) for p in parts if p.topic == names.events)
        raise InputError(
            f"partitions of {names.events} ({there})", ", ".join(map(str, sorted(missing))), "correct --partition"
        )
    # The broker has checked each record; to check it here again, in Python, takes three times as long as all the rest.
    with topics.consumer(settings, check_crcs=False) as client:
        client.assign(parts)
        client.seek_to_beginning(*parts)
        lists = sum(part.topic == names.recommendations for part in parts)
        events = sum(part.topic == names.events for part in parts)
        readout = Readout(experiment.definition, period_s, partitions, experiment.created, lists, events, max_users)
        follower = Follower(settings, client, experiment, readout)
        told: list[str] = []
        while True:
            short = cut_short(client, [p for p in parts if p.topic != names.experiments], experiment.created)
            if short != told:
                log.warning(
                    "headrace: of %s what was written when the experiment began is deleted already (retention): what has not been read "
                    "before is not counted, and a list whose event is gone counts as shown, without a click",
                    ", ".join(short),
                )
                told = short
            follower.catch_up(parts)
            yield follower.experiment, readout.tally()
            if every_s is None:
                return
            topics.await_broker(settings)
            until = time.monotonic() + every_s
            while time.monotonic() < until:
                follower.poll()


def not_counted(settings: Settings, tally: Tally) -> list[int]:
    """Partitions of topic `events` that hold records of which none is in the sums."""
    ends = topics.end_offsets(settings, topics.require(settings, settings.topics.events))
    return sorted(p.partition for p, end in ends.items() if end and p.partition not in tally.partitions)


def merged(experiment: Experiment, files: Sequence[Path]) -> Tally:
    """The sums that others have saved, added. Each must have counted other partitions."""
    tallies = []
    for file in files:
        try:
            plain = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError("what `readout --save` wrote", f"{file} ({error})", "correct the path") from None
        tallies.append(Tally.from_plain(plain, experiment.definition, experiment.created))
    return reduce(add, tallies)


def save(tally: Tally, file: Path) -> None:
    """Write the sums for `merged`, whole: another may be reading them."""
    write_whole(file, json.dumps(tally.plain(), indent=1).encode() + b"\n")


def as_json(result: Result) -> str:
    """One line of JSON."""
    return msgspec.json.encode(msgspec.to_builtins(result, enc_hook=float)).decode()


def act(settings: Settings, experiment: Experiment, result: Result, tally: Tally) -> Experiment | None:
    """Do what the experiment asks for: stop it where it does harm or its shares do not match, move the shares of a bandit.

    Returns the experiment as it is then; None where there was nothing to do.
    """
    if experiment.state != "running":
        return None
    if result.stop and experiment.definition.on_harm == "stop":
        changed = experiment_rules.stop(experiment, experiments.now_ms(), by=GUARD, reason=result.stop)
    elif experiment.definition.method == "bandit" and (weights := better_shares(experiment, tally)):
        changed = experiment_rules.ramp(
            experiment, weights, None, experiments.now_ms(), by=GUARD, reason="Thompson sampling"
        )
    else:
        return None
    return experiments.write(settings, changed)


def better_shares(experiment: Experiment, tally: Tally) -> dict[str, float]:
    """Weights by the probability that each variant is the best; {} where they would hardly change, or a variant has not been seen yet.

    A variant of weight 0 keeps it.
    """
    d = experiment.definition
    present = shares_of(experiment.ramps[-1].ranges)
    wanted = [v.name for v in d.variants if present.get(v.name, 0.0) > 0.0]
    arms = [_arm(experiment, tally, name) for name in wanted]
    if len(wanted) < 2 or not all(arm.successes + arm.failures for arm in arms):
        return {}
    chances = allocate(arms, floor=min(FLOOR, 1.0 / len(arms))).probabilities
    whole = sum(present[name] for name in wanted)
    if max(abs(present[name] / whole - p) for name, p in zip(wanted, chances, strict=True)) < HARDLY:
        return {}
    return {name: round(p, 4) for name, p in zip(wanted, chances, strict=True)}


def _arm(experiment: Experiment, tally: Tally, variant: str) -> Arm:
    """Successes and failures: lists with a click and without, units that converted and not, events named and not. Lists count in the
    ramp in which they were made, whoever saw them.

    Ramps of different shares are not simply added up: if people click more while a variant has more of them, it would look better
    than it is. What came in a ramp counts by 1 / the share that the variant had then, and all together as often as that leaves of
    it (Kish's effective number).
    """
    metric = experiment.definition.metric
    measured = METRICS[metric]
    hits = seen = squares = 0.0
    units = tally.by_ramp(metric, variant)
    for ramp in experiment.ramps:
        shares = shares_of(ramp.ranges)
        if not shares.get(variant):
            continue
        if measured.metric.kind is Kind.RATIO:
            got, n = (float(tally.earned[variant, ramp.number, column]) for column in measured.columns)
        else:
            sums = units.get(ramp.number, Sums.empty(measured.metric.columns))
            got, n = sums.totals[0] / SCALE, float(sums.n)
        counts = sum(shares.values()) / shares[variant]
        hits, seen, squares = hits + counts * got, seen + counts * n, squares + counts**2 * n
    if not seen:
        return Arm()
    successes = round(hits * seen / squares)
    return Arm(successes, max(round(seen**2 / squares) - successes, 0))
