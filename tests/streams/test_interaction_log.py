"""The interaction log: who learns what, when, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from online_models.errors import SnapshotError
from streams.contracts.interactions import Interaction
from streams.interaction_log import WORKER_HEADER, InteractionLog, Position

ME = b"me"


def interaction(partition: int, offset: int, clock: int) -> Interaction:
    return Interaction(
        item_id="i", event_type="view", weight=1.0, timestamp=1, value=None, user=1, session=1, event=offset, history=[],
        ages=[], in_session=0, partition=partition, offset=offset, clock=clock,
    )  # fmt: skip


class Log:
    """The topic as lists; ``fetch`` gives what has been appended since."""

    def __init__(self, partitions: int = 1, positions: Mapping[int, int] | None = None) -> None:
        self.records: dict[int, list[Any]] = {p: [] for p in range(partitions)}
        self.positions = dict.fromkeys(range(partitions), 0) | dict(positions or {})
        self.first = dict.fromkeys(range(partitions), 0)
        self.news = asyncio.Event()

    def append(self, partition: int, value: Interaction | bytes, worker: bytes = b"other") -> None:
        raw = value if isinstance(value, bytes) else msgspec.msgpack.encode(value)
        offset = len(self.records[partition])
        record = SimpleNamespace(
            offset=offset, value=raw, headers=((WORKER_HEADER, worker),), timestamp=1000 + offset, partition=partition
        )
        self.records[partition].append(record)
        self.news.set()

    async def ends(self) -> dict[int, int]:
        return {p: len(records) for p, records in self.records.items()}

    async def starts(self) -> dict[int, int]:
        return dict(self.first)

    def behind(self, ends: Mapping[int, int]) -> list[int]:
        return [p for p, end in ends.items() if self.positions[p] < end]

    async def fetch(self, timeout_s: float, limit: int, partition: int | None = None) -> dict[int, list[Any]]:
        self.news.clear()
        found: dict[int, list[Any]] = {}
        for p in self.records if partition is None else [partition]:
            fresh = self.records[p][self.positions[p] : self.positions[p] + min(limit, 2)]
            if fresh:
                found[p] = fresh
                self.positions[p] += len(fresh)
        if not found and partition is None:
            await self.news.wait()
        return found

    async def record_at(self, partition: int, offset: int) -> Any | None:
        return self.records[partition][offset] if offset < len(self.records[partition]) else None


class Notes:
    """A pipeline that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []

    def learn(self, interaction: Interaction) -> bool:
        self.told.append(("learn", interaction.partition, interaction.offset))
        return True

    def hold(self, interaction: Interaction) -> None:
        self.told.append(("hold", interaction.partition, interaction.offset))

    def release(self, partition: int) -> None:
        self.told.append(("release", partition, -1))


async def following(log: InteractionLog, records: Log, *settled: Mapping[int, int]) -> None:
    """Run `follow` until everything has been read, with barriers on the way."""
    task = asyncio.create_task(log.follow())
    for committed in settled:
        log.unsettle(committed)
        await asyncio.wait_for(log.settle(committed), 5)
    while records.behind(await records.ends()) and not task.done():  # noqa: ASYNC110
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()


async def test_recovery_merges_partitions_in_lamport_order() -> None:
    records, notes = Log(partitions=3), Notes()
    for clock, partition in enumerate([0, 2, 2, 1, 0, 0, 1, 2, 0, 1], start=1):
        records.append(partition, interaction(0, 100 + clock, clock))
    log = InteractionLog(records, notes, ME, {})
    assert await log.recover({0: 1000}) == 10
    assert [offset for _, _, offset in notes.told] == list(range(101, 111))


async def test_what_will_be_delivered_again_is_put_aside_and_held_when_the_partition_is_ours() -> None:
    records, notes = Log(), Notes()
    for offset in range(6):
        records.append(0, interaction(0, offset, offset))
    log = InteractionLog(records, notes, ME, {0: 3})
    await log.recover({0: 3})
    assert notes.told == [("learn", 0, 0), ("learn", 0, 1), ("learn", 0, 2)]
    assert not log.settled
    await following(log, records, {0: 3})
    assert notes.told[3:] == [("hold", 0, 3), ("hold", 0, 4), ("hold", 0, 5)]
    assert not log.settled, "a snapshot now would miss what is held"


async def test_what_is_held_is_settled_when_its_events_have_been_processed() -> None:
    records, notes, processed = Log(), Notes(), {0: 0}
    records.append(0, interaction(0, 0, 1))
    log = InteractionLog(records, notes, ME, processed)
    await log.recover({0: 0})
    await following(log, records, {0: 0})
    assert not log.settled
    processed[0] = 1
    assert log.settled


async def test_what_is_put_aside_for_a_partition_of_somebody_else_is_learned_in_order() -> None:
    records, notes = Log(partitions=2), Notes()
    records.append(0, interaction(1, 8, 5))
    records.append(1, interaction(1, 7, 4))
    log = InteractionLog(records, notes, ME, {})
    await log.recover({0: 0, 1: 0})
    assert notes.told == []
    await following(log, records, {0: 0})
    assert notes.told == [("learn", 1, 7), ("learn", 1, 8)]


async def test_our_own_records_are_not_even_decoded() -> None:
    records, notes = Log(), Notes()
    records.append(0, b"\xc1 not msgpack", worker=ME)
    records.append(0, interaction(1, 0, 1))
    log = InteractionLog(records, notes, ME, {0: 0})
    await following(log, records, {0: 0})
    assert (notes.told, log.skipped, log.refused) == ([("learn", 1, 0)], 1, 0)


async def test_a_record_that_is_no_interaction_is_left_out() -> None:
    records, notes = Log(), Notes()
    records.append(0, b"\xc1")
    records.append(0, msgspec.structs.replace(interaction(1, 3, 1), v=2))
    raw = msgspec.msgpack.encode(interaction(1, 3, 1))
    assert raw[:2] == b"\xdc\x00", "an array of more than 15 fields"
    records.append(0, raw[:2] + bytes([raw[2] + 1]) + raw[3:] + b"\x91" * 5_000 + b"\xc0")
    records.append(0, interaction(1, 0, 1))
    log = InteractionLog(records, notes, ME, {})
    await following(log, records, {0: 0})
    assert (notes.told, log.refused) == ([("learn", 1, 0)], 3)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("ages", [7]), ("in_session", 1), ("weight", float("inf")), ("weight", -1.0), ("partition", -1), ("offset", -1)],
)
async def test_a_record_that_contradicts_itself_is_left_out(field: str, wrong: Any) -> None:
    records, notes = Log(), Notes()
    good = interaction(1, 3, 1)
    values = [wrong if name == field else getattr(good, name) for name in good.__struct_fields__]
    records.append(0, msgspec.msgpack.encode(values))
    records.append(0, interaction(1, 0, 1))
    log = InteractionLog(records, notes, ME, {})
    await following(log, records, {0: 0})
    assert (notes.told, log.counts["refused"]) == ([("learn", 1, 0)], 1)


async def test_a_late_record_of_our_partition_is_held_if_we_have_not_come_so_far() -> None:
    records, notes, processed = Log(), Notes(), {0: 5}
    log = InteractionLog(records, notes, ME, processed)
    await following(log, records, {0: 5})
    records.append(0, interaction(0, 4, 1))
    records.append(0, interaction(0, 5, 2))
    await following(log, records)
    assert notes.told == [("learn", 0, 4), ("hold", 0, 5)]


async def test_a_partition_that_moved_on_is_let_go() -> None:
    records, notes, processed = Log(), Notes(), {0: 3}
    records.append(0, interaction(0, 3, 1))
    log = InteractionLog(records, notes, ME, processed)
    await log.recover({0: 3})
    await following(log, records, {0: 3}, {1: 0})
    assert notes.told == [("hold", 0, 3), ("release", 0, -1)]


async def test_a_partition_that_somebody_else_took_further_is_let_go() -> None:
    records, notes, processed = Log(), Notes(), {0: 3}
    records.append(0, interaction(0, 3, 1))
    log = InteractionLog(records, notes, ME, processed)
    await log.recover({0: 3})
    await following(log, records, {0: 3}, {0: 9})
    assert notes.told == [("hold", 0, 3), ("release", 0, -1)]


async def test_the_barrier_reads_what_was_written_before_it() -> None:
    records, notes = Log(), Notes()
    log = InteractionLog(records, notes, ME, {0: 0})
    await following(log, records, {1: 0})
    for offset in range(20):
        records.append(0, interaction(0, offset, offset))
    await following(log, records, {0: 15, 1: 0})
    assert notes.told == [("learn", 0, n) for n in range(15)] + [("hold", 0, n) for n in range(15, 20)]


async def test_a_snapshot_of_another_life_of_the_topic_is_refused() -> None:
    records = Log()
    records.append(0, interaction(0, 0, 1))
    log = InteractionLog(records, Notes(), ME, {})
    await log.check({0: Position(next=1, stamp=1000)})
    with pytest.raises(SnapshotError, match="made anew"):
        await log.check({0: Position(next=1, stamp=999)})
    with pytest.raises(SnapshotError, match="none"):
        await log.check({0: Position(next=2, stamp=1001)})


async def test_positions_carry_the_stamp_of_the_last_record() -> None:
    records = Log(partitions=2)
    records.append(0, interaction(0, 0, 1))
    records.append(0, interaction(0, 1, 2))
    log = InteractionLog(records, Notes(), ME, {})
    await log.recover({0: 9})
    assert log.positions == {0: Position(2, 1001), 1: Position(0, None)}
