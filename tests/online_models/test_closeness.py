"""How candidates stand to the latest items, against plain Python, column by column."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from online_models.base import Observation
from online_models.closeness import AGES_OF, FACTORS, MEAN_OF, SHY, VISITS, by_factors, by_visits
from online_models.covisitation import CoVisitation

N, DIMS = 60, 8


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("n_recent", [0, 1, 3, 14])
def test_the_factors_columns(n_recent: int) -> None:
    rng = np.random.default_rng(n_recent)
    vectors, own, user = (rng.normal(size=s).astype(np.float32) for s in ((N, DIMS), DIMS, DIMS))
    first_ms, now = rng.integers(0, 9_000_000, N), 9_500_000
    recent, rows = rng.permutation(N)[:n_recent].astype(np.int32), rng.permutation(N)[:30].astype(np.int32)
    x = np.zeros((40, len(FACTORS) + 2), np.float32)
    by_factors(x, rows, 30, 1, vectors, own, user, recent, first_ms, now)
    ages = np.log1p((now - first_ms) / 1000)
    for at, row in enumerate(rows.tolist()):
        v, right = vectors[row], dict.fromkeys(FACTORS, 0.0)
        right["match"] = 1 / (1 + math.exp(-float(user @ v)))
        right["match_own"], right["match_recent"] = math.tanh(own @ v / 2), math.tanh((user - own) @ v / 2)
        if n_recent:
            right["dot_last"] = math.tanh(vectors[recent[0]] @ v / 2)
            right["cos_last"] = cosine(vectors[recent[0]], v)
            right["cos_recent"] = float(np.mean([cosine(vectors[r], v) for r in recent[:MEAN_OF]]))
            right["age_last"] = min(abs(ages[row] - ages[recent[0]]) / 5, 1.5)
            right["age_recent"] = min(abs(ages[row] - ages[recent[:AGES_OF]].mean()) / 5, 1.5)
        np.testing.assert_allclose(x[at, 1:-1], list(right.values()), atol=2e-3, err_msg=str(row))
    assert not x[:, [0, -1]].any()
    assert not x[30:].any()


def walked(*models: CoVisitation) -> None:
    """Everybody walks at random over the items, some of them far more often than others."""
    rng = random.Random(5)
    histories: dict[int, list[int]] = {}
    for n in range(3_000):
        user = rng.randrange(30)
        item = min(int(rng.expovariate(1 / 12)), N - 5)
        past = histories.setdefault(user, [])
        history = np.array(past[:20], np.int32)
        for model in models:
            model.learn_one(Observation(item, 1.0, n, user, user, history, np.zeros(len(history), np.int64), 1))
        histories[user] = [item, *[i for i in past if i != item]]


def weight(model: CoVisitation, row: int, key: int) -> float:
    r = model.rows
    found = [
        w for k, w in zip(r.keys[r.start[row] :][: r.size[row]], r.weights[r.start[row] :], strict=False) if k == key
    ]
    return float(found[0]) if found else 0.0


def logged(p: float) -> float:
    return 1 + math.log(p + 0.001) / 6.91 if p else 0.0


@pytest.mark.parametrize("recent", [[], [4], [9, 0], [3, 1, 7, 2, 50], [59, 58]])
def test_the_visits_columns(recent: list[int]) -> None:
    """Items 55 and up are in no row: a candidate that nobody has moved to or from."""
    following = CoVisitation("following", 1, 1, 500.0)
    far = CoVisitation("far", 5, 4, 1_000.0, step=0.9, fade=0.7, damp=2.0, both=True)
    walked(following, far)
    rows = np.random.default_rng(1).permutation(N)[:50].astype(np.int32)
    x, mark, unit = np.zeros((50, len(VISITS) + 1), np.float32), np.zeros(N, np.int32), float(far.unit[0])
    by_visits(
        x, rows, 50, 1, mark, np.array(recent, np.int32), following.rows.entries, following.total, far.rows.entries, far.total, far.last,
        far.fade, far.damp, unit,
    )  # fmt: skip
    assert not mark.any()
    assert not x[:, 0].any()
    total, far_total = np.zeros(N), np.zeros(N)
    total[: len(following.total)], far_total[: len(far.total)] = following.total[:N], far.total[:N]

    def share(row: int, key: int) -> float:
        return weight(following, row, key) / total[row] if total[row] and row < len(following.rows.size) else 0.0

    plain, shy = np.zeros(50), np.zeros(50)
    for place, mine in enumerate(recent[:4]):
        if mine < len(far.rows.size):
            for at, row in enumerate(rows.tolist()):
                w = 0.7**place * weight(far, mine, row)
                plain[at] += w / (far_total[mine] + 2 * unit)
                shy[at] += w / math.sqrt((far_total[mine] + SHY * unit) * (far_total[row] + SHY * unit))
    for at, row in enumerate(rows.tolist()):
        p, c = plain[at] / max(plain.max(), 1e-30), shy[at] / max(shy.max(), 1e-30)
        right = [
            logged(share(recent[1], row)) if len(recent) > 1 else 0.0,
            logged(share(recent[2], row)) if len(recent) > 2 else 0.0,
            logged(share(row, recent[0])) if recent else 0.0,
            p, logged(p), c, logged(c),
        ]  # fmt: skip
        np.testing.assert_allclose(x[at, 1:], right, atol=1e-3, err_msg=str(row))
    if recent and recent[0] < 50:
        assert x[:, 4].max() == x[:, 6].max() == 1.0
