"""A world whose right answer is known: in a session, item i is followed by i + step, and the step is the session's."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from offline import dataset, log
from offline.dataset import Sessions
from offline.log import Log

ITEMS = 40
START = 1_500_000_000_000


def ring_log(
    sessions: int = 400, length: int = 6, seed: int = 0, steps: tuple[int, ...] = (1,), start: int = START
) -> Log:
    """Sessions that walk round a ring of items by a step that the first two events tell."""
    rng = np.random.default_rng(seed)
    first, step = rng.integers(0, ITEMS, sessions), rng.choice(steps, sessions)
    items = (first[:, None] + step[:, None] * np.arange(length)) % ITEMS
    times = start + np.arange(sessions)[:, None] * 60_000 + np.arange(length) * 1_000
    numbers = np.repeat(np.arange(sessions), length)
    return log.arranged(
        times.ravel(),
        numbers % 50,
        items.ravel(),
        numbers,
        [f"u{u}" for u in range(50)],
        [f"i{i}" for i in range(ITEMS)],
    )


def rows_of(found: Log) -> tuple[Sessions, list[str]]:
    """All sessions of a log, as rows."""
    sessions = dataset.sessions_of(found)
    words = dataset.vocabulary(found, sessions)
    return sessions.with_rows(words.rows), words.ids


def written(found: Log, path: Path) -> Path:
    """The log as JSON Lines."""
    with path.open("wb") as file:
        for i in range(len(found)):
            event = {
                "event_id": f"e{i}", "timestamp": int(found.times[i]), "user_id": found.user_ids[found.users[i]],
                "item_id": found.item_ids[found.items[i]], "event_type": "click", "session_id": f"s{found.sessions[i]}",
            }  # fmt: skip
            file.write(msgspec.json.encode(event) + b"\n")
    return path
