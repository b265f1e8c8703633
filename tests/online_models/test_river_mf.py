"""River's BiasedMF behind our adapter: planted ratings, River as the oracle, state, caps, hostile input."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from online_models.errors import InputError, SnapshotError
from online_models.river_mf import RiverBiasedMF

ALL = np.arange(64, dtype=np.int32)


def rows(*items: int) -> Any:
    return np.array(items, np.int32)


def train(model: RiverBiasedMF, n: int, seed: int = 0, users: int = 50, items: int = 40) -> RiverBiasedMF:
    rng = np.random.default_rng(seed)
    for _ in range(n):
        model.learn_one(int(rng.integers(users)) << 40, int(rng.integers(items)), float(rng.integers(1, 6)))
    return model


def frozen(model: RiverBiasedMF) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in model.snapshot().items()}


def test_planted_ratings_are_found() -> None:
    rng = np.random.default_rng(1)
    taste, kind, good = rng.choice([-1.0, 1.0], 80), rng.choice([-1.0, 1.0], 60), rng.normal(0, 0.4, 60)
    model = RiverBiasedMF(n_factors=8)
    errors, plain = [], []
    for step in range(16_000):
        u, i = int(rng.integers(80)), int(rng.integers(60))
        y = 3.0 + good[i] + taste[u] * kind[i] + rng.normal(0, 0.1)
        if step >= 12_000:
            errors.append((y - float(model.score(u, rows(i))[0])) ** 2)
            plain.append((y - 3.0 - good[i]) ** 2)
        model.learn_one(u, i, y)
    assert np.mean(plain) > 0.9  # biases alone cannot know it
    assert np.mean(errors) < 0.15
    fan = int(np.flatnonzero(taste > 0)[0])
    best, scores = model.recommend(fan, 15, np.arange(60, dtype=np.int32))
    assert np.mean(kind[best] > 0) > 0.9
    assert (np.diff(scores) <= 0).all()


def test_scores_are_those_of_river() -> None:
    model = train(RiverBiasedMF(), 800)
    river, unit = model._mf, model._unit
    for user in list(river.u_biases)[:20]:
        known = sorted(river.i_biases)
        expected = [river.predict_one(user, item) * unit for item in known]
        np.testing.assert_allclose(model.score(user, np.array(known, np.int32)), expected, rtol=1e-6)


def test_scoring_changes_nothing() -> None:
    model = train(RiverBiasedMF(), 500)
    river = model._mf
    tables = (river.u_biases, river.u_latents, river.i_biases, river.i_latents)
    before, sizes = frozen(model), [len(t) for t in tables]
    for user in (0, 1 << 40, 12345, (1 << 64) - 1):
        model.score(user, rows(0, 39, 40, 63, 10_000_000, -1))
        model.recommend(user, 5, ALL)
    assert frozen(model) == before
    assert [len(t) for t in tables] == sizes


def test_strangers_get_the_average_of_what_is_known() -> None:
    model = train(RiverBiasedMF(), 500)
    river, unit = model._mf, model._unit
    mean = river.global_mean.get() * unit
    scores = model.score(999, rows(3, 50, 1 << 30, -1))
    assert scores[0] == pytest.approx(mean + river.i_biases[3] * unit)
    assert scores[1:] == pytest.approx(mean)
    assert RiverBiasedMF().score(1, rows(0, 1)).tolist() == [0.0, 0.0]
    assert len(model.score(1, rows())) == 0


def test_ties_go_to_the_lower_row_and_k_may_be_anything() -> None:
    model = train(RiverBiasedMF(), 100)
    assert model.recommend(7, 3, rows(63, 50, 61, 49))[0].tolist() == [49, 50, 61]
    assert model.recommend(7, 9, rows(63, 50))[0].tolist() == [50, 63]
    assert len(model.recommend(7, 0, ALL)[0]) == len(model.recommend(7, 5, rows())[0]) == 0


def test_recommend_is_the_sorted_scores() -> None:
    model = train(RiverBiasedMF(), 2000)
    scores = model.score(3 << 40, ALL)
    order = np.lexsort((ALL, -scores))[:20]
    items, got = model.recommend(3 << 40, 20, ALL[::-1].copy())
    assert items.tolist() == order.tolist()
    assert got.tobytes() == scores[order].tobytes()


def test_a_restored_model_scores_and_learns_on_identically() -> None:
    model = train(RiverBiasedMF(seed=5, max_users=40, max_items=30), 700)
    state = {name: a.copy() for name, a in model.snapshot().items()}
    other = train(RiverBiasedMF(seed=5, max_users=40, max_items=30), 50, seed=9)
    other.restore(state)
    assert other.score(1 << 40, ALL).tobytes() == model.score(1 << 40, ALL).tobytes()
    assert frozen(other) == frozen(model)
    for m in (model, other):
        train(m, 700, seed=3, users=60)
        m.learn_one(1, 1, 80.0)  # a new unit
        train(m, 200, seed=4)
    assert frozen(other) == frozen(model)
    assert other.recommend(2 << 40, 10, ALL)[0].tolist() == model.recommend(2 << 40, 10, ALL)[0].tolist()


def test_a_snapshot_is_no_view_of_the_living_model() -> None:
    model = train(RiverBiasedMF(), 300)
    state = model.snapshot()
    before = {name: a.tobytes() for name, a in state.items()}
    restored = RiverBiasedMF()
    restored.restore(state)
    train(model, 300, seed=2)
    train(restored, 300, seed=3)
    assert {name: a.tobytes() for name, a in state.items()} == before


def test_an_empty_model_can_be_saved_and_restored() -> None:
    model = RiverBiasedMF()
    model.restore(RiverBiasedMF().snapshot())
    assert frozen(train(model, 50)) == frozen(train(RiverBiasedMF(), 50))


@pytest.mark.parametrize("other", [RiverBiasedMF(n_factors=8), RiverBiasedMF(seed=2)])
def test_a_snapshot_of_another_model_is_refused(other: RiverBiasedMF) -> None:
    with pytest.raises(SnapshotError, match="set them alike"):
        RiverBiasedMF().restore(other.snapshot())


def test_the_least_recently_rated_are_forgotten_first() -> None:
    model = RiverBiasedMF(max_users=3, max_items=3)
    for user, item in ((1, 10), (2, 11), (3, 12), (1, 10), (4, 13)):
        model.learn_one(user, item, 3.0)
    assert model.snapshot()["users"].tolist() == [3, 1, 4]
    assert model.snapshot()["items"].tolist() == [12, 10, 13]
    assert (model.n_users, model.n_items) == (3, 3)
    river = model._mf
    assert {len(t) for t in (river.u_biases, river.u_latents, river.i_biases, river.i_latents)} == {3}


def test_memory_is_bounded() -> None:
    model = RiverBiasedMF(max_users=50, max_items=20, max_row=5000)
    for step in range(3000):
        model.learn_one(step * 7919, step * 31 % 5000, 1.0 + step % 5)
    assert (model.n_users, model.n_items) == (50, 20)
    assert len(model._slot_of) <= 5000
    assert len(model._factors) == 20
    assert model.nbytes < 100_000
    with pytest.raises(InputError, match="max_row"):
        model.learn_one(1, 5000, 3.0)


def test_smaller_caps_keep_the_latest() -> None:
    model = train(RiverBiasedMF(), 500)
    small = RiverBiasedMF(max_users=10, max_items=5)
    small.restore(model.snapshot())
    assert small.snapshot()["users"].tolist() == model.snapshot()["users"][-10:].tolist()
    kept = model.snapshot()["items"][-5:]
    user = int(model.snapshot()["users"][-1])
    assert small.score(user, kept).tobytes() == model.score(user, kept).tobytes()


def test_compaction_of_the_item_table_moves_what_was_learned() -> None:
    model = train(RiverBiasedMF(max_items=40), 900)
    new_index = np.full(40, -1, np.int32)
    new_index[5:40] = np.arange(34, -1, -1)  # five gone, the rest reversed
    before = model.score(1 << 40, ALL)
    model.remap(new_index)
    after = model.score(1 << 40, np.arange(35, dtype=np.int32))
    assert after.tobytes() == before[5:40][::-1].tobytes()
    assert model.n_items == 35
    assert model.score(1 << 40, rows(36))[0] == model.score(1 << 40, rows(63))[0]
    twin = RiverBiasedMF(max_items=40)
    twin.restore(model.snapshot())
    for m in (model, twin):  # slots are used again, and River's vectors are still the rows that are scored
        train(m, 400, seed=8)
    assert frozen(model) == frozen(twin)
    test = np.array(sorted(model._mf.i_biases), np.int32)
    expected = [model._mf.predict_one(1 << 40, int(i)) * model._unit for i in test]
    np.testing.assert_allclose(model.score(1 << 40, test), expected, rtol=1e-6)


def test_a_compaction_that_merges_rows_is_refused() -> None:
    model = train(RiverBiasedMF(), 100)
    before = frozen(model)
    with pytest.raises(InputError, match="compaction"):
        model.remap(np.zeros(40, np.int32))
    assert frozen(model) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(value: float) -> None:
    model = train(RiverBiasedMF(), 50)
    before = frozen(model)
    with pytest.raises(InputError, match="finite"):
        model.learn_one(1, 1, value)
    assert frozen(model) == before


@pytest.mark.parametrize(("user", "item"), [(-1, 0), (1 << 64, 0), (0, -1)])
def test_ids_out_of_range_are_refused(user: int, item: int) -> None:
    with pytest.raises(InputError):
        RiverBiasedMF().learn_one(user, item, 3.0)


@pytest.mark.parametrize("limit", [100.0, 1e90])
def test_hostile_ratings_cannot_blow_it_up(limit: float) -> None:
    rng = np.random.default_rng(3)
    model = RiverBiasedMF(lr=0.1, l2=0.0, limit=limit, init=2.0)
    for step in range(4000):
        value = float(rng.choice([-1e308, 1e308, 1.0, 5.0, 0.0, 1e-300]))
        model.learn_one(int(rng.integers(4)), int(rng.integers(4)), value)
        if step % 100 == 0:
            with np.errstate(over="ignore"):  # a limit of 1e90 is beyond float32
                scores = model.score(int(rng.integers(4)), ALL).astype(np.float64)
            assert not np.isnan(scores).any()
            assert np.linalg.norm(model.snapshot()["item_factors"], axis=1).max() <= 2.0 + 1e-9
    state = model.snapshot()
    assert all(np.isfinite(a).all() for a in state.values())
    if limit == 100.0:
        assert np.abs(model.score(0, ALL)).max() <= 32 * (4 + 8 + 8 + 4)


@pytest.mark.parametrize("side", ["user", "item"])
def test_a_chain_of_contradictions_cannot_push_biases_on_and_on(side: str) -> None:
    model = RiverBiasedMF(lr=0.1, l2=0.0, init=0.0)
    for _ in range(300):
        for link in range(12):  # each link asks for biases 200 further out
            for left, right, value in ((link, link, 100.0), (link, link + 1, -100.0)):
                model.learn_one(*((left, right) if side == "user" else (right, left)), value)
    biases = model.snapshot()[f"{side}_bias"], model.snapshot()[f"{'item' if side == 'user' else 'user'}_bias"]
    assert max(abs(b).max() for b in biases) <= 8.0
    assert min(abs(b).max() for b in biases) > 6.0


def test_one_rating_takes_one_short_step_however_wrong_the_model_was() -> None:
    model = RiverBiasedMF(lr=0.1, l2=0.0)
    model.learn_one(1, 1, 100.0)
    state = model.snapshot()
    state["user_bias"][:] = state["item_bias"][:] = 8.0
    model.restore(state)
    model.learn_one(1, 1, -100.0)
    assert model.snapshot()["user_bias"] == pytest.approx(8.0 - 0.1 * 8.0)


def test_a_larger_rating_changes_the_unit_and_no_prediction() -> None:
    model = train(RiverBiasedMF(), 600)
    before = model.score(2 << 40, ALL)
    model._widen(90.0)
    assert model._unit == 32.0
    np.testing.assert_allclose(model.score(2 << 40, ALL), before, rtol=1e-5)


def test_ratings_in_other_units_are_learned_alike() -> None:
    ones, tens = RiverBiasedMF(), RiverBiasedMF()
    rng = np.random.default_rng(0)
    ones.learn_one(0, 0, 5.0)
    tens.learn_one(0, 0, 80.0)
    for _ in range(500):
        u, i, y = int(rng.integers(20)), int(rng.integers(20)), float(rng.integers(1, 6))
        ones.learn_one(u, i, y)
        tens.learn_one(u, i, 16 * y)
    np.testing.assert_array_equal(tens.score(3, ALL), 16 * ones.score(3, ALL))


@pytest.mark.parametrize("bad", [{"lr": 0.0}, {"lr": 5.0}, {"n_factors": 1}, {"max_users": 0}, {"limit": float("inf")}])
def test_settings_that_cannot_work_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        RiverBiasedMF(**bad)


def test_the_seed_decides() -> None:
    assert frozen(train(RiverBiasedMF(seed=1), 100)) == frozen(train(RiverBiasedMF(seed=1), 100))
    one, two = train(RiverBiasedMF(seed=1), 100), train(RiverBiasedMF(seed=2), 100)
    assert one.score(1 << 40, ALL).tobytes() != two.score(1 << 40, ALL).tobytes()


SCRIPT = """
import hashlib
import numpy as np
from online_models.river_mf import RiverBiasedMF
model = RiverBiasedMF(max_users=30)
rng = np.random.default_rng(0)
for _ in range(300):
    model.learn_one(int(rng.integers(50)) * 0x9E3779B97F4A7, int(rng.integers(40)), 3.5)
print(hashlib.sha256(b"".join(a.tobytes() for a in model.snapshot().values())).hexdigest())
"""


def test_the_hash_seed_of_python_plays_no_part() -> None:
    digests = set()
    for seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
        digests.add(run.stdout)
    assert len(digests) == 1
