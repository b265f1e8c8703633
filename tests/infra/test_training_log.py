"""What training reads is what workers of the same settings learn: their types and sessions; of an archive only the part asked for."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from infra.archive_rows import Rows
from infra.archive_store import open_store
from infra.cli.train import training_log
from infra.settings import Settings
from offline.excerpt import DAY_MS, Excerpt
from streams.config import PipelineConfig, SessionConfig
from streams.contracts.events import Event
from tests.worlds import START

MINUTE = 60_000


def _event(timestamp: int, user: str, item: str, kind: str, name: str) -> Event:
    return Event(timestamp=timestamp, user_id=user, item_id=item, event_type=kind, event_id=name)


def log(path: Path, *seen: tuple[int, str]) -> Path:
    """Events of one user: minutes and types, each of an item of its own."""
    path.write_bytes(
        b"".join(
            msgspec.json.encode(_event(START + minute * MINUTE, "ann", f"i{n}", kind, str(n))) + b"\n"
            for n, (minute, kind) in enumerate(seen)
        )
    )
    return path


def settings(**pipeline: object) -> Settings:
    return Settings(pipeline=msgspec.convert(pipeline, PipelineConfig))


def test_only_types_with_a_weight_teach(tmp_path: Path) -> None:
    path = log(tmp_path / "log", (0, "click"), (1, "impression"), (2, "share"), (3, "purchase"))
    assert len(training_log(Settings(), path)) == 3
    assert len(training_log(settings(weights={"click": 1.0, "share": 0.0, "purchase": 2.0}), path)) == 2


def test_a_session_ends_after_the_same_silence(tmp_path: Path) -> None:
    path = log(tmp_path / "log", (0, "click"), (20, "click"), (65, "click"))
    for gap, sessions in ((19, 3), (20, 2), (44, 2), (45, 1)):
        found = training_log(Settings(pipeline=PipelineConfig(sessions=SessionConfig(gap_s=gap * 60))), path)
        assert len(np.unique(found.sessions)) == sessions, gap
    assert len(np.unique(training_log(Settings(), path).sessions)) == 2


def test_of_an_archive_only_the_part_is_read(tmp_path: Path) -> None:
    with open_store(tmp_path, "events") as store:
        for day in range(20):
            rows = Rows()
            at = (20_000 + day) * DAY_MS
            for n in range(10):
                rows.add(day * 10 + n, _event(at + n, f"u{n}", "i", "click", f"{day}-{n}"))
            store.write(0, day * 10, day * 10 + 9, rows)
    looked: list[int] = []
    whole = training_log(Settings(), tmp_path)
    part = training_log(Settings(), tmp_path, Excerpt(20_019 * DAY_MS, 20), lambda: looked.append(1))
    assert len(whole) == 200
    assert 10 < len(part) < 100
    assert looked
