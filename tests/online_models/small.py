"""Observations and requests in one line each, and lists as pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from online_models._made_up import GuardedScratch
from online_models.base import OWN, Observation, Query, Source


def seen(
    item: int, history: Sequence[int] = (), ages: Sequence[int] | None = None, *, weight: float = 1.0, user: int = 1,
    session: int | None = None, timestamp: int = 0, event: int = 0, value: float | None = None,
) -> Observation:  # fmt: skip
    """One interaction; ``history`` latest first."""
    past = np.array([0] * len(history) if ages is None else ages, np.int64)
    at = user if session is None else session
    return Observation(
        item, weight, timestamp, user, at, np.array(history, np.int32), past, 0, event, value, value is not None
    )


def asked(
    recent: Sequence[int] = (), own: Sequence[tuple[int, ...]] = (), blocked: Sequence[int] = (), *, n_items: int = 512,
    user: int = 1, session: int | None = None, timestamp: int = 0, vector: Any = None,
) -> Query:  # fmt: skip
    """One request; ``own`` holds (row, count, seq, flags, first, last), the latest last."""
    shut = np.zeros(n_items, np.uint8)
    shut[list(blocked)] = 1
    return Query(
        timestamp, np.array(list(own), OWN), np.array(recent, np.int32), np.zeros(len(recent), np.int64), shut,
        np.zeros(8, np.float32) if vector is None else vector, n_items, user, user if session is None else session,
        n_events=len(recent), scratch=GuardedScratch(n_items),
    )  # fmt: skip


def listed(source: Source, q: Query, k: int = 20) -> list[list[tuple[int, float]]]:
    """What a source answers: for each list (row, score), best first."""
    n = len(source.lists)
    items, scores, counts = np.zeros((n, k), np.int32), np.zeros((n, k), np.float32), np.zeros(n, np.int32)
    source.candidates(q, items, scores, counts)
    assert q.scratch.found_amiss() == ""  # type: ignore[attr-defined]
    return [
        list(zip(items[s, :c].tolist(), scores[s, :c].tolist(), strict=True)) for s, c in enumerate(counts.tolist())
    ]


def rows(pairs: list[tuple[int, float]]) -> list[int]:
    """The rows of one list."""
    return [row for row, _ in pairs]


def ranked(scores: dict[int, Any], k: int) -> list[int]:
    """The rows with the ``k`` highest scores above 0, ties by lower row: what a list should be."""
    return sorted((row for row, score in scores.items() if score > 0), key=lambda row: (-scores[row], row))[:k]


def same_list(found: list[tuple[int, float]], expected: dict[int, float], k: int, rel: float = 1e-4) -> None:
    """The list is that of the expected scores, where rows whose scores are equal but for rounding may change places."""
    wanted = ranked(expected, k)
    assert len(found) == len(wanted)
    for (row, score), right in zip(found, wanted, strict=True):
        assert abs(score - expected[right]) <= rel * expected[right], (row, right, score, expected[right])
        assert abs(expected.get(row, 0.0) - expected[right]) <= rel * expected[right], (row, right)
    assert len({row for row, _ in found}) == len(found)
