"""How much a read-out remembers: all that it needs, or an error; who reads what, in which order, is all the same."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable

import msgspec
import pytest

from online_models.errors import InputError
from streams.contracts.events import Source
from streams.partitioning import key_hash
from streams.readout import fold, strangers
from streams.readout.fold import Readout
from streams.readout.tally import Tally
from streams.readout.units import Units
from streams.readout.users import Unit, pack, unpack
from tests.streams.readout_tape import Tape, definition
from tests.worlds import START

DAY = 86_400
PARTS = 4


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "FORGET_EVERY", 10)


def home(user: str) -> int:
    return key_hash(user.encode()) % PARTS


Pair = tuple[int, int, bytes, bytes]


def queues_of(t: Tape) -> dict[int, list[Pair]]:
    """By partition: partition, offset, event and list."""
    out: dict[int, list[Pair]] = {p: [] for p in range(PARTS)}
    for event, made in t.records:
        p = home(event.user_id)
        assert made is not None
        assert made.caused_by is not None
        cause = msgspec.structs.replace(made.caused_by, partition=p, offset=len(out[p]))
        made = msgspec.structs.replace(made, caused_by=cause)
        out[p].append((p, len(out[p]), msgspec.json.encode(event), msgspec.json.encode(made)))
    return out


def put(readout: Readout, pairs: Iterable[Pair]) -> Readout:
    """Each event with its list at once: so at any time all lists that there are have been read."""
    for p, offset, event, made in pairs:
        readout.take_event(event, Source(p, offset))
        readout.take_list(made, p)
        readout.caught_up()
    return readout


def asked(n: int, user: str, after: tuple[int, int] | None = None) -> bytes:
    plain = {
        "request_id": f"get-{n}", "user_id": user, "timestamp": START, "items": [{"item_id": "x"}],
        "after": after and dict(zip(("partition", "offset"), after, strict=True)),
        "experiments": [{"name": "x", "variant": "new"}],
    }  # fmt: skip
    return msgspec.json.encode(plain)


def busy(seed: int, unit: str) -> Tape:
    """Forty users for ninety days, some of whom come back after long; they buy, and take back."""
    rng, t = random.Random(seed), Tape()
    at = 0
    for _ in range(400):
        at += rng.randrange(2 * DAY // 5)
        user = f"u{rng.randrange(40)}"
        session = {"unit": f"{user}/{at}"} if unit == "session" else {}
        variant = ("control", "new")[home(user) % 2]
        for step in range(2):
            kind = rng.choice(["view", "purchase", "return"])
            value = None if kind == "view" else float(rng.randrange(1, 9)) / 4
            t.add(at + step, rng.choice("abc"), kind, user=user, shown="abc", variant=variant, value=value, **session)
    return t


@pytest.mark.parametrize("unit", ["user", "session"])
@pytest.mark.parametrize("seed", range(3))
def test_whoever_reads_what_in_which_order_comes_to_the_same_sums(seed: int, unit: str) -> None:
    queues, d = queues_of(busy(seed, unit)), definition(unit=unit)
    found = []
    for order in ("one after the other", "in turns", "at random"):
        pairs = [pair for queue in queues.values() for pair in queue]
        rng = random.Random(seed)
        if order == "in turns":
            pairs = sorted(pairs, key=lambda pair: (pair[1], pair[0]))
        elif order == "at random":
            drawn = [p for p, queue in queues.items() for _ in queue]
            rng.shuffle(drawn)
            left = {p: iter(queue) for p, queue in queues.items()}
            pairs = [next(left[p]) for p in drawn]
        found.append(put(Readout(d, lists=PARTS, events=PARTS), pairs).tally().plain())
    each = [
        put(Readout(d, partitions=frozenset({p}), lists=PARTS, events=PARTS), queue).tally()
        for p, queue in queues.items()
    ]
    assert sum(each[1:], each[0]).plain() == found[0]
    assert found[1:] == found[:2]
    assert found[0]["lost"] == 0


@pytest.mark.parametrize("unit", ["user", "session"])
def test_who_is_packed_comes_back_as_who_never_was(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queues = queues_of(busy(7, unit))
    found = []
    for every in (1, 10**9):
        monkeypatch.setattr(fold, "FORGET_EVERY", every)
        readout = Readout(definition(unit=unit), lists=PARTS, events=PARTS)
        put(readout, (pair for queue in queues.values() for pair in queue))
        found.append(readout.tally().plain())
        assert any(p.units.users.resting for p in readout._partitions.values()) == (every == 1)
    assert found[0] == found[1]


def test_more_users_than_may_be_remembered_are_an_error_that_says_what_to_do() -> None:
    t = Tape()
    for n in range(40):
        t.add(n, "a", user=f"u{n}", shown="b")
    queues = queues_of(t)
    pairs = [pair for queue in queues.values() for pair in queue]
    with pytest.raises(InputError, match=r"at most 25 users .* got \d+; .*--partition .*--merge, or raise --max-users"):
        put(Readout(definition(), lists=PARTS, events=PARTS, max_users=25), pairs)
    each = [
        put(
            Readout(definition(), partitions=frozenset({p}), lists=PARTS, events=PARTS, max_users=25), queues[p]
        ).tally()
        for p in range(PARTS)
    ]
    assert sum(each[1:], each[0]).total("ctr", "new").n == 40
    with pytest.raises(InputError, match="at most 3 users"):
        put(Readout(definition(), lists=PARTS, events=PARTS, max_users=3), pairs[:5]).tally()


def test_lists_whose_events_are_gone_are_remembered_no_longer_than_others() -> None:
    readout = Readout(definition())
    readout.passed(0, 10_000)
    t = Tape()
    for n in range(2_000):
        t.add(n * 3_600, "a", user=f"u{n}", shown="b")
        readout.take_list(msgspec.json.encode(t.records[n][1]))
    [part] = readout._partitions.values()
    assert part.units.users.active < 24 * 18, "17 days, and some"
    assert readout.users < 24 * 18 + 2_000 / fold.RESTING + 1
    assert readout.tally().total("ctr", "new").n == 2_000


def test_lists_that_were_asked_for_reach_the_limit_too() -> None:
    """Of users who never send an event that is left."""
    readout = Readout(definition(), max_users=50)
    answer = {
        "request_id": "r",
        "user_id": "c",
        "timestamp": START,
        "items": [],
        "caused_by": {"partition": 0, "offset": 0},
    }
    readout.take_list(msgspec.json.encode(answer))
    gets = [asked(n, f"u{n}", (0, 0)) for n in range(100)]
    with pytest.raises(InputError, match="at most 50 users"):
        deque(map(readout.take_list, gets))


def test_one_time_that_is_far_ahead_makes_nobody_rest() -> None:
    clicked = []
    for wrong in (False, True):
        t = Tape()
        for n in range(200):
            t.add(3_650 * DAY if wrong and n == 0 else n, "b", user=f"u{n % 20}", shown="b")
        found = t.play().tally()
        assert found.lost == 0
        clicked.append(found.total("ctr", "new").totals[0] >> 32)
    assert clicked == [180, 179]


def test_users_with_times_far_ahead_keep_nobody_else_from_resting() -> None:
    t = Tape()
    t.add(3_650 * DAY, "a", user="wrong", shown="b")
    for n in range(400):
        t.add(n * DAY, "a", user=f"u{n}", shown="b")
    [part] = t.play()._partitions.values()
    assert part.units.users.active < 40


def test_lists_that_are_read_late_make_nobody_rest_meanwhile() -> None:
    """Those of one partition of `recommendations` are read a year ahead of those of the other."""
    t = Tape()
    for n in range(400):
        t.add(n * DAY, "b", user="ahead" if n % 2 else "behind", shown="b")
    found = []
    for first in (0, 1):
        readout = Readout(definition(), lists=2)
        for n, (event, _) in enumerate(t.records):
            readout.take_event(msgspec.json.encode(event), Source(0, n))
        for n in (first, 1 - first):
            for _, made in t.records[n::2]:
                readout.take_list(msgspec.json.encode(made), n)
        found.append(readout.tally().plain())
    assert found[0] == found[1]
    assert found[0]["lost"] == 0


def test_an_event_that_is_weeks_behind_is_told_of() -> None:
    t = Tape()
    t.add(0, "a", shown="b")
    for n in range(30):
        t.add((n + 30) * DAY, "a", user="v", shown="b")
    assert t.play().tally().lost == 0
    t.add(10, "b", shown="b")
    found = t.play().tally()
    assert found.lost == 1
    assert found.total("ctr", "new").n == 2


def test_what_is_packed_is_small_and_whole() -> None:
    units = Units(definition())
    user = units.users.at("u", START)
    user.units["u"] = Unit("new", 3, START, (0.0, 2.5, *[1.0] * 6), now=[1.0, -3.75, 2.0, 4.0, 1.0, 3.0, 0.0, 0.0])
    packed = pack(user, "u")
    assert packed is not None
    assert len(packed) < 80
    found, last_ms, lists = unpack(packed, "u")
    unit = found.units["u"]
    assert (unit.variant, unit.ramp, unit.first_ms, unit.now, unit.before, last_ms, lists) == (
        *("new", 3, START, user.units["u"].now, user.units["u"].before),
        *(START, 0),
    )
    assert pack(units.users.at("nobody", START), "nobody") is None


def test_strangers_are_kept_or_lost_by_one_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "STRANGERS", 40)
    t = Tape()
    for n in range(200):
        t.add(n, "x", user=f"s{n}", shown="b")
    queues = queues_of(t)
    gets = [asked(n, f"s{n}") for n in range(200)]

    def read(parts: Iterable[int], wanted: frozenset[int] | None) -> Tally:
        readout = Readout(definition(), partitions=wanted, lists=PARTS, events=PARTS)
        for n, get in enumerate(gets):
            readout.take_list(get, home(f"s{n}"))
        assert readout._strangers.lists <= 40
        return put(readout, (pair for p in parts for pair in queues[p])).tally()

    whole = read(range(PARTS), None)
    each = [read([p], frozenset({p})) for p in range(PARTS)]
    assert whole.lost == 160
    assert sum(each[1:], each[0]).plain() == whole.plain()


def test_few_lists_of_a_stranger_are_kept_and_each_once() -> None:
    readout = Readout(definition())
    for n in [*range(8), 7, 7]:
        readout.take_list(asked(n, "s"))
    assert (readout._strangers.lists, readout.tally().lost) == (strangers.KEPT, 8 - strangers.KEPT)


def test_a_user_who_is_not_where_the_key_says_is_an_error_if_lists_may_be_elsewhere() -> None:
    t = Tape()
    t.add(0, "x", user="somebody@example", shown="b")
    elsewhere = (home("somebody@example") + 1) % PARTS
    readout = Readout(definition(), partitions=frozenset({elsewhere}), events=PARTS)
    event, made = t.records[0]
    assert made is not None
    assert made.caused_by is not None
    cause = msgspec.structs.replace(made.caused_by, partition=elsewhere)
    put(
        readout,
        [
            (
                elsewhere,
                0,
                msgspec.json.encode(event),
                msgspec.json.encode(msgspec.structs.replace(made, caused_by=cause)),
            )
        ],
    )
    assert readout.tally().events == 1
    readout.take_list(asked(0, "somebody@example"))
    with pytest.raises(InputError, match="read all partitions with one reader") as found:
        readout.tally()
    assert f"got a user of another one in partition {elsewhere};" in str(found.value)
    assert "somebody@example" not in str(found.value), "a message is no place for an address"
