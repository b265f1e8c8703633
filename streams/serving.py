"""Serve: from a ranked list to the recommendation record, with a reason for every item."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from online_models.base import BOUGHT, FloatArray
from online_models.covisitation import CoVisitation
from online_models.deep import Version
from online_models.experiments.interleaving import Team, team_draft
from online_models.items import hash_id

from .catalogue import Catalogue
from .contracts.events import Event, Source
from .contracts.recommendations import After, Cause, ModelVersion, Recommendation, RecommendedItem
from .experiments import EVERYBODYS, NONE, Assignment, Treatment
from .knowledge import Knowledge
from .reasons import FILL, in_words, loudest
from .scoring import Ranked, Scorer, explore
from .user_state import UserState

MODEL, RELEASE = "headrace-blend", "1"


def named(version: Version | None) -> ModelVersion:
    """How a record names the blend and the version of the deep model in it."""
    return ModelVersion(MODEL, RELEASE if version is None else f"{RELEASE}+{version.name}")


def request_id(event_id: str) -> str:
    """The id of the recommendation that answers an event: a function of the event's id alone.

    >>> request_id("e1") == request_id("e1") != request_id("e2")
    True
    """
    return f"r-{hash_id('request/' + event_id):016x}"


class Server:
    """Makes recommendation records. Changes no model and no user's state.

    ``scorer_for`` gives the scorer for a treatment, ``version_for`` the version of the deep model for a user's id under it.
    """

    def __init__(
        self, knowledge: Knowledge, scorer_for: Callable[[Treatment], Scorer], catalogue: Catalogue, topic: str,
        version_for: Callable[[str, Treatment], Version | None],
    ) -> None:  # fmt: skip
        self._knowledge, self._topic, self._scorer_for, self._version_for = knowledge, topic, scorer_for, version_for
        self._title_of = catalogue.title_of
        self._x = scorer_for(EVERYBODYS).candidates.buffer()
        self._often = knowledge.lists.index("often")
        self._linking = {
            knowledge.lists.index(s.lists[0]): s
            for s in knowledge.sources
            if isinstance(s, CoVisitation) and s.last > 1
        }
        """Lists in which an item may go with another item than the user's last one."""

    def answer(self, event: Event, source: Source, state: UserState, assignment: Assignment = NONE) -> Recommendation:
        """The user's list now that the event has been learned."""
        now = max(event.timestamp, state.last_ms)
        name = request_id(event.event_id)
        cause = Cause(event.event_id, self._topic, source.partition, source.offset)
        made = self._make(name, state, now, self._knowledge.config.k, cause, assignment)
        return msgspec.structs.replace(made, timestamp=event.timestamp) if now != event.timestamp else made

    def on_request(self, state: UserState, now_ms: int, k: int, assignment: Assignment = NONE) -> Recommendation:
        """The user's list at ``now_ms``, ``k`` long, without an event that asks for it. Who asks again, and nothing has happened
        meanwhile, gets the same ``request_id``; lists of another length are others."""
        now = max(now_ms, state.last_ms)
        name = f"r-{hash_id(f'get/{k}/{now}/{state.offset}/{state.user_id}'):016x}"
        made = self._make(name, state, now, k, None, assignment)
        after = After(state.partition, state.offset) if state.offset >= 0 else None
        return msgspec.structs.replace(made, after=after)

    def _make(
        self, name: str, state: UserState, now: int, k: int, cause: Cause | None, assignment: Assignment
    ) -> Recommendation:
        treatment, exposures = assignment.treatment, assignment.exposures
        items, version, ranked, propensity = self._ranked(name, state, now, k, treatment)
        if treatment.beside is not None and treatment.names is not None:
            others, *_ = self._ranked(name, state, now, k, treatment.beside)
            items, propensity = drafted(items, others, treatment.names, k, name)
        return Recommendation(
            request_id=name, user_id=state.user_id, timestamp=now, caused_by=cause, items=items, model=named(version),
            intent=state.intent if state.n_events else None,
            experiment=exposures[0] if exposures else None, experiments=list(exposures), propensity=propensity,
            generic=ranked.generic,
        )  # fmt: skip

    def _ranked(
        self, name: str, state: UserState, now: int, k: int, treatment: Treatment
    ) -> tuple[list[RecommendedItem], Version | None, Ranked, float | None]:
        version = self._version_for(state.user_id, treatment)
        ranked = self._scorer_for(treatment).rank(state, now, k, self._x, version, treatment)
        drawn = explore(ranked, treatment.explore, name) if treatment.explore else None
        items = self.reasoned(ranked, state, self._x)
        if drawn is None:
            return items, version, ranked, None
        place, propensity = drawn
        items[0] = msgspec.structs.replace(items[0], place=place)
        return items, version, ranked, propensity

    def reasoned(self, ranked: Ranked, state: UserState, x: FloatArray) -> list[RecommendedItem]:
        """The items of a ranked list with the source that speaks loudest for each, and the reason in words."""
        ids, lists = self._knowledge.items.ids, self._knowledge.lists
        recent = ranked.recent
        title = self._title_of(ids[recent[0]]) if len(recent) else ""
        loud = loudest(x, np.maximum(ranked.at, 0), ranked.weights, len(lists), self._knowledge.beside)
        own = state.own[: state.n]
        own_rows = own["item"]
        plain = {source: in_words(lists[source], title) for source in set(loud)}
        mark = self._knowledge.scratch.mark
        links = {s: m.links(recent, ranked.rows, mark).tolist() for s, m in self._linking.items() if s in plain}
        linked: dict[tuple[int, int], str] = {}
        out = []
        rows, at = ranked.rows.tolist(), ranked.at.tolist()
        scores = [round(score, 6) for score in ranked.scores.tolist()]
        for n, (row, score, place, source) in enumerate(zip(rows, scores, at, loud, strict=True)):
            name, reason = lists[source], plain[source]
            if place < 0:
                name, reason = FILL, in_words(FILL, title)
            elif source == self._often and len(found := np.flatnonzero(own_rows == row)):
                o = own[found[0]]
                times = int(o["count"]), int(o["first"]), int(o["last"])
                reason = in_words(name, title, *times, bought=bool(o["flags"] & BOUGHT))
            elif source in links and (link := links[source][n]) >= 0:
                if (source, link) not in linked:
                    linked[source, link] = in_words(name, self._title_of(ids[link]))
                reason = linked[source, link]
            out.append(RecommendedItem(ids[row], score, name, reason))
        return out


def drafted(
    one: list[RecommendedItem], other: list[RecommendedItem], names: tuple[str, str], k: int, draw: str
) -> tuple[list[RecommendedItem], float]:
    """The list that two variants' lists share, each item with whose pick it is, and the probability of just this list."""
    by_id = ({item.item_id: item for item in one}, {item.item_id: item for item in other})
    shown = team_draft([*by_id[0]], [*by_id[1]], k, hash_id(f"interleave/{draw}"))
    items = []
    for item_id, team in zip(shown.items, shown.teams, strict=True):
        whose = None if team is Team.NEITHER else names[team]
        found = by_id[team if team is not Team.NEITHER else item_id not in by_id[0]]
        items.append(msgspec.structs.replace(found[item_id], variant=whose))
    return items, shown.propensity
