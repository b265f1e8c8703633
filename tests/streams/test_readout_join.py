"""Any interleaving of the topics' partitions gives the same sums, in bounded memory, and what cannot be counted is counted as lost."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
import pytest

from streams.contracts.events import Source
from streams.contracts.recommendations import After
from streams.readout import join
from streams.readout.fold import Readout
from tests.streams.readout_tape import Tape, definition

EVENTS, LISTS = 2, 3
"""Partitions of the two topics."""
Queues = dict[tuple[str, int], list[tuple[bytes, int]]]


def world(seed: int = 1, steps: int = 600, users: int = 12, refused: float = 0.2, lost: int = 20) -> Queues:
    """Records of each partition, (value, offset). Some events have no list, the first events of each partition are not there any more, some
    lists were published again after a crash, and some were asked for, by strangers as well."""
    rng = random.Random(seed)
    t, offsets, known = Tape(), [0] * EVENTS, {}
    queues: Queues = {("events", p): [] for p in range(EVENTS)} | {("lists", p): [] for p in range(LISTS)}
    recent: list[list[tuple[bytes, int]]] = [[] for _ in range(LISTS)]
    for n in range(steps):
        name = f"u{rng.randrange(users)}"
        place, where = int(name[1:]) % EVENTS, int(name[1:]) // EVENTS % LISTS
        into = queues["lists", where]
        if rng.random() < 0.25:
            into.append((asked(f"g{n}", 10 * n, name, known.get(name), rng), 0))
            continue
        kind = rng.choice(("view", "view", "purchase", "impression"))
        variant = rng.choice(("new", "new", None))
        t.add(10 * n, rng.choice("abcd"), kind, user=name, shown="ab", variant=variant, value=rng.choice((1.0, 2.5)))
        event, made = t.records[-1]
        assert made is not None
        assert made.caused_by is not None
        offset, offsets[place] = offsets[place], offsets[place] + 1
        if offset >= lost:
            queues["events", place].append((msgspec.json.encode(event), offset))
        if rng.random() < refused:
            continue
        cause = msgspec.structs.replace(made.caused_by, partition=place, offset=offset)
        record = msgspec.json.encode(msgspec.structs.replace(made, caused_by=cause)), 0
        into.append(record)
        recent[where] = [*recent[where][-5:], record]
        known[name] = place, offset
        if rng.random() < 0.05:
            into.extend(recent[where])
    return queues


def asked(request: str, at: int, name: str, after: tuple[int, int] | None, rng: random.Random) -> bytes:
    t = Tape()
    t.add(at, "-", user=name, shown=rng.choice(("ab", "cd")), variant="new")
    [(_, made)] = t.records
    place = None if after is None else After(*after)
    return msgspec.json.encode(msgspec.structs.replace(made, request_id=request, caused_by=None, after=place))


def read(queues: Queues, order: Iterator[tuple[str, int]], readout: Readout) -> Readout:
    at = dict.fromkeys(queues, 0)
    for p in range(EVENTS):
        readout.passed(p, queues["events", p][0][1])
    for key in order:
        if at[key] == len(queues[key]):
            continue
        value, offset = queues[key][at[key]]
        at[key] += 1
        if key[0] == "events":
            readout.take_event(value, Source(key[1], offset))
        else:
            readout.take_list(value, key[1])
    assert all(at[key] == len(records) for key, records in queues.items())
    for _ in range(2):
        readout.caught_up()
    return readout


def one_after_the_other(queues: Queues, keys: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    for key in keys:
        yield from [key] * len(queues[key])


@pytest.mark.parametrize("seed", range(3))
def test_any_interleaving_gives_the_same_sums(seed: int) -> None:
    queues = world(seed)
    found = []
    for n in range(12):
        rng = random.Random(n)
        keys = [key for key, records in queues.items() for _ in records]
        rng.shuffle(keys)
        found.append(read(queues, iter(keys), Readout(definition(), lists=LISTS)))
    for _ in range(6):
        keys = rng.sample(list(queues), len(queues))
        found.append(read(queues, one_after_the_other(queues, keys), Readout(definition(), lists=LISTS)))
    first = found[0].tally().plain()
    assert first["events"] > 250
    assert first["lists"] > first["events"] + 100
    assert all(each.tally().plain() == first for each in found)
    assert first["lost"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_whoever_is_ahead_is_held_back_and_memory_is_bounded(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(world(seed), one_after_the_other(world(seed), list(world(seed))), Readout(definition(), lists=LISTS))
    for name, most in (("EVENTS", 30), ("LISTS", 25), ("UNANSWERED", 40)):
        monkeypatch.setattr(join, name, most)
    queues = world(seed)
    readout, peak = Readout(definition(), lists=LISTS), [0, 0]

    def order() -> Iterator[tuple[str, int]]:
        """The greediest reader: as much as it may of one partition, then of the next."""
        stuck = 0
        left = {key: len(records) for key, records in queues.items()}
        while any(left.values()):
            events, lists = readout.ahead()
            held = {("events", p) for p in events} | {("lists", p) for p in lists}
            keys = [k for k in sorted(left, key=lambda k: (k[0] == "events") == bool(seed % 2)) if left[k]]
            key = next((k for k in keys if k not in held), None)
            if key is None:
                stuck += 1
                assert stuck < 100, held
                readout.caught_up([p for p in range(LISTS) if not left["lists", p]])
                continue
            left[key] -= 1
            yield key
            if not all(left.values()):
                continue  # of a partition that was read to its end nothing more can come: there is nothing to wait for
            parts = readout._join._parts.values()
            peak[0] = max(peak[0], sum(len(p.events) for p in parts))
            peak[1] = max(peak[1], sum(p.held for p in parts))

    read(queues, order(), readout)
    assert readout.tally().plain() == whole.tally().plain()
    assert max(peak) <= 60
    assert min(peak) >= 25, "one of them was ahead"


def test_lists_that_events_are_held_back_for_are_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they are ahead of the events of another partition, which is held back itself: else nobody could go on."""
    monkeypatch.setattr(join, "EVENTS", 2)
    monkeypatch.setattr(join, "LISTS", 2)
    readout = Readout(definition(), lists=2)
    t = Tape()
    for n in range(16):
        t.add(n, "a", shown="b")
    for p in range(EVENTS):
        for n in range(4):
            readout.take_event(msgspec.json.encode(t.records[n][0]), Source(p, n))
    for n in (10, 11, 12):
        made = t.records[n][1]
        assert made is not None
        assert made.caused_by is not None
        cause = msgspec.structs.replace(made.caused_by, partition=1)
        readout.take_list(msgspec.json.encode(msgspec.structs.replace(made, caused_by=cause)), 0)
    assert readout.ahead() == ({0, 1}, set())
    readout.take_list(msgspec.json.encode(t.records[3][1]), 0)
    assert readout.ahead() == ({0, 1}, {0}), "now it is the other partition of lists that they wait for"


def test_lists_of_another_partition_that_is_read_late_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of one partition of `recommendations` first: nothing is known of those that the other one holds."""
    monkeypatch.setattr(join, "UNANSWERED", 5)
    queues = world(4, steps=300)
    keys = [("events", 0), ("events", 1), ("lists", 0), ("lists", 1), ("lists", 2)]
    found = read(queues, one_after_the_other(queues, keys), Readout(definition(), lists=LISTS)).tally()
    other = read(queues, one_after_the_other(queues, keys[::-1]), Readout(definition(), lists=LISTS)).tally()
    assert (found.plain(), found.lost) == (other.plain(), 0)


def test_a_list_that_comes_after_its_event_was_given_up_is_counted_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "UNANSWERED", 3)
    t = Tape()
    for n in range(20):
        t.add(n, "a", shown="b")
    readout = Readout(definition())

    def take(n: int) -> None:
        readout.take_list(msgspec.json.encode(t.records[n][1]))

    for n, (event, _) in enumerate(t.records):
        readout.take_event(msgspec.json.encode(event), Source(0, n))
    take(19)
    for n in (2, 15, 19, 18):  # given up; given up; a copy; kept
        take(n)
    tally = readout.tally()
    assert (tally.lost, tally.events) == (2, 2)
    monkeypatch.setattr(join, "GIVEN_UP", 2)
    for n in range(20, 30):
        t.add(n, "a", shown="b")
        readout.take_event(msgspec.json.encode(t.records[n][0]), Source(0, n))
    take(29)
    take(1)
    assert readout.tally().lost == 3, "of what is not even known any more it is thought that it is late"
