"""A deep model in the bench: a version for each period, and what it is worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from infra.quality.runs import Setup, by_tracks
from infra.quality.variants import variants
from online_models.expected import NAMES
from tests.infra.quality.worlds import REPEATS, ader_plan, nothing, walk
from tests.versions import artefact, vectors_of


def test_each_period_has_its_version(tmp_path: Path) -> None:
    """Sessions are about one of five groups, which only the vectors know from the start."""
    groups = [n % 5 for n in range(30)]
    rng = np.random.default_rng(0)
    about = [
        [(s, int(rng.integers(6)) * 5 + s % 5) for s in range(b, b + 60) for _ in range(4)] for b in (0, 1000, 2000)
    ]
    plan = ader_plan(tmp_path / "set", [[*about[0][:40], *walk(200, 1, 5000)], *about[1:]])
    ids = list(plan.items)
    for period in (1, 2):
        artefact(tmp_path / "models" / str(period), ids, vectors_of([groups[int(item)] for item in ids], seed=period))

    def folder(period: int) -> Path | None:
        found = tmp_path / "models" / str(period)
        return found if found.is_dir() else None

    setup = Setup(REPEATS, model=folder)
    live, still = by_tracks(plan, setup, True, nothing)
    _, plain_still = by_tracks(plan, Setup(REPEATS), True, nothing)
    assert still is not None
    assert plain_still is not None
    ndcg = NAMES.index("ndcg@20")
    assert still.values[:, ndcg].mean() > plain_still.values[:, ndcg].mean() + 0.01
    [without] = [v.setup for v in variants(setup, rated=False, deep=True) if v.name == "without deep"]
    less, less_still = by_tracks(plan, without, True, nothing)
    assert less_still is not None
    assert np.array_equal(less_still.values, plain_still.values)
    assert not np.array_equal(less.values, live.values)
    assert "without deep" not in {v.name for v in variants(setup, rated=False, deep=False)}
