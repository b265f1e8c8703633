"""What the application says of itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.app.agents import Headrace, Options
from streams.pipeline import Pipeline


@pytest.fixture
async def app(tmp_path: Path) -> Any:
    options = Options(
        brokers=["127.0.0.1:1"], redis="redis://127.0.0.1:1/0", web=("127.0.0.1", 0), data_dir=tmp_path, topic_prefix="p-"
    )  # fmt: skip
    app = Headrace(options, lambda topic: pytest.fail("no pipeline is needed here"))
    app._log = SimpleNamespace(learned=0, skipped=0, refused=0, counts={})
    yield app
    await app.store.close()


def lag(app: Any) -> dict[str, float]:
    """``headrace_consumer_lag`` by partition, as Prometheus reads it."""
    lines = [line for line in app.metrics.page().decode().splitlines() if line.startswith("headrace_consumer_lag{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


async def test_the_lag_is_what_waits_behind_what_is_done(app: Any) -> None:
    ends = {TP("p-events", 0): 100, TP("p-events", 1): 40, TP("p-events", 2): None}
    app.consumer = SimpleNamespace(highwater=lambda tp: ends[tp])
    app._rim = SimpleNamespace(done={0: 93, 1: 0, 2: 5})
    app._watch(Pipeline())
    assert lag(app) == {"0": 7, "1": 40}, "of a partition whose end is not known nothing is said"
    app._rim.done |= {0: 100, 1: 39}
    assert lag(app) == {"0": 0, "1": 1}
    app._rim.done = {1: 41}
    assert lag(app) == {"1": 0}, "never negative, and partitions that are gone are gone"
