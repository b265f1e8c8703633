"""The blend is never far below its best source, whatever the log does: stated bounds, on logs made to break them.

Bounds are of NDCG@20: `WHOLE` over all that is judged, `STRETCH` in every stretch of the log, of some 200 moments, below the source that
hindsight says was the best of just that stretch.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from online_models.metrics import NAMES
from streams.config import BlendConfig, PipelineConfig
from streams.replay import Replay
from tests.streams.planted import LOGS

WHOLE, STRETCH = 0.01, 0.06
PARTS = 5
"""Points of the report's curve, of about 100, to a stretch."""

NDCG = NAMES.index("ndcg@20")


def losses(name: str, folder: Path, blend: BlendConfig | None = None) -> tuple[float, float]:
    """How far the blend is below its best source: over the whole log, and in the worst stretch."""
    path = folder / "log.jsonl"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, LOGS[name])))
    report = Replay(str(path), PipelineConfig(blend=blend or BlendConfig())).run()
    whole = max(found["ndcg@20"] for found in report["by_source"].values()) - report["metrics"]["ndcg@20"]
    points = report["curve"][::PARTS]
    return whole, max(_loss(a, b, list(report["by_source"])) for a, b in pairwise(points))


def _loss(a: dict[str, Any], b: dict[str, Any], sources: list[str]) -> float:
    def mean(name: str) -> float:
        found: float = (b[name][NDCG] - a[name][NDCG]) / (b["scored"] - a["scored"])
        return found

    return max(map(mean, sources)) - mean("blend")


@pytest.mark.slow
@pytest.mark.parametrize("name", LOGS)
def test_it_stays_near_its_best_source(name: str, tmp_path: Path) -> None:
    whole, stretch = losses(name, tmp_path)
    assert whole < WHOLE
    assert stretch < STRETCH


@pytest.mark.slow
def test_weights_that_do_not_learn_break_the_bounds(tmp_path: Path) -> None:
    whole, stretch = losses("worthless, then all there is", tmp_path, BlendConfig(lr=0.0, units_lr=0.0))
    assert stretch > STRETCH
    assert whole > WHOLE
