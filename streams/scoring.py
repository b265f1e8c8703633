"""Scoring: the blend over the united candidates, from a user's state to a ranked list. Changes no model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from online_models.base import NO_ROWS, FloatArray, IntArray, Query
from online_models.blend import ACTIVE, active_contexts
from online_models.deep import Version
from online_models.items import hash_id

from .candidates import Candidates
from .experiments import EVERYBODYS, Treatment
from .fallback import fill
from .filters import Filters
from .knowledge import Arm, Knowledge
from .models import Models
from .user_state import UserState


@dataclass(slots=True)
class Ranked:
    """A ranked list: item ``rows`` and ``scores``, best first, and where they stand in the feature matrix (``at``; -1: filled up).

    ``weights`` are the blend's for this request; ``active`` the contexts they came from; ``recent`` the user's latest items.
    """

    rows: IntArray
    scores: FloatArray
    at: IntArray
    active: IntArray
    weights: FloatArray
    recent: IntArray
    generic: str | None

    def levels(self) -> FloatArray:
        """Scores that are the same only where the blend cannot tell items apart: what fills up stands below, each by itself."""
        below = np.float32(self.scores.min(initial=0.0)) - np.arange(1, len(self.at) + 1, dtype=np.float32)
        return np.where(self.at < 0, below, self.scores)


class Scorer:
    """Makes one list at a time, in its own work space: ``candidates`` holds the last request's union, ``scores`` [n] what it scored."""

    def __init__(self, knowledge: Knowledge | Arm, filters: Filters, per_list: int) -> None:
        self.models, self._filters = knowledge, filters
        self.candidates = Candidates(knowledge, per_list)
        self.scores: FloatArray = np.zeros(len(self.candidates.rows), np.float32)
        self.bonus = bonus_of(knowledge)

    def query(self, state: UserState, timestamp: int, recent: int, version: Version | None) -> Query:
        """The request of this user at this time, pinned to a version of the deep model."""
        k = self.models
        items, ages, inside = state.recent(timestamp, recent)
        over = timestamp - state.last_ms > k.config.sessions.gap_s * 1000
        return Query(
            timestamp, state.own[: state.n], items, ages, k.items.blocked, state.vector, len(k.items), state.hash,
            0 if over else state.hash ^ state.session_ms,
            state.n_events if over else state.session_seq, state.n_events, k.scratch, 0 if over else inside,
            version, NO_ROWS if over else np.array(state.sequence, np.int32),
        )  # fmt: skip

    def contexts(self, state: UserState, timestamp: int, gap_ms: int) -> IntArray:
        """The blend's active contexts for this user at this time."""
        gap = timestamp - state.last_ms if state.n_events else -1
        fresh = gap < 0 or gap > gap_ms
        last = int(state.own[state.n - 1]["item"]) if state.n else -1
        active = np.empty(ACTIVE, np.int32)
        active_contexts(
            1 if fresh else state.session_events + 1, state.n_events, max(gap, 0) if state.n_events else -1,
            state.n_repeats / max(state.n_moves, 1), state.n_moves > 0,
            int(self.models.items.count[last]) if last >= 0 else -1, self.models.burst,
            -1.0 if fresh else state.intent, active,
        )  # fmt: skip
        return active

    def rank(
        self,
        state: UserState,
        timestamp: int,
        k: int,
        x: FloatArray,
        version: Version | None,
        treatment: Treatment = EVERYBODYS,
    ) -> Ranked:
        """The user's list at this time, ``k`` long where `fallback` reaches that far; ``x`` takes the features.

        ``version`` of the deep model is asked (None: none is).
        """
        config = self.models.config
        c = self.candidates
        q = self.query(state, timestamp, config.sessions.recent, version)
        active = self.contexts(state, timestamp, config.sessions.gap_s * 1000)
        self._filters.block(state, treatment)
        try:
            n = c.gather(q, x, treatment.silent)
            more = fill(self.models, c.rows[:n], state.own[: state.n]["item"], k - n) if n < k else ()
        finally:
            self._filters.unblock(state, treatment)
        blend = self.models.blend
        weights = (blend.collapse if treatment.learned else blend.start)(active, self.models.wide)
        if treatment.add is not None:
            weights = weights + treatment.add[: len(weights)]
        if self.bonus is not None:
            weights = weights + self.bonus
        rows, scores, at = np.empty(k, np.int32), np.empty(k, np.float32), np.empty(k, np.int32)
        found = blend.rank(x, n, weights, c.rows, self.scores, rows, scores, at)
        for row in more:
            rows[found], scores[found], at[found] = row, (scores[found - 1] if found else 0.0), -1
            found += 1
        generic = None
        if state.n == 0:
            generic = "nothing is known of the user yet"
        return Ranked(rows[:found], scores[:found], at[:found], active, weights, q.recent, generic)


def bonus_of(models: Models) -> FloatArray | None:
    """Weights [features] that stand for the bonus of new items, which is given whatever has been learned of it; None: there is none."""
    bonus = models.config.sources.untried.bonus
    if models.untried is None or not bonus:
        return None
    out = np.zeros(len(models.features), np.float32)
    out[models.features.index("bonus")] = bonus
    return out


def explore(ranked: Ranked, rate: float, draw: str) -> tuple[int, float] | None:
    """With probability ``rate`` give the first place to an item of the list, each as likely; those above it move down by one.

    The draw is a function of the text ``draw``. Returns the place that the item now first had, and the probability with which it came
    there: ``rate / n``, and ``1 - rate`` more for the best one, of a list of ``n``. None where the list is empty.
    """
    n = len(ranked.rows)
    if n == 0:
        return None
    drawn = hash_id(f"explore/{draw}")
    place = (drawn >> 32) * n >> 32 if (drawn & 0xFFFFFFFF) < rate * 2.0**32 else 0
    for values in (ranked.rows, ranked.at, ranked.scores):
        values[: place + 1] = np.roll(values[: place + 1], 1)
    return place, rate / n + (1.0 - rate if place == 0 else 0.0)
