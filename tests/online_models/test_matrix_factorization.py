"""Factors: planted clusters, the softmax gradient in plain numbers, steps that commute, draws that depend on seed and event."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from online_models.items import hash_id
from online_models.matrix_factorization import MatrixFactorization, add_step
from tests.online_models.small import asked, listed, rows, seen

GRID = 2.0**-16
ALL = np.arange(24, dtype=np.int32)


def model(n: int = 24, **settings: Any) -> MatrixFactorization:
    made = MatrixFactorization(**({"dims": 8, "init": 0.5} | settings))
    for row in range(n):
        made.know(row, hash_id(f"i{row}"))
    return made


def noted(made: MatrixFactorization, items: Any) -> MatrixFactorization:
    for item in items:
        made.learn_one(seen(int(item)))
    return made


def frozen(made: MatrixFactorization) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in made.snapshot().items()}


def recents(*items: int) -> Any:
    return np.array(items, np.int32)


def vector(seed: int, dims: int = 8) -> Any:
    drawn = np.random.default_rng(seed).normal(0, 0.5, dims)
    return np.rint(drawn / GRID).astype(np.float32) * np.float32(GRID)


def moment(made: MatrixFactorization, own: Any, recent: Any) -> Any:
    """The user as of now: faded by place, over the root of the sum of the weights."""
    weights = made.fade ** np.arange(len(recent[: made.last]))
    items = made.vectors[recent[: made.last]].astype(float)
    return own + (weights / np.sqrt(weights.sum() or 1.0)) @ items, weights / np.sqrt(weights.sum() or 1.0)


def test_planted_clusters_are_recovered() -> None:
    """Items of four kinds are equally popular; users keep to their kind, so counts alone are right one time in four."""
    rng, made, users = random.Random(0), model(40, dims=16, init=0.1), {}
    last: dict[int, list[int]] = {}
    for step in range(6_000):
        user = rng.randrange(40)
        item = user % 4 + 4 * rng.randrange(10)
        own = users.setdefault(user, np.zeros(16, np.float32))
        recent = recents(*last.get(user, [])[:5])
        steps = made.propose(own, recent, item, hash_id(f"e{step}"))
        made.apply(*steps[:2])
        add_step(own, steps[2])
        made.learn_one(seen(item))
        last[user] = [item, *(i for i in last.get(user, []) if i != item)]
    for user in range(40):
        found = rows(listed(made, asked(last[user][:5], vector=users[user], n_items=40))[0])[:8]
        assert sum(row % 4 == user % 4 for row in found) >= 7
    newcomer = rows(listed(made, asked([6], vector=np.zeros(16, np.float32), n_items=40))[0])[:5]
    assert all(row % 4 == 2 for row in newcomer)  # known by one click


def test_the_moment_is_the_own_vector_and_the_latest_items_faded() -> None:
    made = model(fade=0.5, last=3)
    for recent in (recents(), recents(4), recents(4, 9, 2), recents(4, 9, 2, 7, 1)):
        np.testing.assert_allclose(
            made.moment(vector(1), recent), moment(made, vector(1), recent)[0], rtol=1e-5, atol=1e-6
        )


def test_a_step_goes_down_the_gradient_of_the_softmax() -> None:
    """Against the formula in float64: each item row at a rate of its own, which falls with what it has been stepped."""
    support = 0.05
    for seed in range(20):
        made = noted(model(reg=0.0, negatives=6, last=3), np.random.default_rng(seed).integers(0, 24, 100))
        made.squares[:] = np.random.default_rng(seed).random(len(made.squares))
        own, recent, item = vector(seed), recents(21, 22, 23), 5
        got, steps, user_step = made.propose(own, recent, item, 1000 + seed)
        assert got[0] == item
        assert got[-3:].tolist() == [21, 22, 23]
        drawn = got[1:-3].tolist()
        assert item not in drawn
        now, places = moment(made, own, recent)
        vectors = made.vectors[[item, *drawn]].astype(float)
        p = np.exp(vectors @ now)
        p /= p.sum()
        slope = np.r_[1.0, np.zeros(len(drawn))] - p
        along = slope @ vectors  # the user's gradient
        wanted = [s * now for s in slope] + [place * along for place in places]
        for row, step, gradient in zip(got.tolist(), steps, wanted, strict=True):
            size = np.sqrt((gradient**2).mean())
            assert step[-1] * 2.0**-12 == pytest.approx(size, abs=2.0**-12)
            rate = made.lr / np.sqrt(1.0 + (made.squares[row] + size**2) / support)
            np.testing.assert_allclose(step[:-1] * GRID, rate * gradient, atol=2e-3 * made.lr)
        np.testing.assert_allclose(user_step * GRID, made.user_lr * along, atol=GRID + 1e-5)


def test_a_step_makes_what_came_more_likely() -> None:
    made, better = noted(model(), [*range(24)] * 4), 0
    for seed in range(60):
        own, recent, item = vector(seed), recents(*np.random.default_rng(seed).permutation(24)[:4]), seed % 24
        got, steps, user_step = made.propose(own, recent, item, seed)
        trial = model()
        trial.restore(made.snapshot())
        trial.apply(got, steps)
        after = own.copy()
        add_step(after, user_step)

        def p(m: MatrixFactorization, u: Any, recent: Any = recent, item: int = item) -> float:
            scores = m.vectors[:24].astype(float) @ moment(m, u, recent)[0]
            return float(1 / np.exp(scores - scores[item]).sum())

        better += p(trial, after) > p(made, own)
    assert better >= 55  # of 60: negatives are drawn, so it need not be so every time


def test_steps_commute_to_the_bit() -> None:
    order, made, steps = random.Random(1), noted(model(), ALL), []
    start = {name: a.copy() for name, a in made.snapshot().items()}
    for event in range(300):  # proposed by workers that know more and less of each other
        got = made.propose(vector(event), recents(*np.random.default_rng(event).permutation(24)[:5]), event % 24, event)
        steps.append(got[:2])
        if event % 3 == 0:
            made.apply(*got[:2])
    told = set()
    for _ in range(4):
        order.shuffle(steps)
        other = model()
        other.restore(start)
        for got, step in steps:
            other.apply(got, step)
        told.add((other.vectors.tobytes(), other.squares.tobytes()))
        assert (np.rint(other.vectors / GRID) * GRID == other.vectors).all()
    assert len(told) == 1


def test_proposing_changes_nothing_and_what_it_gave_stays() -> None:
    made, own, recent = noted(model(), ALL), vector(3), recents(1, 2)
    before = frozen(made), own.tobytes(), recent.tobytes()
    first = made.propose(own, recent, 7, 11)
    kept = [a.copy() for a in first]
    made.propose(vector(4), recents(5, 6, 7), 3, 12)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, kept, strict=True))
    again = made.propose(own, recent, 7, 11)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))
    assert (frozen(made), own.tobytes(), recent.tobytes()) == before


def draws(
    event: int,
    seed: int = 0,
    own: int = 5,
    item: int = 3,
    recent: Any = None,
    change: Callable[[Any], Any] = lambda m: m,
) -> Any:
    made = change(noted(model(seed=seed, negatives=10), [*range(24)] * 3))
    recent = recents(0, 1) if recent is None else recent
    got = made.propose(vector(own), recent, item, event)[0]
    return got[1 : len(got) - min(len(recent), 5)].tolist()


def test_negatives_are_drawn_by_seed_and_event_alone() -> None:
    usual = draws(77)
    assert len(usual) >= 8
    assert draws(77, own=6) == draws(77, recent=recents(9)) == draws(77, recent=recents()) == usual
    assert [row for row in draws(77, item=20) if row != 3] == [row for row in usual if row != 20]
    assert len({tuple(draws(event)) for event in range(20)}) == 20
    assert draws(77, seed=1) != usual

    def stepped(made: Any) -> Any:
        made.apply(*made.propose(vector(1), recents(4, 5), 6, 1)[:2])
        return made

    assert draws(77, change=stepped) == usual


def test_negatives_are_of_the_latest_events() -> None:
    made = noted(model(window=50, negatives=8), [*[1] * 100, *[8, 9] * 25])
    drawn = {row for event in range(50) for row in made.propose(vector(0), recents(), 2, event)[0][1:].tolist()}
    assert drawn == {8, 9}
    assert model().propose(vector(0), recents(), 2, 1)[0].tolist() == [2]  # nothing has been seen


def test_a_start_depends_on_id_and_seed_alone() -> None:
    one, two = model(2000, dims=32, init=0.1), model(5, dims=32, init=0.1)
    two.know(70, hash_id("i3"))
    assert one.vectors[3].tobytes() == two.vectors[70].tobytes()
    assert model(5, dims=32, init=0.1, seed=1).vectors[3].tobytes() != one.vectors[3].tobytes()
    assert one.vectors[:2000].std() == pytest.approx(0.1, rel=0.02)
    assert abs(one.vectors[:2000].mean()) < 0.002
    assert (np.rint(one.vectors / GRID) * GRID == one.vectors).all()


def test_factors_stay_where_the_grid_is_exact() -> None:
    made = model(2)
    for _ in range(400):
        made.apply(recents(0, 1), np.array([[32767] * 9, [-32767] * 9], np.int16))
    assert made.vectors[0].tolist() == [127.0] * 8
    assert made.vectors[1].tolist() == [-127.0] * 8


def test_the_list_is_the_sorted_products_of_those_seen_last() -> None:
    made = model(60, scan=20)
    noted(made, [*range(60)] * 8 + [*range(28, 60, 2)] * 2)  # the set is renewed every 512 events
    active = made.active.tolist()
    assert active == sorted([*range(28, 60, 2), 53, 55, 57, 59])
    own, recent = vector(2), [7, 8]
    scores = made.vectors.astype(float) @ moment(made, own, recents(*recent))[0]
    [found] = listed(made, asked(recent, blocked=active[:5], vector=own, n_items=60), k=10)
    assert rows(found) == sorted(active[5:], key=lambda row: -scores[row])[:10]
    assert [s for _, s in found] == pytest.approx([scores[row] for row, _ in found], rel=1e-4, abs=1e-5)


def test_a_user_of_no_events_is_shown_nothing() -> None:
    assert listed(noted(model(), ALL), asked()) == [[]]
