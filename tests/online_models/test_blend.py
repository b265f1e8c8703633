"""The blend: River's Adagrad is the oracle of its step, plain Python of its gradient; planted features get the weight."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from river import optim

from online_models.blend import (
    ACTIVE,
    CONTEXT_NAMES,
    CONTEXTS,
    G_UNIT,
    R_UNIT,
    W_UNIT,
    YOUNG,
    Blend,
    active_contexts,
)
from online_models.start import Start

FEATURES = 6


def active(*contexts: int) -> Any:
    return np.array(contexts, np.int32)


def unpacked(step: bytes, features: int = FEATURES) -> tuple[list[int], Any, Any, Any]:
    """Contexts, rates, gradient and direction of a packed step, in numbers."""
    k = step[0]
    numbers = np.frombuffer(step[1 + 3 * k :], "<i2").reshape(2, features) * G_UNIT
    return list(step[1 : 1 + k]), np.frombuffer(step[1 + k : 1 + 3 * k], "<u2") * R_UNIT, *numbers


def union(rng: np.random.Generator, n: int = 30) -> Any:
    return np.ascontiguousarray(rng.random((n, FEATURES)), np.float32)


def begun(contexts: int, value: float) -> Start:
    weights = np.zeros((contexts, FEATURES))
    weights[0] = value
    return Start(weights, np.zeros(FEATURES))


def frozen(blend: Blend) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in blend.snapshot().items()}


def test_the_always_active_context_learns_as_rivers_adagrad_does() -> None:
    """But for the rounding: half a unit of 2**-15 of the direction, and of 2**-16 of the rate, a step."""
    rng, blend = np.random.default_rng(0), Blend(3, FEATURES, lr=0.03, eps=0.1)
    river = optim.AdaGrad(lr=0.03, eps=0.1)
    weights: dict[int, float] = dict.fromkeys(range(FEATURES), 0.0)
    for step in range(1, 301):
        packed = blend.propose(union(rng), 30, int(rng.integers(30)), active(0, 2))
        contexts, _, gradient, _ = unpacked(packed)
        assert contexts == [0, 2]
        blend.apply(packed)
        weights = river.step(weights, dict(enumerate(gradient.tolist())))
        off = np.abs(blend.weights[0] - list(weights.values()))
        assert off.max() <= step * (0.03 * G_UNIT + R_UNIT) / 2 * 1.001
        assert blend.squares.tolist() == pytest.approx([river.g2[f] for f in range(FEATURES)], rel=1e-12)
    assert np.abs(blend.weights[0]).max() > 0.05
    np.testing.assert_array_equal(blend.weights[2], blend.weights[0])  # as often active, so it took the same steps
    assert not blend.weights[1].any()
    assert blend.updates.tolist() == [300, 0, 300]


def test_a_rare_context_takes_longer_steps_in_the_same_direction() -> None:
    rng, blend = np.random.default_rng(8), Blend(2, FEATURES, lr=0.03)
    for step in range(200):
        blend.apply(blend.propose(union(rng), 30, step % 30, active(0)))
    packed = blend.propose(union(rng), 30, 3, active(0, 1))
    _, rates, _, direction = unpacked(packed)
    assert rates.tolist() == pytest.approx([0.03, 0.03 * math.sqrt((201 + YOUNG) / (1 + YOUNG))], abs=R_UNIT)
    before = blend.weights.copy()
    blend.apply(packed)
    np.testing.assert_array_equal(blend.weights - before, rates[:, None] * direction)


def test_the_gradient_is_that_of_the_softmax_of_the_item_that_came() -> None:
    rng = np.random.default_rng(1)
    blend = Blend(4, FEATURES)
    blend.weights[:] = np.rint(rng.normal(0, 2, blend.weights.shape) / W_UNIT) * W_UNIT
    for _ in range(30):
        x, target, contexts = union(rng), int(rng.integers(20)), active(0, int(rng.integers(1, 4)))
        w = blend.weights[contexts].sum(axis=0)
        scores = x[:20].astype(float) @ w  # the other ten rows are not part of it
        p = np.exp(scores - scores.max())
        p /= p.sum()
        right = p @ x[:20] - x[target]
        _, _, gradient, direction = unpacked(blend.propose(x, 20, target, contexts))
        np.testing.assert_allclose(gradient, right, atol=G_UNIT / 2 + 1e-5)
        expected = -gradient / np.sqrt(blend.squares + gradient**2 + blend.eps)
        assert np.abs(direction - expected).max() <= G_UNIT / 2 * 1.0001


def test_proposing_and_ranking_change_nothing() -> None:
    rng, blend = np.random.default_rng(2), Blend(3, FEATURES, start=begun(3, 0.3))
    x, before = union(rng), frozen(blend)
    one, had = blend.propose(x, 30, 4, active(0, 1)), x.copy()
    assert blend.propose(x, 30, 4, active(0, 1)) == one
    ranked(blend, x, 30, 5)
    assert frozen(blend) == before
    assert x.tobytes() == had.tobytes()


def test_steps_commute_to_the_bit() -> None:
    rng, order = np.random.default_rng(3), random.Random(3)
    blend, steps = Blend(5, FEATURES, start=begun(5, 0.1)), []
    for _ in range(400):  # proposed by workers that know more and less of each other
        packed = blend.propose(union(rng), 30, int(rng.integers(30)), active(0, *rng.permutation([1, 2, 3, 4])[:2]))
        steps.append(packed)
        if rng.random() < 0.5:
            blend.apply(packed)
    told = set()
    for _ in range(4):
        order.shuffle(steps)
        other = Blend(5, FEATURES, start=begun(5, 0.1))
        for packed in steps:
            other.apply(packed)
        told.add(tuple(frozen(other).values()))
    assert len(told) == 1


def test_a_planted_feature_gets_the_weight_in_the_context_in_which_it_tells() -> None:
    """Feature 2 names the item that comes, feature 4 does so in context 1 only; the others are noise."""
    rng, blend = np.random.default_rng(4), Blend(3, FEATURES)
    losses = []
    for step in range(3_000):
        context, x, target = 1 + step % 2, union(rng), int(rng.integers(30))
        x[target, 2] += 0.5
        x[target, 4] += 1.0 if context == 1 else 0.0
        scores = x.astype(float) @ blend.collapse(active(0, context))
        losses.append(math.log(np.exp(scores - scores[target]).sum()))
        blend.apply(blend.propose(x, 30, target, active(0, context)))
    one, two = blend.collapse(active(0, 1)), blend.collapse(active(0, 2))
    noise = max(np.abs(w[[0, 1, 3, 5]]).max() for w in (one, two))
    assert min(one[2], two[2]) > 5 * noise
    assert one[4] > 3 * abs(two[4])  # what the context that is always active took up is taken back slowly
    assert losses[0] == pytest.approx(math.log(30))
    assert np.mean(losses[-500:]) < 0.7 * losses[0]


def test_collapse_is_the_sum_of_the_active_weights() -> None:
    rng, blend = np.random.default_rng(5), Blend(7, FEATURES)
    blend.weights[:] = rng.normal(size=blend.weights.shape)
    for contexts in ((0,), (0, 3), (0, 1, 2, 3, 4, 5, 6)):
        np.testing.assert_allclose(
            blend.collapse(active(*contexts)), blend.weights[list(contexts)].sum(axis=0), rtol=1e-6
        )


def ranked(blend: Blend, x: Any, n: int, k: int, rows: Any = None) -> tuple[Any, ...]:
    rows = np.arange(len(x), dtype=np.int32) if rows is None else rows
    scores, items, out, at = (
        np.zeros(len(x), np.float32),
        np.zeros(k, np.int32),
        np.zeros(k, np.float32),
        np.zeros(k, np.int32),
    )
    found = blend.rank(x, n, blend.collapse(active(0)), rows, scores, items, out, at)
    return items[:found], out[:found], at[:found], scores


def test_the_list_is_the_sorted_scores_ties_by_lower_row() -> None:
    rng, blend = np.random.default_rng(6), Blend(1, FEATURES)
    blend.weights[0, 0] = 1.0
    for n in (0, 1, 5, 30):
        x, rows = np.zeros((30, FEATURES), np.float32), rng.permutation(30).astype(np.int32)
        x[:, 0] = rng.choice([0.0, 0.25, 0.5, 1.0], 30)
        items, out, at, scores = ranked(blend, x, n, 8, rows)
        order = np.lexsort((rows[:n], -x[:n, 0]))[:8]
        assert at.tolist() == order.tolist()
        assert items.tolist() == rows[order].tolist()
        assert out.tolist() == scores[order].tolist() == x[order, 0].tolist()


def test_what_cannot_be_a_step_or_a_rate_is_refused() -> None:
    blend = Blend(3, FEATURES)
    packed = Blend(3, FEATURES + 1).propose(np.zeros((2, FEATURES + 1), np.float32), 2, 0, active(0))
    before = frozen(blend)
    with pytest.raises(ValueError, match="one configuration"):
        blend.apply(packed)
    assert frozen(blend) == before
    with pytest.raises(ValueError, match="correct it"):
        Blend(1, 1, lr=0.3)


def test_the_longest_step_fits_its_grid() -> None:
    blend = Blend(2, 1, lr=0.25, eps=1e-9)
    blend.updates[0] = 10**9
    x = np.array([[0.0], [1.0]], np.float32)
    _, rates, _, direction = unpacked(blend.propose(x, 2, 1, active(0, 1)), 1)
    assert direction[0] == pytest.approx(1.0, rel=1e-4)
    assert rates.tolist() == pytest.approx([0.25, 1.0], rel=1e-4)


def test_a_restored_blend_goes_on_as_before() -> None:
    rng, one = np.random.default_rng(7), Blend(3, FEATURES)
    two = Blend(3, FEATURES)
    for step in range(60):
        if step == 30:
            two.restore({name: a.copy() for name, a in one.snapshot().items()})
        packed = one.propose(union(rng), 30, step % 30, active(0, step % 3))
        one.apply(packed)
        if step >= 30:
            two.apply(packed)
    assert frozen(one) == frozen(two)
    assert one.nbytes >= one.weights.nbytes + one.squares.nbytes


def names(**facts: Any) -> list[str]:
    usual = {
        "position": 1,
        "history": 0,
        "gap_ms": -1,
        "repeat_share": 0.0,
        "repeats_known": False,
        "last_count": -1,
        "burst": 0,
    }
    out = np.full(ACTIVE, -1, np.int32)
    active_contexts(*({**usual, "intent": -1.0} | facts).values(), out)
    return [CONTEXT_NAMES[c] for c in out.tolist()]


EDGES = [
    ("position", 1, {0: "position 1", 1: "position 1", 2: "position 2", 3: "position 3-5", 5: "position 3-5", 6: "position 6+"}),
    ("history", 2, {0: "history 0", 1: "history 1-2", 2: "history 1-2", 3: "history 3-9", 9: "history 3-9", 10: "history 10-29"}),
    ("history", 2, {29: "history 10-29", 30: "history 30-99", 99: "history 30-99", 100: "history 100+", 10**9: "history 100+"}),
    ("gap_ms", 3, {-1: "gap none", 0: "gap <1 min", 59_999: "gap <1 min", 60_000: "gap <10 min", 599_999: "gap <10 min"}),
    ("gap_ms", 3, {600_000: "gap <1 h", 3_599_999: "gap <1 h", 3_600_000: "gap <1 d", 86_399_999: "gap <1 d", 86_400_000: "gap more"}),
    ("last_count", 5, {-1: "last none", 0: "last <3", 2: "last <3", 3: "last <10", 9: "last <10", 10: "last <50", 50: "last more"}),
    ("burst", 6, {0: "burst <10", 9: "burst <10", 10: "burst <20", 20: "burst <35", 34: "burst <35", 35: "burst more"}),
    ("intent", 7, {-1.0: "intent unknown", 0.0: "intent <2%", 0.02: "intent <10%", 0.1: "intent <30%", 0.3: "intent more"}),
    ("intent", 7, {0.999: "intent more", 1.0: "converted"}),
]  # fmt: skip


@pytest.mark.parametrize(("fact", "place", "edges"), EDGES)
def test_the_buckets_at_their_edges(fact: str, place: int, edges: dict[float, str]) -> None:
    for value, name in edges.items():
        found = names(**{fact: value})
        assert (found[0], found[place]) == ("always", name), value


def test_shares_of_repeats_and_that_every_bucket_can_be_active() -> None:
    edges = {
        0.0: "repeats none",
        0.199: "repeats <20%",
        0.2: "repeats <50%",
        0.499: "repeats <50%",
        0.5: "repeats more",
    }
    assert [names(repeats_known=True, repeat_share=share)[4] for share in edges] == list(edges.values())
    assert names(repeats_known=False, repeat_share=0.9)[4] == "repeats unknown"
    reached = {n for fact, _, values in EDGES for value in values for n in names(**{fact: value})}
    reached |= {*edges.values(), "repeats unknown"}
    assert reached == set(CONTEXT_NAMES)
    assert len(CONTEXT_NAMES) == CONTEXTS == len(set(CONTEXT_NAMES))


@pytest.mark.parametrize(
    "step", [b"", b"\x00", bytes([1, 200]) + bytes(2 + 4 * 3), bytes([2, 0, 4]) + bytes(4 + 4 * 3)]
)
def test_a_step_of_another_shape_or_of_unknown_contexts_changes_nothing(step: bytes) -> None:
    blend = Blend(4, 3)
    before = {name: array.copy() for name, array in blend.snapshot().items()}
    with pytest.raises(ValueError, match="blend step"):
        blend.apply(step)
    assert all((array == before[name]).all() for name, array in blend.snapshot().items())
