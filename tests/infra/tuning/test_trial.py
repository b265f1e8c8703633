"""A trial is a replay of the first part: the same figures, nothing of what comes after, and an early end where it falls behind."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from infra.tuning.trial import OutOfTime, Part, judge
from online_models.metrics import NAMES
from streams.config import PipelineConfig
from streams.contracts.events import Event
from streams.replay import Replay
from tests.worlds import shop_log

EVENTS = 600
LOG = shop_log(1_000)
CONFIG = PipelineConfig()


def write(path: Path, events: list[Event]) -> Part:
    path.write_bytes(b"\n".join(msgspec.json.encode(event) for event in events) + b"\n")
    return Part(str(path), EVENTS)


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    return write(tmp_path_factory.mktemp("log") / "log.jsonl", LOG)


def test_both_slices_are_what_a_replay_judges(part: Part) -> None:
    found = judge(part, CONFIG, "ndcg@20")
    assert found.fit is not None
    assert found.validation is not None
    report = Replay(part.path, CONFIG, limit=EVENTS).run()
    n, m = found.fit.moments, found.validation.moments
    assert n + m == report["scored"]
    assert n > m > 50
    for name in NAMES:
        mean = (found.fit.means[name] * n + found.validation.means[name] * m) / (n + m)
        assert mean == pytest.approx(report["metrics"][name], abs=1e-12)
    assert len(found.rungs) == 2


def test_a_catalogue_takes_part(part: Part, tmp_path: Path) -> None:
    items = [{"item_id": f"i{n}", "categories": [f"kind {n % 4}"], "price": 1.0 + n % 3} for n in range(60)]
    path = tmp_path / "items.jsonl"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, items)))
    found = judge(msgspec.structs.replace(part, catalogue=str(path)), PipelineConfig(), "ndcg@20")
    assert found.fit != judge(part, PipelineConfig(), "ndcg@20").fit


def test_what_comes_after_the_part_changes_nothing(part: Part, tmp_path: Path) -> None:
    rest = [msgspec.structs.replace(e, item_id=f"other-{n % 5}", value=99.0) for n, e in enumerate(LOG[EVENTS:])]
    other = write(tmp_path / "other.jsonl", LOG[:EVENTS] + rest)
    one, two = judge(part, CONFIG, "ndcg@20"), judge(other, CONFIG, "ndcg@20")
    assert (one.rungs, one.fit, one.validation) == (two.rungs, two.fit, two.validation)


def test_what_is_behind_at_a_rung_is_given_up_there(part: Part) -> None:
    whole = judge(part, CONFIG, "mrr@20")
    reached: list[int] = []
    for bars, rungs in (((whole.rungs[0] + 0.01, 0.0), 1), ((0.0, whole.rungs[1] + 0.01), 2)):
        found = judge(part, CONFIG, "mrr@20", bars, progress=lambda done, total: reached.append(done))
        assert (found.rungs, found.fit, found.validation) == (whole.rungs[:rungs], None, None)
        assert reached[-1] == part.marks[rungs - 1]
    assert judge(part, CONFIG, "mrr@20", tuple(whole.rungs)).fit == whole.fit, "who reaches the bar goes on"


def test_when_time_is_up_nothing_comes_of_a_trial(part: Part) -> None:
    with pytest.raises(OutOfTime):
        judge(part, CONFIG, "ndcg@20", left_s=0.0)
