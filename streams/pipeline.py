"""The whole path from an event to a recommendation, as one plain object: no broker, no clock, no thread.

`Pipeline.process` takes a micro-batch and handles its events one by one, so that the cut into batches never matters. For
each event: *test* (the list from before it, the metrics, the blend's step), *learn* (the interaction), *serve* (the new list).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from online_models.base import Arrays, FloatArray, IntArray
from online_models.deep import Version
from online_models.items import hash_id
from online_models.metrics import K

from .arms import Arms
from .capture import Capture
from .catalogue import Catalogue
from .config import PipelineConfig
from .contracts.catalogue import Item
from .contracts.events import Event, Source
from .contracts.experiments import Experiment
from .contracts.interactions import Delta, Interaction
from .contracts.recommendations import Recommendation
from .experiments import EVERYBODYS, Assignment, Experiments, Treatment
from .filters import Filters
from .hotswap import Versions, name_of
from .knowledge import Knowledge
from .moments import OpenMoments
from .monitoring import figures
from .prequential import Moment, Prequential, is_target, padded
from .quality_watch import QualityWatch
from .serving import Server
from .sessions import Sessions
from .user_state import UserState, entry_of


@dataclass(slots=True)
class Outcome:
    """What one event led to.

    ``interaction`` is None where it is in the topic already, ``recommendation`` where the event is a copy. ``scores`` are of ``fresh``.
    """

    event: Event
    fresh: list[str]
    recommendation: Recommendation | None
    interaction: Interaction | None
    duplicate: bool = False
    scores: FloatArray | None = None


class Pipeline:
    """Events in, recommendations out. ``stored``: user states are loaded and written by somebody else between batches."""

    def __init__(self, config: PipelineConfig | None = None, topic: str = "events", stored: bool = False) -> None:
        self.config = config or PipelineConfig()
        self.knowledge = Knowledge(self.config)
        self.knowledge.compacted = self._compacted  # type: ignore[method-assign]
        self.sessions = Sessions(self.config, self.knowledge.items, stored)
        self.catalogue = Catalogue(self.config.max_items)
        self.filters = Filters(self.config.filters, self.knowledge.items, self.catalogue)
        self.arms = Arms(self.config, self.knowledge, self.filters)
        self.scorer = self.arms.scorer(EVERYBODYS)
        self.versions = Versions(self.knowledge, self.config.trial)
        k = self.knowledge
        self.experiments = Experiments(k.lists, k.features, self.versions.held, k.arms, self.config.isolated_arms)
        self.server = Server(self.knowledge, self.arms.scorer, self.catalogue, topic, self.version_for)
        self.moments = OpenMoments(
            self.scorer.candidates.buffer, self._judge, self.config.open_moments, self.config.max_unacknowledged
        )
        self.prequential = Prequential(self.knowledge.lists)
        self.watch = QualityWatch(self.knowledge, self.prequential.names)
        self.rating_max: float | None = None
        """The largest rating there will be, where it is known (replay); only the metrics use it."""
        self.counts = {"events": 0, "duplicates": 0, "redelivered": 0, "late": 0, "unknown_type": 0}
        self.answers = True
        """Whether each event is answered by a list: the lists from before the events do not need it."""
        self._held: dict[int, dict[int, Interaction]] = {}
        self._capture = Capture(self._copy)

    # -- the path -----------------------------------------------------------------------------------------------------

    def on_event(self, event: Event, source: Source) -> Recommendation | None:
        """Handle one event; the recommendation that answers it, or None for a copy of an earlier event."""
        return self._step(event, source).recommendation

    def process(self, batch: Sequence[tuple[Event, Source]]) -> list[Outcome]:
        """Handle a micro-batch, event by event."""
        return [self._step(event, source) for event, source in batch]

    def _step(self, event: Event, source: Source) -> Outcome:
        k = self.knowledge
        event_hash = hash_id(event.event_id)
        learned = (source.partition, source.offset) in k.offsets
        held = self._held[source.partition].pop(source.offset, None) if source.partition in self._held else None
        if not learned and held is None and event_hash in k.event_ids:
            self.counts["duplicates"] += 1
            return Outcome(event, [], None, None, duplicate=True)
        self.counts["events"] += 1
        self.watch.looks_at(event, source)
        state = self.sessions.get(event.user_id)
        weight = self._weight(event)
        treatment = self._assign(state, event.timestamp, event).treatment
        moment = self._test(event, source, state, learned, treatment)
        # What is in the state was published before: where nobody knows of it, the topics have been made anew.
        known = learned or held is not None
        applied = known and state.partition == source.partition and state.offset >= source.offset
        interaction = None
        if learned:
            self.counts["redelivered"] += 1
        if not applied or not learned:
            teacher = self.arms.teacher(treatment)
            made, step = teacher.interaction(event, source, state, weight, event_hash, moment, treatment.apart)
            if not applied:
                self.sessions.apply(state, entry_of(event, source, event_hash, weight, step), source.partition)
                if state.sample:
                    made.deltas["intent"] = Delta([], state.sample)
            if not learned:
                k.learn(held or made)
                interaction = None if held else made
            if not applied:
                intent = 1.0 if state.converted else k.intent.score_one(k.intent.features(state.facts()))
                self.sessions.note_intent(state, round(intent, 6))
        self.moments.settle(moment, event, source)
        recommendation = None
        if self.answers:
            assignment = self._assign(state, max(event.timestamp, state.last_ms), event)
            recommendation = self.server.answer(event, source, state, assignment)
            state.served = [i.item_id for i in recommendation.items]
        return Outcome(event, moment.fresh, recommendation, interaction, scores=moment.scores)

    def _assign(self, state: UserState, timestamp: int, event: Event | None) -> Assignment:
        context = event.context if event is not None else None
        return self.experiments.assign(state, timestamp, self.config.sessions.gap_s * 1000, context)

    def version_for(self, user_id: str, treatment: Treatment) -> Version | None:
        """Of the deep model, for a user under a treatment."""
        return (
            self.versions.version_for(user_id)
            if treatment.version is None
            else self.versions.held.get(treatment.version)
        )

    def _weight(self, event: Event) -> float:
        weight = self.config.weights.get(event.event_type)
        if weight is None:
            self.counts["unknown_type"] += 1
            return 0.0
        return weight

    # -- test ---------------------------------------------------------------------------------------------------------

    def _test(self, event: Event, source: Source, state: UserState, learned: bool, treatment: Treatment) -> Moment:
        """The moment that this event belongs to, with the lists from before it, and the event among its targets."""
        moments = self.moments
        if moments.begins(event, source):
            self._capture.begins(source.partition, source.offset)
        elif moments.late(event, source):
            self.counts["late"] += 1
        moment = moments.find(event, source, state.hash)
        if moment is None:
            moment = self._open(event, state, treatment)
            moments.add(moment, event, source, state.hash)
        k, repeats = self.knowledge, self.config.filters.repeats
        if not learned and is_target(event, state.last_item, self.rating_max or k.rating_max, repeats):
            row = k.know(event.item_id, event.timestamp)
            if row not in moment.targets:
                moment.targets.append(row)
        return moment

    def _open(self, event: Event, state: UserState, treatment: Treatment) -> Moment:
        x, scorer = self.moments.buffer(), self.arms.scorer(treatment)
        version = self.version_for(state.user_id, treatment)
        compared, rival = self.versions.rival_for(state.user_id, event.event_id) if treatment.tries else (False, None)
        other = self._rival(state, event.timestamp, x, rival, treatment) if compared else None
        ranked = scorer.rank(state, event.timestamp, self.config.k, x, version, treatment)
        c = scorer.candidates
        ids, row_of = self.knowledge.items.ids, self.knowledge.items.row
        served = [r for r in map(row_of, state.served) if r >= 0]
        lists = np.concatenate([padded(ranked.rows)[None], padded(served)[None], c.lists(20)])
        return Moment(
            event.timestamp, self.counts["events"] - 1, len(self.knowledge.items), [ids[r] for r in ranked.rows.tolist()], lists,
            x=x, rows=c.rows[: c.n].copy(), n_rows=c.n, active=ranked.active, version=name_of(version), rival=other,
            rival_version=name_of(rival), arm=treatment.arm, scores=ranked.levels(), untold=True,
        )  # fmt: skip

    def _rival(
        self, state: UserState, timestamp: int, x: FloatArray, version: Version | None, treatment: Treatment
    ) -> IntArray:
        """What another version would list, blended and by itself [2, 20]."""
        scorer = self.arms.scorer(treatment)
        ranked = scorer.rank(state, timestamp, self.config.k, x, version, treatment)
        own = scorer.candidates.lists(K)[self.knowledge.lists.index("deep")]
        return np.stack([padded(ranked.rows), own])

    def _judge(self, moment: Moment) -> None:
        found = self.prequential.close(moment)
        if found is not None:
            self.versions.judge(moment, found)
            self.watch.judged(moment.arm, found[:, 0])

    def finish(self) -> None:
        """The stream has ended: judge the moments that are still open."""
        self.moments.finish()

    # -- learn --------------------------------------------------------------------------------------------------------

    def learn(self, interaction: Interaction) -> bool:
        """Learn somebody else's interaction; False if it was learned before."""
        self.watch.looks_at(None)
        return self.knowledge.learn(interaction)

    def hold(self, interaction: Interaction) -> None:
        """Keep the interaction of an event that will be delivered again, to be used when it is."""
        if (interaction.partition, interaction.offset) not in self.knowledge.offsets:
            self._held.setdefault(interaction.partition, {})[interaction.offset] = interaction

    def release(self, partition: int) -> None:
        """The partition is not ours: learn what was held for it."""
        self.watch.looks_at(None)
        for _, interaction in sorted(self._held.pop(partition, {}).items()):
            self.knowledge.learn(interaction)

    def safe_offset(self, partition: int) -> int | None:
        """Events from this offset on may belong to an open moment and should not be committed yet; None: no such limit."""
        return self.moments.safe_offset(partition)

    # -- serve --------------------------------------------------------------------------------------------------------

    def recommend(self, user_id: str, k: int, state: UserState | None = None) -> Recommendation:
        """The user's list now, as of the latest event time known. Changes nothing."""
        state, now, assignment = self.asked(user_id, state)
        return self.server.on_request(state, now, k, assignment)

    def asked(self, user_id: str, state: UserState | None = None) -> tuple[UserState, int, Assignment]:
        """Who asks now, the event time that this is, and the variants that the answer is made under. Changes nothing."""
        state = state or self.sessions.peek(user_id) or UserState(user_id, self.config.sources.factors.dims)
        now = max(self.knowledge.now_ms, state.last_ms)
        return state, now, self._assign(state, now, None)

    def metrics(self) -> dict[str, float | dict[str, float]]:
        """Figures for monitoring: counts, recent quality by list, blend, memory, drift."""
        return figures(self, held=sum(map(len, self._held.values())))

    def run_experiments(self, experiments: Iterable[Experiment], at_once: bool = True) -> None:
        """These experiments run from now on, and no others. Between micro-batches only.

        Unless ``at_once``, those with arms that learn apart wait until `Arms.make` has made these.
        """
        self.experiments.run(experiments)
        self.arms.keep(self.experiments.apart)
        self.prequential.keep_arms(self.experiments.runs)
        while at_once and (work := self.arms.make()) is not None:
            work()

    # -- around it ----------------------------------------------------------------------------------------------------

    def begin(self, committed: Mapping[int, int]) -> None:
        """These partitions are ours from now on, from these offsets on: what is cached of others may be stale."""
        self.sessions.drop_all()
        self.sessions.committed.clear()
        self.sessions.committed.update(committed)
        self.moments.keep(committed)
        self._capture.call_off()

    def catalogue_update(self, item_id: str, item: Item | None) -> None:
        """A catalogue record arrived (None: the item was removed)."""
        self.filters.update(item_id, item)
        self.knowledge.tell(item_id, item)

    def _compacted(self, new_index: IntArray) -> None:
        self.sessions.remap(new_index)
        self.prequential.remap(new_index)
        self.moments.remap(new_index)

    def request_capture(self) -> bool:
        """Ask for a copy of the item-side state, taken where the next moment begins (see `captured`).

        False while an earlier copy waits, or interactions are held back: what has been read of the topic is then not
        all learned, and the place in the topic that goes with the copy would be wrong. The place to note is the one at
        the time of asking.
        """
        return self._capture.request(allowed=not self.holds)

    @property
    def capturing(self) -> bool:
        """Whether a copy was asked for and has not been given; an assignment calls it off."""
        return self._capture.pending

    @property
    def holds(self) -> bool:
        """Whether interactions are held back."""
        return any(self._held.values())

    def captured(self, committed: dict[int, int]) -> Arrays | None:
        """The copy that was asked for, once everything in it is committed; None before. See `Capture.take`."""
        return self._capture.take(committed)

    def _copy(self) -> Arrays:
        return {name: array.copy() for name, array in self.knowledge.snapshot().items()}

    def snapshot(self) -> Arrays:
        """Item-side state and open moments as named arrays (views: copy them before going on)."""
        return self.knowledge.snapshot() | {"moments": self.moments.snapshot()}

    def restore(self, state: Arrays) -> None:
        """Take over a snapshot."""
        self.knowledge.restore(state)
        self.arms.keep(tuple(self.knowledge.arms))
        if "moments" in state:  # a copy made where moments begin has none
            self.moments.restore(state["moments"])
        for row, item_id in enumerate(self.knowledge.items.ids):
            self.filters.admit(row, item_id)
