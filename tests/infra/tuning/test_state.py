"""What a search is told apart from others by: its state is gone on with only where all of that is the same."""

from __future__ import annotations

import msgspec
import pytest

from infra.tuning.space import Space
from infra.tuning.state import mark_of
from online_models import start
from streams.config import PipelineConfig
from tests.infra.tuning.test_search import SPACE


def test_the_mark_of_a_search_changes_with_all_that_its_results_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the weights that blends start from, too: a release need not change for them to."""
    base = msgspec.structs.replace(PipelineConfig(), seed=SPACE.base.seed + 1)
    others = [
        mark_of("log", SPACE, "ndcg@20", 0),
        mark_of("another", SPACE, "ndcg@20", 0),
        mark_of("log", Space(base, SPACE.knobs), "ndcg@20", 0),
        mark_of("log", Space(SPACE.base, SPACE.knobs[1:]), "ndcg@20", 0),
        mark_of("log", SPACE, "hr@20", 0),
        mark_of("log", SPACE, "ndcg@20", 1),
    ]
    assert mark_of("log", SPACE, "ndcg@20", 0) == others[0]
    monkeypatch.setattr(start, "digest", lambda: "of other weights")
    others.append(mark_of("log", SPACE, "ndcg@20", 0))
    monkeypatch.setattr("infra.tuning.state.version", lambda name: "9.9.9")
    others.append(mark_of("log", SPACE, "ndcg@20", 0))
    assert len(set(others)) == len(others)
