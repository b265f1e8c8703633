"""A replay depends on the log, the settings and the seed, and on nothing of the day on which it is run."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import msgspec
import pytest

from streams.config import PipelineConfig
from streams.replay import Replay
from tests.worlds import shop_log

YEAR_MS = 365 * 86_400_000


@pytest.mark.parametrize("years", [0, 100])
def test_a_log_from_any_time_gives_the_same_on_any_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    log = tmp_path / "log.jsonl"
    events = [msgspec.structs.replace(e, timestamp=e.timestamp + years * YEAR_MS) for e in shop_log(60)]
    log.write_bytes(b"".join(msgspec.json.encode(e) + b"\n" for e in events))
    published = []
    for day, now_s in enumerate((0.0, 1.4e9, 5e9)):
        out = tmp_path / f"{day}.jsonl.gz"
        monkeypatch.setattr(time, "time", lambda now_s=now_s: now_s)
        monkeypatch.setattr(time, "time_ns", lambda now_s=now_s: int(now_s * 1e9))
        report = Replay(str(log), PipelineConfig(), published=str(out)).run()
        assert (report["events"], report["rejected"]) == (60, {})
        published.append(gzip.decompress(out.read_bytes()))
    assert len(set(published)) == 1
