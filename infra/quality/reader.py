"""A reader: lists from models that somebody else teaches, for users whose events it follows itself.

It scores as the pipeline does and folds events into user states as the pipeline does, but teaches nothing. So models can stand still, or be
behind, while the session that asks is up to date.
"""

from __future__ import annotations

from online_models.base import FloatArray
from online_models.items import hash_id
from streams.contracts.events import Event, Source
from streams.experiments import Treatment
from streams.filters import FOR_ALL
from streams.pipeline import Pipeline
from streams.prequential import Moment, padded
from streams.sessions import Sessions
from streams.user_state import UserState, entry_of


class Reader:
    """Beside ``pipeline``, whose models answer under ``treatment``; user states are the reader's own.

    An item that those models have not learned yet gets its row when the reader meets it, and may not be listed before `learned`.
    """

    def __init__(self, pipeline: Pipeline, treatment: Treatment) -> None:
        self._pipeline, self._treatment = pipeline, treatment
        knowledge = pipeline.knowledge
        self.sessions = Sessions(pipeline.config, knowledge.items)
        self._scorer = pipeline.arms.scorer(treatment)
        self._x = self._scorer.candidates.buffer()
        self._unlearned: dict[str, int] = {}
        self._nothing = Moment(0, 0, 0, [], padded([])[None])

    def nobody(self, event: Event) -> UserState:
        """The state of the event's user if nothing were known of this user."""
        return UserState(event.user_id, self._pipeline.config.sources.factors.dims)

    def answer(self, event: Event, state: UserState | None = None) -> tuple[list[str], FloatArray]:
        """The list just before an event and its scores (`Ranked.levels`), for the user's ``state`` (None: as the reader knows it).

        Changes nothing.
        """
        p = self._pipeline
        state = state or self.sessions.peek(event.user_id) or self.nobody(event)
        version = p.versions.version_for(state.user_id)
        ranked = self._scorer.rank(state, event.timestamp, p.config.k, self._x, version, self._treatment)
        ids = p.knowledge.items.ids
        return [ids[row] for row in ranked.rows.tolist()], ranked.levels()

    def follow(self, event: Event, source: Source) -> None:
        """Fold the event into its user's state; the user's own vector moves by what the models as they are make of it."""
        p, k = self._pipeline, self._pipeline.knowledge
        if k.items.row(event.item_id) < 0:
            row = k.know(event.item_id, event.timestamp)
            self._unlearned[event.item_id] = int(k.items.blocked[row])
            k.items.blocked[row] |= FOR_ALL
        state = self.sessions.get(event.user_id)
        weight = p.config.weights.get(event.event_type, 0.0)
        name = hash_id(event.event_id)
        teacher = p.arms.teacher(self._treatment)
        _, step = teacher.interaction(event, source, state, weight, name, self._nothing)
        self.sessions.apply(state, entry_of(event, source, name, weight, step), source.partition)
        intent = 1.0 if state.converted else k.intent.score_one(k.intent.features(state.facts()))
        self.sessions.note_intent(state, round(intent, 6))

    def learned(self, event: Event) -> None:
        """The models have learned the event: its item may be listed."""
        before = self._unlearned.pop(event.item_id, None)
        if before is not None:
            self._pipeline.knowledge.items.blocked[self._pipeline.knowledge.items.row(event.item_id)] = before
