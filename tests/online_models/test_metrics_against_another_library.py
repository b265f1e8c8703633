"""The metrics against trec_eval's, which shares no code with them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from online_models import metrics
from online_models.expected import NAMES, expected

THEIRS = {
    "hr@1": "success_1", "hr@5": "success_5", "hr@10": "success_10", "recall@20": "recall_20", "ndcg@10": "ndcg_cut_10",
    "ndcg@20": "ndcg_cut_20", "mrr@20": "recip_rank",
}  # fmt: skip
"""Our name → theirs, where they agree: for at most 20 targets, over rankings cut off at 20."""


def theirs(ranked: list[int], targets: list[int]) -> dict[str, float]:
    library: Any = pytest.importorskip("pytrec_eval", reason="of the extra dev: pytrec-eval-terrier")
    measures = {"success.1,5,10", "recall.20", "ndcg_cut.10,20", "recip_rank"}
    wanted = {"q": {f"d{t}": 1 for t in targets}}
    given = {"q": {f"d{item}": float(len(ranked) - n) for n, item in enumerate(ranked)}}
    found: dict[str, float] = library.RelevanceEvaluator(wanted, measures).evaluate(given)["q"]
    return found


@pytest.mark.parametrize("seed", range(100))
def test_they_agree(seed: int) -> None:
    rng = random.Random(seed)
    ranked = rng.sample(range(60), 20)
    targets = rng.sample(range(60), rng.choice((1, 1, 2, 5, 12, 20)))
    found = theirs(ranked, targets)
    at = np.flatnonzero(np.isin(ranked, targets))
    ours = dict(zip(NAMES, expected(-np.arange(20.0), at, len(targets)), strict=True))
    assert {name: ours[name] for name in THEIRS} == pytest.approx({name: found[key] for name, key in THEIRS.items()})
    listed = metrics.evaluate(np.array([ranked], np.int32), np.array(targets, np.int32))[0]
    same = dict(zip(metrics.NAMES, listed, strict=True))
    assert same["ndcg@20"] == pytest.approx(found["ndcg_cut_20"])
    assert same["mrr@20"] == pytest.approx(found["recip_rank"])
