"""Deep versions in the stream: rows and items, newcomers, restarts, compaction; and that nothing meets what it must not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from online_models import embeddings
from online_models.alignment import Heritage, inherit, rotation
from online_models.base import OWN, Observation, Query
from online_models.deep import Deep, Version
from online_models.embeddings import Trained
from online_models.errors import ArtefactError
from online_models.items import ItemTable
from online_models.newcomers import Newcomers
from online_models.prepared import prepare
from tests.versions import artefact, vectors_of, version

GROUPS = [n % 4 for n in range(40)]
IDS = [f"i{n}" for n in range(40)]


def table_of(count: int = 40, start: int = 0) -> ItemTable:
    table = ItemTable()
    for n in range(start, start + count):
        table.add(f"i{n}", 0)
    return table


def query(table: ItemTable, recent: list[int], v: Version | None, in_session: int | None = None) -> Query:
    return Query(
        0, np.zeros(0, OWN), np.array(recent, np.int32), np.zeros(len(recent), np.int64), table.blocked, np.zeros(4, np.float32),
        len(table), in_session=len(recent) if in_session is None else in_session, version=v,
        sequence=np.array(recent[:in_session][::-1], np.int32),
    )  # fmt: skip


def best(table: ItemTable, recent: list[int], v: Version, k: int = 9) -> list[str]:
    items, scores = np.empty((1, k), np.int32), np.empty((1, k), np.float32)
    counts = np.zeros(1, np.int32)
    Deep(table).candidates(query(table, recent, v), items, scores, counts)
    return [table.ids[row] for row in items[0, : counts[0]].tolist()]


def seen(item: int, history: list[int]) -> Observation:
    before = np.array(history, np.int32)
    return Observation(item, 1.0, 0, 1, 1, before, np.zeros(len(before), np.int64), len(before), sequence=before[::-1])


def test_items_of_the_group_come_first_whatever_the_rows_are(tmp_path: Path) -> None:
    order = np.random.default_rng(3).permutation(40).tolist()
    v = version(tmp_path / "a", table := table_of(), [IDS[n] for n in order], vectors_of(GROUPS)[order])
    for item in (0, 1, 2, 3):
        found = best(table, [item], v)
        assert {int(i[1:]) % 4 for i in found} == {item}


def test_an_item_that_the_table_learns_later_is_found_and_one_it_does_not_have_is_not(tmp_path: Path) -> None:
    table = table_of(20)
    v = version(tmp_path / "a", table, IDS, vectors_of(GROUPS))
    assert {int(i[1:]) for i in best(table, [0], v, 30)} <= set(range(20))
    row = table.add("i36", 0)
    v.catch_up()
    assert "i36" in best(table, [0], v)
    assert best(table, [row], v)[:1] != []


def test_a_user_of_unknown_items_gets_nothing_and_no_version_gives_nothing(tmp_path: Path) -> None:
    table = table_of()
    stranger = table.add("stranger", 0)
    v = version(tmp_path / "a", table, IDS, vectors_of(GROUPS))
    assert best(table, [stranger], v) == []
    counts = np.full(1, 7, np.int32)
    Deep(table).candidates(query(table, [0], None), np.empty((1, 3), np.int32), np.empty((1, 3), np.float32), counts)
    assert counts[0] == 0


def test_a_session_that_has_just_begun_asks_by_the_latest_item_alone(tmp_path: Path) -> None:
    table = table_of()
    v = version(tmp_path / "a", table, IDS, vectors_of(GROUPS))
    items, scores, counts = np.empty((1, 9), np.int32), np.empty((1, 9), np.float32), np.zeros(1, np.int32)
    Deep(table).candidates(query(table, [0, 1, 1, 1], v, in_session=0), items, scores, counts)
    assert {row % 4 for row in items[0, : counts[0]].tolist()} == {0}


def test_a_newcomer_gets_a_vector_from_the_sessions_that_lead_to_it(tmp_path: Path) -> None:
    table = table_of()
    v = version(tmp_path / "a", table, IDS, vectors_of(GROUPS))
    new = table.add("new", 0)
    v.catch_up()
    for n in range(5):
        v.learn_one(seen(new, [4 * n + 2, 4 * n + 6]))
    assert "new" in best(table, [2], v, 12)
    assert "new" not in best(table, [1], v, 9)
    near = np.zeros(2, np.float32)
    v.nearness(query(table, [2], v), np.array([new, 1], np.int32), near)
    assert near[0] > 0.8 > near[1]
    assert np.linalg.norm(v.newcomers.vectors[v.newcomers.slot_of[new]]) <= v.newcomers.length * 1.001


def test_a_session_of_which_the_encoder_makes_too_long_a_query_is_answered_by_others(tmp_path: Path) -> None:
    """No check of weights and vectors by themselves can say how long a query gets; scores of it may be no numbers."""
    table, vectors = table_of(), vectors_of(GROUPS)
    vectors[30] *= 1e8
    v = gated(tmp_path / "a", table, vectors, 1e6)
    new = table.add("new", 0)
    v.catch_up()
    v.learn_one(seen(new, [30]))
    assert v.newcomers.used == v.newcomers.queries == 0
    assert best(table, [30], v) == []
    assert best(table, [2], v)[0] == "i30"
    near = np.ones(1, np.float32)
    v.nearness(query(table, [30], v), np.array([1], np.int32), near)
    assert near[0] == 0.0


def gated(folder: Path, table: ItemTable, vectors: np.ndarray, gate: float) -> Version:
    embeddings.write(
        folder, kind="neumf", ids=IDS, vectors=vectors, trained=Trained(0, 0, 100), created=1,
        encoder={"gate": np.full(16, gate, np.float32)}, description={"kind": "neumf", "config": {"length": 5, "decay": 0.8}},
    )  # fmt: skip
    return Version(prepare(folder), table)


@pytest.mark.parametrize("gate", [1e12, 3e38])
def test_a_version_whose_queries_are_too_long_is_refused(tmp_path: Path, gate: float) -> None:
    with pytest.raises(
        ArtefactError, match=r"a query no longer than 1e\+09 for a session of 1 events, got one of length"
    ):
        gated(tmp_path / "a", table_of(), vectors_of(GROUPS), gate)


@pytest.mark.parametrize("size", [1e-30, 1e-13, 4e8])
def test_neither_small_nor_large_vectors_give_what_is_no_number(tmp_path: Path, size: float) -> None:
    table = table_of()
    v = version(tmp_path / "a", table, IDS, vectors_of(GROUPS) * np.float32(size))
    items, scores, counts = np.empty((1, 9), np.int32), np.empty((1, 9), np.float32), np.zeros(1, np.int32)
    Deep(table).candidates(query(table, [0], v), items, scores, counts)
    near = np.zeros(40, np.float32)
    v.nearness(query(table, [0], v), np.arange(40, dtype=np.int32), near)
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(np.square(scores[0, : counts[0]])).all()
    assert np.isfinite(near).all()
    assert (np.abs(near) < 1.01).all()


def test_newcomers_do_not_crowd_out_trained_items_where_queries_resemble_one_another(tmp_path: Path) -> None:
    """Mean queries lie near every query, nearer than items do, unless what all queries have in common is taken off."""
    table = table_of()
    vectors = vectors_of(GROUPS, noise=2.0)
    vectors[:, -1] += 4.0  # what all have in common
    v = version(tmp_path / "a", table, IDS, vectors)
    rng = np.random.default_rng(5)
    for n in range(60):
        new = table.add(f"new{n}", 0)
        v.catch_up()
        for _ in range(6):
            v.learn_one(seen(new, rng.integers(0, len(IDS), 5).tolist()))
    named = [item for _ in range(20) for item in best(table, rng.integers(0, len(IDS), 5).tolist(), v, 10)]
    assert sum(item.startswith("new") for item in named) < len(named) / 2


def test_trained_items_and_events_without_a_session_teach_nothing(tmp_path: Path) -> None:
    table = table_of()
    v = version(tmp_path / "a", table, IDS, vectors_of(GROUPS))
    new = table.add("new", 0)
    v.catch_up()
    v.learn_one(seen(3, [2]))
    v.learn_one(seen(new, []))
    assert v.newcomers.used == 0


def test_newcomers_are_bounded_and_the_oldest_makes_room() -> None:
    new = Newcomers(4, 1.0, capacity=3)
    for item in range(5):
        new.learn(item, np.eye(4, dtype=np.float32)[item % 4])
    assert [int(new.slot_of[item]) >= 0 for item in range(5)] == [False, False, True, True, True]
    assert new.used == 3


def test_compaction_moves_everything_along(tmp_path: Path) -> None:
    table = table_of()
    v = version(tmp_path / "a", table, IDS, vectors_of(GROUPS))
    new = table.add("new", 0)
    v.catch_up()
    v.learn_one(seen(new, [2, 6]))
    for row in range(10, len(table)):
        table.touch(row, 0)
    before = best(table, [14], v)
    gone = {f"i{n}" for n in range(4, 10)}
    v.remap(table.compact())
    assert not gone & table.index.keys()
    row = table.row("i14")
    assert [i for i in best(table, [row], v) if i not in gone][:5] == [i for i in before if i not in gone][:5]
    assert v.generation == table.generation
    assert v.newcomers.slot_of[table.row("new")] >= 0
    back = table.add("i6", 0)
    v.catch_up()
    assert v.row_of[back] == 6
    assert "i6" in best(table, [row], v, 12)


def test_a_version_made_while_the_table_changes_is_of_the_table_as_it_stood(tmp_path: Path) -> None:
    table = table_of(8)
    artefact(tmp_path / "a", IDS, vectors_of(GROUPS))
    ready, standing = prepare(tmp_path / "a"), table.standing
    table.add("i30", 0)
    table.add("i31", 0)
    v = Version(ready, table, standing)
    v.catch_up()
    assert v.row_of[: len(table)].tolist() == [*range(8), 30, 31]
    table.compact()
    assert Version(ready, table, standing).generation != table.generation, "not to be used"


def test_a_snapshot_gives_the_live_versions_newcomers_back(tmp_path: Path) -> None:
    table = table_of()
    deep = Deep(table)
    v = version(tmp_path / "a", table, IDS, vectors_of(GROUPS))
    deep.follow(v)
    new = table.add("new\nline", 0)
    deep.know(new, table.hash_of(new))
    deep.learn_one(seen(new, [2, 6]))
    state = {name: array.copy() for name, array in deep.snapshot().items()}
    again = Deep(table)
    again.restore(state)
    assert all((again.snapshot()[name] == array).all() for name, array in state.items()), "kept until the version comes"
    other = version(tmp_path / "b", table, IDS, vectors_of(GROUPS))
    for _ in range(2):  # the item table may be compacted meanwhile: once more
        kept = again.kept_for(other)
        assert kept is not None
    other.newcomers.take(kept)
    assert np.array_equal(
        other.newcomers.vectors[other.newcomers.slot_of[new]], v.newcomers.vectors[v.newcomers.slot_of[new]]
    )
    strange = version(tmp_path / "c", table, IDS, vectors_of(GROUPS, seed=9))
    assert again.kept_for(strange) is None, "of another version"
    again.follow(None, strange)
    assert again.snapshot().keys() == state.keys(), "its own may still come"
    again.follow(other)
    assert again.kept_for(other) is None


def test_the_rotation_is_found() -> None:
    rng = np.random.default_rng(1)
    old = rng.normal(size=(200, 8)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0].astype(np.float32)
    new = old @ turn
    new[150:] = rng.normal(size=(50, 8))
    weights = np.ones(200)
    weights[150:] = 1e-6
    assert np.allclose(rotation(old, new, weights), turn, atol=1e-3)


@pytest.mark.parametrize("met", [1, 9])
def test_of_an_item_that_both_have_met_the_vector_of_more_sessions_stays(tmp_path: Path, met: int) -> None:
    table = table_of()
    before, after = (version(tmp_path / n, table, IDS, vectors_of(GROUPS)) for n in ("a", "b"))
    new = table.add("new", 0)
    for v, sessions in ((before, 4), (after, met)):
        v.catch_up()
        for n in range(sessions):
            v.learn_one(seen(new, [4 * n + 2]))
    assert inherit(Heritage.of(before, table.count), after).taken == (met < 4)
    assert after.newcomers.count[after.newcomers.slot_of[new]] == max(met, 4)
    assert after.newcomers.queries == met, "the mean of its own queries stays"


@pytest.mark.parametrize("dims", [16, 12])
def test_what_was_learned_online_is_turned_into_the_new_space_or_dropped(tmp_path: Path, dims: int) -> None:
    table = table_of()
    old = vectors_of(GROUPS)
    before = version(tmp_path / "a", table, IDS, old)
    new, trained = table.add("new", 0), table.add("late", 0)
    before.catch_up()
    for n in range(4):
        before.learn_one(seen(new, [4 * n + 2]))
        before.learn_one(seen(trained, [4 * n + 1]))
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(16, 16)))[0].astype(np.float32)
    fresh = (3.0 * old @ turn)[:, :dims]
    after = version(tmp_path / "b", table, [*IDS, "late"], np.concatenate([fresh, fresh[:1]]))
    found = inherit(Heritage.of(before, table.count), after)
    if dims != 16:
        assert (found.taken, found.dropped) == (0, 1)
        assert after.newcomers.used == 0
        return
    assert (found.taken, found.dropped) == (1, 0)
    assert found.fit > 0.99
    assert after.newcomers.slot_of[trained] < 0, "the new version was trained with it"
    assert "new" in best(table, [2], after, 12)
    assert "new" not in best(table, [1], after, 9)
