"""Simple rankers played over a recorded log: what each would have listed, and the item that came next.

The next item stands for the click: it was chosen without the list, so figures compare rankers and are no click rates.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from offline.log import read
from online_models.base import OWN, Observation, Query, Scratch
from online_models.covisitation import CoVisitation
from online_models.popularity import Popularity

K = 20
NAMES = ("popular", "trending", "follows")
"""Popularity over about 50,000 events; over about 1,000; what followed the session's latest items."""
_LATEST = 5

Moment = tuple[int, int, int, list[list[int]]]
"""Number of the event, user, item that came, and each ranker's list from before it."""


def play(path: Path) -> Iterator[Moment]:
    """Every event that has an earlier one in its session: first the lists, then it is learned."""
    log = read(path)
    n_items = len(log.item_ids)
    popular = Popularity([50_000.0, 1_000.0])
    follows = CoVisitation("follows", window=3, last=3, half_life=50_000.0, max_age_ms=2**60)
    scratch = Scratch()
    scratch.reserve(n_items)
    blocked = np.zeros(n_items, np.uint8)
    latest: dict[int, tuple[int, list[int]]] = {}
    for at, (user, item, session, now) in enumerate(
        zip(log.users.tolist(), log.items.tolist(), log.sessions.tolist(), log.times.tolist(), strict=True)
    ):
        before, rows = latest.get(user, (-1, []))
        rows = rows if before == session else []
        recent = np.array(rows, np.int32)
        ages = np.zeros(len(rows), np.int64)
        if rows:
            q = Query(now, np.zeros(0, OWN), recent, ages, blocked, np.zeros(0, np.float32), n_items, scratch=scratch)
            first, second = listed(popular, q)
            third = list(dict.fromkeys([*listed(follows, q)[0], *first]))[:K]
            yield at, user, item, [first, second, third]
        o = Observation(item, 1.0, now, user, session, recent, ages, len(rows))
        popular.learn_one(o)
        follows.learn_one(o)
        latest[user] = session, [item, *(row for row in rows if row != item)][:_LATEST]


def listed(source: Popularity | CoVisitation, q: Query) -> list[list[int]]:
    """The lists of a source, best first."""
    n = len(source.lists)
    items, scores, counts = np.zeros((n, K), np.int32), np.zeros((n, K), np.float32), np.zeros(n, np.int32)
    source.candidates(q, items, scores, counts)
    return [items[i, : counts[i]].tolist() for i in range(n)]
