"""A replay depends on the log, the settings and the seed, and on nothing of the day on which it is run."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import msgspec
import pytest

from online_models.errors import InputError
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


@pytest.mark.parametrize("name", ["lists.jsonl", "lists.jsonl.gz"])
def test_a_replay_that_is_interrupted_leaves_the_file_that_was_there_before(tmp_path: Path, name: str) -> None:
    log, out = tmp_path / "log.jsonl", tmp_path / "out" / name
    log.write_bytes(b"".join(msgspec.json.encode(e) + b"\n" for e in shop_log(60)))

    def stop(done: int, total: int) -> None:
        if done == 30:
            raise KeyboardInterrupt

    for before in (None, b"of another day"):
        if before is not None:
            out.write_bytes(before)
        with pytest.raises(KeyboardInterrupt):
            Replay(str(log), PipelineConfig(), published=str(out), progress=stop).run()
        assert list(out.parent.iterdir()) == ([out] if before is not None else [])
    assert out.read_bytes() == b"of another day"
    link = out.with_name(f"link-{name}")
    link.symlink_to(out)
    Replay(str(log), PipelineConfig(), published=str(link)).run()
    link.unlink()
    whole = gzip.decompress(out.read_bytes()) if name.endswith(".gz") else out.read_bytes()
    assert whole.count(b"\n") == 60
    assert list(out.parent.iterdir()) == [out]


def test_what_cannot_be_written_is_an_error_and_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"".join(msgspec.json.encode(e) + b"\n" for e in shop_log(60)))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"expected a file that can be written, got .*file/lists\.jsonl \("):
        Replay(str(log), PipelineConfig(), recs_out=str(tmp_path / "file" / "lists.jsonl")).run()
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader:
        Replay(str(log), PipelineConfig(), limit=5, published=f"/dev/fd/{write}").run()
        os.close(write)
        assert reader.read().count(b"\n") == 5
