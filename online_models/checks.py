"""What every `Source` has to keep, as named checks. Each builds sources of its own and feeds them a small made-up log.

A check is a function of a builder, a call without arguments that makes a fresh source; it raises `ContractError` if the
source breaks what the check's name says. Give caps so small that a few thousand observations reach them.

>>> from online_models.recency import Recency
>>> candidates_change_nothing(Recency)
>>> len(all_checks()) > 10
True

A model whose rows start from the item's id may have ``know(row, id_hash)``, called before a row is first learned; one
that uses the user's factor vector says its length in ``dims``.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable

import numpy as np

from ._made_up import ITEMS, Builder, World, compaction, dims, feed, know, made, moved
from .base import Arrays, FloatArray, IntArray, Query, Source
from .errors import ContractError

Check = Callable[[Builder], None]
Lists = list[tuple[list[int], bytes]]
"""For each list of a source: the rows, and the bytes of the scores."""


def all_checks() -> tuple[Check, ...]:
    """Every check, in the order of this file."""
    return tuple(
        f for f in globals().values() if inspect.isfunction(f) and [*inspect.signature(f).parameters] == ["build"]
    )


def _hold(ok: bool, expected: str, actual: object, remedy: str = "mend the source") -> None:
    if not ok:
        raise ContractError(expected, str(actual), remedy)


def _frozen(source: Source) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in source.snapshot().items()}


def _copied(source: Source) -> Arrays:
    return {name: a.copy() for name, a in source.snapshot().items()}


def _filled(source: Source, q: Query, k: int) -> tuple[IntArray, FloatArray, IntArray]:
    """Buffers as the source leaves them; before, they hold what cannot be an answer."""
    n = len(source.lists)
    items, scores = np.full((n, k), -7, np.int32), np.full((n, k), np.nan, np.float32)
    counts = np.full(n, -1, np.int32)
    source.candidates(q, items, scores, counts)
    return items, scores, counts


def _ask(source: Source, q: Query, k: int = 20) -> Lists:
    items, scores, counts = _filled(source, q, k)
    return [(items[s, :n].tolist(), scores[s, :n].tobytes()) for s, n in enumerate(counts.tolist())]


def _answers(source: Source, world: World) -> list[Lists]:
    return [_ask(source, q) for q in world.queries(dims(source))]


def _well_formed(source: Source, q: Query, k: int) -> None:
    items, scores, counts = _filled(source, q, k)
    for s, name in enumerate(source.lists):
        n = int(counts[s])
        _hold(0 <= n <= k, f"a count of {name} from 0 to {k}", n, "set counts for every list at every request")
        rows, values = items[s, :n], scores[s, :n].astype(np.float64)
        _hold(bool(((rows >= 0) & (rows < q.n_items)).all()), f"rows of {name} from 0 to {q.n_items - 1}", rows)
        _hold(len(set(rows.tolist())) == n, f"no row twice in {name}", rows)
        _hold(not q.blocked[rows].any(), f"no blocked row in {name}", rows, "look at q.blocked before listing a row")
        _hold(bool(np.isfinite(values).all()), f"finite scores in {name}", values)
        fall, rise = np.diff(values), np.diff(rows)
        _hold(bool((fall <= 0.0).all()), f"{name} best first", values, "sort by score; insert_top does")
        _hold(bool((rise[fall == 0.0] > 0).all()), f"ties of {name} by lower row", (rows, values), "insert_top does it")


def lists_are_well_formed(build: Builder) -> None:
    """Best first, ties by lower row; no row twice, none blocked, none outside the table; counts in bounds, scores finite."""
    world, source = World(), made(build)
    for n in (0, 1, 10, 600):
        feed(source, world.observations(n))
        for q in world.queries(dims(source)):
            for k in (1, 7, 2 * ITEMS):
                _well_formed(source, q, k)
    q.blocked[:] = 1
    _hold(all(not rows for rows, _ in _ask(source, q)), "empty lists where everything is blocked", _ask(source, q))


def longer_lists_begin_with_the_shorter(build: Builder) -> None:
    """How many candidates are asked for does not decide which come first."""
    world, source = World(), made(build)
    feed(source, world.observations(600))
    for q in world.queries(dims(source)):
        for short, long in zip(_ask(source, q, 3), _ask(source, q, ITEMS), strict=True):
            _hold(long[0][:3] == short[0] and long[1].startswith(short[1]), f"a list that begins {short[0]}", long[0])


def candidates_change_nothing(build: Builder) -> None:
    """The state is the same to the bit after any number of requests, and the same request has the same answer."""
    world, source = World(), made(build)
    feed(source, world.observations(400))
    before, first = _frozen(source), _answers(source, world)
    second = _answers(source, world)
    _hold(_frozen(source) == before, "an unchanged snapshot after candidates", "another one", "keep learning out of it")
    _hold(first == second, "the same answer to the same request", "another one")


def arguments_are_left_alone(build: Builder) -> None:
    """Neither observations nor requests are written to; they belong to whoever made them."""
    world, source = World(), made(build)
    observations = world.observations(400)
    had = copy.deepcopy([(o.history, o.ages) for o in observations])
    feed(source, observations)
    for (history, ages), o in zip(had, observations, strict=True):
        same = np.array_equal(history, o.history) and np.array_equal(ages, o.ages)
        _hold(same, "an observation as it was", o, "copy what is changed")
    for q in world.queries(dims(source)):
        fields = ("own", "recent", "recent_ages", "blocked", "vector")
        before = [getattr(q, field).tobytes() for field in fields]
        _ask(source, q)
        for field, was in zip(fields, before, strict=True):
            _hold(getattr(q, field).tobytes() == was, f"q.{field} as it was", getattr(q, field), "copy what is changed")


def scratch_is_handed_back_as_found(build: Builder) -> None:
    """Work arrays are zero again after each request, and nothing is written behind their end."""
    world, source = World(), made(build)
    feed(source, world.observations(400))
    for q in world.queries(dims(source)):
        _ask(source, q)
        _hold(not world.scratch.found_amiss(), "work arrays as found", world.scratch.found_amiss(), "drain_top does it")


def twins_agree(build: Builder) -> None:
    """Two sources that are fed the same hold the same and answer the same, to the bit."""
    world, one, two = World(), made(build), made(build)
    observations = world.observations(500)
    feed(one, observations)
    feed(two, copy.deepcopy(observations))
    _hold(_frozen(one) == _frozen(two), "one snapshot from one log", "two", "draw from the seed and the event alone")
    _hold(_answers(one, world) == _answers(two, world), "one answer from one log", "two")


def a_restored_source_goes_on_as_if_never_interrupted(build: Builder) -> None:
    """After ``restore`` answers, snapshots and all that is learned later are the same to the bit, empty or full."""
    for learned in (0, 1, 250):
        world, source, used = World(), made(build), made(build)
        feed(source, world.observations(learned))
        feed(used, World(seed=9).observations(300))
        restored = (build(), used)
        for other in restored:
            other.restore(_copied(source))
        for _ in range(4):
            for other in restored:
                same = _frozen(other) == _frozen(source)
                _hold(same, "one snapshot of both", "two", "snapshot and restore every field")
                same = _answers(other, world) == _answers(source, world)
                _hold(same, "one answer of both", "two", "snapshot and restore every field")
            observations = world.observations(120)
            for each in (source, *restored):
                feed(each, observations)


def a_restored_source_shares_nothing_with_the_snapshot(build: Builder) -> None:
    """Learning and compaction after ``restore`` do not reach into the arrays that it was given."""
    world, source, other = World(), made(build), build()
    feed(source, world.observations(300))
    state = _copied(source)
    other.restore(state)
    feed(other, world.observations(300))
    other.remap(np.r_[np.full(8, -1), np.arange(ITEMS - 8)].astype(np.int32))
    for name, array in _copied(source).items():
        _hold(array.tobytes() == state[name].tobytes(), f"{name} as it was given", "another", "copy it in restore")


def strangers_are_answered(build: Builder) -> None:
    """A user of whom nothing is known gets well-formed lists, also from a source that has learned nothing."""
    world, source = World(), made(build)
    for n in (0, 300):
        feed(source, world.observations(n))
        before, stranger = _frozen(source), world.queries(dims(source))[-1]
        _hold(len(stranger.own) == stranger.n_events == 0, "a stranger", stranger)
        _well_formed(source, stranger, 20)
        _hold(_frozen(source) == before, "no entry for a stranger", "one")


def rows_never_learned_do_no_harm(build: Builder) -> None:
    """Rows far beyond any that was learned may stand in a history, in a request, and come next."""
    items = 5_000
    known, odd = World(range(16), n_items=items), World(range(4_000, items, 7), seed=1, n_items=items)
    source = made(build, items)
    feed(source, known.observations(200))
    far = odd.observations(200)
    for q in odd.queries(dims(source)):
        _well_formed(source, q, 20)
    for near, o in zip(known.observations(200), far, strict=True):
        near.history, near.ages = o.history, o.ages
        source.learn_one(near)
    for q in (*known.queries(dims(source)), *odd.queries(dims(source))):
        _well_formed(source, q, 20)
    feed(source, far)
    for q in (*known.queries(dims(source)), *odd.queries(dims(source))):
        _well_formed(source, q, 20)
    for world in (known, odd):
        _hold(not world.scratch.found_amiss(), "work arrays as found", world.scratch.found_amiss())


def compaction_keeps_the_rest(build: Builder) -> None:
    """After ``remap`` the items that stayed are listed as before under their new rows, those that went not at all.

    What went was seen first and by others: so it is with the item table. Scores may depend on rows only by order.
    """
    for gone in (range(12), range(1, ITEMS, 4)):
        source, new_index = made(build), compaction(gone)
        feed(source, World(gone, seed=3).observations(200))
        world = World([row for row in range(ITEMS) if row not in gone])
        feed(source, world.observations(600))
        queries = world.queries(dims(source))
        for q in queries:
            q.blocked[list(gone)] = 1
        before = [_ask(source, q) for q in queries]
        source.remap(new_index)
        for q, lists in zip(queries, before, strict=True):
            for (rows, scores), (had, were) in zip(_ask(source, moved(q, new_index)), lists, strict=True):
                expected = new_index[had].tolist()
                _hold(rows == expected, f"{expected} after compaction", rows, "move every array in remap")
                _hold(gone[-1] > 12 or scores == were, "the scores from before compaction", "others")


def compaction_drops_what_is_gone(build: Builder) -> None:
    """After ``remap`` no row beyond the smaller table is listed; learning goes on, in new items too, as after a restart."""
    source, new_index = made(build), compaction(range(0, ITEMS, 3))
    world = World()
    feed(source, world.observations(600))
    source.remap(new_index)
    for q in world.queries(dims(source)):
        _well_formed(source, moved(q, new_index), 2 * ITEMS)
    other = build()
    other.restore(_copied(source))
    after = World(seed=4)
    for _ in range(3):
        for each in (source, other):
            know(each, range(int(new_index.max()) + 1, ITEMS))
        observations = after.observations(200)
        feed(source, observations)
        feed(other, observations)
        _hold(_frozen(source) == _frozen(other), "one snapshot of both", "two", "snapshot what remap changes")
        for q in after.queries(dims(source)):
            _well_formed(source, q, 20)
        for each in (source, other):
            each.remap(new_index)


def memory_is_bounded(build: Builder) -> None:
    """Over a fixed catalogue, with new users and sessions all the time, ``nbytes`` comes to a stop."""
    world, source = World(leave=0.1), made(build)
    feed(source, world.observations(3_000))
    _hold(source.nbytes >= 0, "0 bytes or more", source.nbytes)
    early = max(source.nbytes, 1)
    feed(source, world.observations(6_000))
    _hold(source.nbytes <= 1.05 * early, f"at most {early} bytes", source.nbytes, "give whatever grows a cap")


def nbytes_counts_the_state(build: Builder) -> None:
    """``nbytes`` is no less than what a snapshot holds, but for a tenth."""
    world, source = World(), made(build)
    feed(source, world.observations(600))
    held = sum(a.nbytes for a in source.snapshot().values())
    _hold(source.nbytes >= 0.9 * held, f"at least the {held} bytes of a snapshot", source.nbytes, "count every array")


def digest(source: Source) -> str:
    """One number of all that a fresh source says and holds after a log: the same in every process, under any hash seed."""
    world = World()
    know(source, range(ITEMS))
    feed(source, world.observations(500))
    told = repr((_answers(source, world), sorted(_frozen(source).items())))
    return hashlib.sha256(told.encode()).hexdigest()
