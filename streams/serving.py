"""Serve: from a ranked list to the recommendation record, with a reason for every item."""

from __future__ import annotations

import numpy as np

from online_models.base import FloatArray
from online_models.items import hash_id

from .contracts.catalogue import Item
from .contracts.events import Event, Source
from .contracts.recommendations import Cause, ModelVersion, Recommendation, RecommendedItem
from .knowledge import Knowledge
from .reasons import in_words, loudest, title_of
from .scoring import Ranked, Scorer
from .user_state import UserState

MODEL = ModelVersion(name="headrace-blend", version="1")
FILL = "fill"
"""Source of the items that fill up a list where the sources name too few."""


def request_id(event_id: str) -> str:
    """The id of the recommendation that answers an event: a function of the event's id alone.

    >>> request_id("e1") == request_id("e1") != request_id("e2")
    True
    """
    return f"r-{hash_id('request/' + event_id):016x}"


class Server:
    """Makes recommendation records. Changes no model and no user's state."""

    def __init__(self, knowledge: Knowledge, scorer: Scorer, topic: str) -> None:
        self._knowledge, self._scorer, self._topic = knowledge, scorer, topic
        self.catalogue: dict[str, Item] = {}
        self._x = scorer.candidates.buffer()
        self._often = knowledge.lists.index("often")

    def answer(self, event: Event, source: Source, state: UserState) -> Recommendation:
        """The user's list now that the event has been learned."""
        ranked = self._rank(state, max(event.timestamp, state.last_ms), self._knowledge.config.k)
        return Recommendation(
            request_id=request_id(event.event_id), user_id=event.user_id, timestamp=event.timestamp,
            caused_by=Cause(event.event_id, self._topic, source.partition, source.offset),
            items=self._items(ranked, state, self._x), model=MODEL, intent=state.intent, generic=ranked.generic,
        )  # fmt: skip

    def on_request(self, state: UserState, now_ms: int, k: int) -> Recommendation:
        """The user's list at ``now_ms``, ``k`` long, without an event that asks for it."""
        now = max(now_ms, state.last_ms)
        ranked = self._rank(state, now, k)
        return Recommendation(
            request_id=f"r-{hash_id(f'get/{state.user_id}/{now}/{state.offset}'):016x}", user_id=state.user_id,
            timestamp=now, caused_by=None, items=self._items(ranked, state, self._x), model=MODEL,
            intent=state.intent if state.n_events else None, generic=ranked.generic,
        )  # fmt: skip

    def _rank(self, state: UserState, now: int, k: int) -> Ranked:
        return self._scorer.rank(state, now, k, self._x)

    def _items(self, ranked: Ranked, state: UserState, x: FloatArray) -> list[RecommendedItem]:
        ids, lists = self._knowledge.items.ids, self._knowledge.lists
        title = title_of(state.last_item, self.catalogue) if state.last_item else ""
        loud = loudest(x, np.maximum(ranked.at, 0), ranked.weights, len(lists))
        own = {int(o["item"]): o for o in state.own[: state.n]} if self._often in loud else {}
        plain = {source: in_words(lists[source], title, 0, 0, 0) for source in set(loud)}
        out = []
        rows, at = ranked.rows.tolist(), ranked.at.tolist()
        scores = ranked.scores.astype(np.float64).round(6).tolist()
        for row, score, place, source in zip(rows, scores, at, loud, strict=True):
            name, reason = lists[source], plain[source]
            if place < 0:
                name = reason = FILL
            elif source == self._often and row in own:
                o = own[row]
                reason = in_words(name, title, int(o["count"]), int(o["first"]), int(o["last"]))
            out.append(RecommendedItem(ids[row], score, name, reason))
        return out
