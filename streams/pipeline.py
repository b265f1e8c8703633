"""The whole path from an event to a recommendation, as one plain object: no broker, no clock, no thread.

`Pipeline.process` takes a micro-batch and handles its events one by one, so that the cut into batches never matters. For
each event: *test* (the list from before it, the metrics, the blend's step), *learn* (the interaction), *serve* (the new list).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from online_models.base import Arrays, FloatArray, IntArray
from online_models.intent import decode_sample, encode_sample
from online_models.items import hash_id

from .config import PipelineConfig
from .contracts.catalogue import Item
from .contracts.events import Event, Source
from .contracts.interactions import Delta, Interaction
from .contracts.recommendations import Cause, ModelVersion, RecommendedItem, Recommendation
from .filters import Filters
from .knowledge import Knowledge
from .prequential import GONE, Moment, Prequential, padded
from .reasons import in_words, loudest, title_of
from .scoring import Ranked, Scorer
from .sessions import Entry, Sessions, UserState, entry_of

MODEL = ModelVersion(name="headrace-blend", version="1")
_LOW_RATING = 0.8
"""A rating below this share of the largest rating is learned, but is nobody's target."""


@dataclass(slots=True)
class Outcome:
    """What one event led to. ``interaction`` is None where it is already in the topic; ``recommendation`` where the event is a copy."""

    event: Event
    fresh: list[str]
    recommendation: Recommendation | None
    interaction: Interaction | None
    duplicate: bool = False


@dataclass(slots=True)
class Capture:
    """A copy of the item-side state from before the event at ``offset`` of ``partition``."""

    state: Arrays
    partition: int
    offset: int


@dataclass(slots=True)
class _Front:
    """The latest timestamp of a partition, and its moments, which may get more events."""

    timestamp: int
    offset: int
    moments: dict[str, Moment]


class Pipeline:
    """Events in, recommendations out. ``stored``: user states are loaded and written by somebody else between batches."""

    def __init__(self, config: PipelineConfig | None = None, topic: str = "events", stored: bool = False) -> None:
        self.config = config or PipelineConfig()
        self.topic = topic
        self.knowledge = Knowledge(self.config)
        self.knowledge.compacted = self._compacted  # type: ignore[method-assign]
        self.sessions = Sessions(self.config, self.knowledge.items, stored)
        self.filters = Filters(self.config.filters, self.knowledge.items)
        self.scorer = Scorer(self.knowledge, self.filters, self.config.sources.candidates)
        self.catalogue: dict[str, Item] = {}
        self.prequential = Prequential(self.knowledge.lists)
        self.rating_max: float | None = None
        """The largest rating there will be, where it is known (replay); only the metrics use it."""
        self.counts = {"events": 0, "duplicates": 0, "redelivered": 0, "late": 0, "unknown_type": 0}
        self._fronts: dict[int, _Front] = {}
        self._held: dict[int, dict[int, Interaction]] = {}
        self._often = self.knowledge.lists.index("often")
        self._wanted = False
        self._captured: Capture | None = None
        self._buffers: list[FloatArray] = [self.scorer.candidates.buffer()]
        self._served_x = self.scorer.candidates.buffer()

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
        if not learned and event_hash in k.event_ids:
            self.counts["duplicates"] += 1
            return Outcome(event, [], None, None, duplicate=True)
        self.counts["events"] += 1
        state = self.sessions.get(event.user_id)
        weight = self._weight(event)
        moment = self._test(event, source, state)
        applied = state.partition == source.partition and state.offset >= source.offset
        interaction = None
        if learned:
            self.counts["redelivered"] += 1
        if not applied or not learned:
            made, step = self._interaction(event, source, state, weight, event_hash, moment)
            if not learned:
                k.learn(held or made)
                interaction = None if held else made
            if not applied:
                self.sessions.apply(state, entry_of(event, source, event_hash, weight, step), source.partition)
                intent = 1.0 if state.converted else k.intent.score_one(k.intent.features(state.facts()))
                self.sessions.note_intent(state, round(intent, 6))
        recommendation = self._serve(event, source, state)
        return Outcome(event, moment.fresh, recommendation, interaction)

    def _weight(self, event: Event) -> float:
        weight = self.config.weights.get(event.event_type)
        if weight is None:
            self.counts["unknown_type"] += 1
            return 0.0
        return weight

    # -- test ---------------------------------------------------------------------------------------------------------

    def _test(self, event: Event, source: Source, state: UserState) -> Moment:
        """The moment that this event belongs to, with the lists from before it, and the event among its targets."""
        front = self._fronts.get(source.partition)
        if front is None or event.timestamp > front.timestamp:
            if front is not None:
                for moment in front.moments.values():
                    self._close(moment)
            front = self._fronts[source.partition] = _Front(event.timestamp, source.offset, {})
            if self._wanted:
                self._captured, self._wanted = Capture(self._copy(), source.partition, source.offset), False
        elif event.timestamp < front.timestamp:
            self.counts["late"] += 1
        moment = front.moments.get(event.user_id) if event.timestamp == front.timestamp else None
        if moment is None:
            moment = self._open(event, state)
            if event.timestamp == front.timestamp:
                front.moments[event.user_id] = moment
                self._limit(front)
        if self._is_target(event, state, self.rating_max):
            row = self.knowledge.know(event.item_id, event.timestamp)
            if row not in moment.targets:
                moment.targets.append(row)
        if event.timestamp < front.timestamp:
            self._close(moment)
        return moment

    def _open(self, event: Event, state: UserState) -> Moment:
        x = self._buffers.pop() if self._buffers else self.scorer.candidates.buffer()
        ranked = self.scorer.rank(state, event.timestamp, self.config.k, x)
        c = self.scorer.candidates
        ids, row_of = self.knowledge.items.ids, self.knowledge.items.row
        served = [r for r in map(row_of, state.served) if r >= 0]
        lists = np.concatenate([padded(ranked.rows)[None], padded(served)[None], c.lists(20)])
        return Moment(
            event.timestamp, self.counts["events"] - 1, len(self.knowledge.items), [ids[r] for r in ranked.rows.tolist()], lists,
            x=x, rows=c.rows[: c.n].copy(), n_rows=c.n, active=ranked.active,
        )  # fmt: skip

    def _is_target(self, event: Event, state: UserState, rating_max: float | None = None) -> bool:
        """Not the same item as just before, and not a low rating (against the largest so far, where none is given)."""
        if event.event_type == "rating" and event.value is not None:
            best = rating_max or max(self.knowledge.rating_max, event.value)
            if event.value < _LOW_RATING * best:
                return False
        return event.item_id != state.last_item

    def _limit(self, front: _Front) -> None:
        """Bounded memory: the oldest of too many open moments can no longer teach the blend."""
        if len(front.moments) > self.config.open_moments:
            for moment in front.moments.values():
                if moment.x is not None:
                    self._release(moment)
                    break

    def _release(self, moment: Moment) -> None:
        if moment.x is not None:
            self._buffers.append(moment.x)
            moment.x = moment.rows = None

    def _close(self, moment: Moment) -> None:
        self._release(moment)
        found = self.prequential.close(moment)
        if found is not None:
            self.knowledge.note("hr@20 blend", float(found[0, 0]))
            self.knowledge.note("hr@20 served", float(found[1, 0]))

    def finish(self) -> None:
        """The stream has ended: judge the moments that are still open."""
        for front in self._fronts.values():
            for moment in front.moments.values():
                self._close(moment)
        self._fronts.clear()

    # -- learn --------------------------------------------------------------------------------------------------------

    def _interaction(
        self, event: Event, source: Source, state: UserState, weight: float, event_hash: int, moment: Moment
    ) -> tuple[Interaction, bytes]:
        """What everybody learns from this event, and the step of the user's own vector. Changes no model."""
        k = self.knowledge
        row = k.know(event.item_id, event.timestamp)
        self.filters.admit(row, event.item_id)
        begins = state.starts_session(event.timestamp, event.session_id, self.config.sessions.gap_s * 1000)
        items, ages, inside = state.recent(event.timestamp, k.reach)
        deltas: dict[str, Delta] = {}
        step = b""
        if weight > 0.0:
            rows, steps, user_step = k.factors.propose(state.vector, row, event_hash)
            deltas["mf"] = Delta([k.items.ids[r] for r in rows.tolist()], steps.tobytes())
            step = user_step.tobytes()
        if (
            moment.x is not None
            and moment.rows is not None
            and moment.active is not None
            and self._is_target(event, state)
        ):
            at = np.flatnonzero(moment.rows == row)
            if len(at):
                deltas["blend"] = Delta([], k.blend.propose(moment.x, moment.n_rows, int(at[0]), moment.active))
        sample = self._intent_sample(event, state, begins)
        if sample:
            deltas["intent"] = Delta([], sample)
        session = state.hash ^ (event.timestamp if begins else state.session_ms)
        interaction = Interaction(
            item_id=event.item_id, event_type=event.event_type, weight=weight, timestamp=event.timestamp, value=event.value,
            user=state.hash, session=session, event=event_hash, history=[k.items.ids[r] for r in items.tolist()],
            ages=ages.tolist(), in_session=0 if begins else inside, partition=source.partition, offset=source.offset,
            clock=k.clock + 1, deltas=deltas,
        )  # fmt: skip
        return interaction, step

    def _intent_sample(self, event: Event, state: UserState, begins: bool) -> bytes:
        """The labelled sample of a session that this event closes (not converted) or converts; empty otherwise."""
        if not state.sample or state.converted:
            return b""
        converts = event.event_type in self.config.conversions
        if not begins and not converts:
            return b""
        return encode_sample(decode_sample(state.sample)[0], not begins)

    def learn(self, interaction: Interaction) -> bool:
        """Learn somebody else's interaction; False if it was learned before."""
        return self.knowledge.learn(interaction)

    def hold(self, interaction: Interaction) -> None:
        """Keep the interaction of an event that will be delivered again, to be used when it is."""
        if (interaction.partition, interaction.offset) not in self.knowledge.offsets:
            self._held.setdefault(interaction.partition, {})[interaction.offset] = interaction

    def release(self, partition: int) -> None:
        """The partition is not ours: learn what was held for it."""
        for _, interaction in sorted(self._held.pop(partition, {}).items()):
            self.knowledge.learn(interaction)

    def safe_offset(self, partition: int) -> int | None:
        """Events from this offset on may belong to an open moment and should not be committed yet; None: no such limit."""
        front = self._fronts.get(partition)
        return None if front is None else front.offset

    # -- serve --------------------------------------------------------------------------------------------------------

    def _serve(self, event: Event, source: Source, state: UserState) -> Recommendation:
        ranked = self.scorer.rank(state, max(event.timestamp, state.last_ms), self.config.k, self._served_x)
        items = self._items(ranked, state, self._served_x)
        state.served = [i.item_id for i in items]
        return Recommendation(
            request_id=request_id(event.event_id), user_id=event.user_id, timestamp=event.timestamp,
            caused_by=Cause(event.event_id, self.topic, source.partition, source.offset), items=items, model=MODEL,
            intent=state.intent, generic=ranked.generic,
        )  # fmt: skip

    def recommend(self, user_id: str, k: int, state: UserState | None = None) -> Recommendation:
        """The user's list now, as of the latest event time known. Changes nothing."""
        state = state or self.sessions.peek(user_id) or UserState(user_id, self.config.sources.factors.dims)
        now = max([f.timestamp for f in self._fronts.values()] + [state.last_ms])
        ranked = self.scorer.rank(state, now, k, self._served_x)
        return Recommendation(
            request_id=f"{hash_id(f'{user_id}/{now}'):016x}", user_id=user_id, timestamp=now, caused_by=None,
            items=self._items(ranked, state, self._served_x), model=MODEL, generic=ranked.generic,
        )  # fmt: skip

    def _items(self, ranked: Ranked, state: UserState, x: FloatArray) -> list[RecommendedItem]:
        k = self.knowledge
        ids, lists = k.items.ids, k.lists
        title = title_of(state.last_item, self.catalogue) if state.last_item else ""
        loud = loudest(x, np.maximum(ranked.at, 0), ranked.weights, len(lists))
        own = {int(o["item"]): o for o in state.own[: state.n]} if self._often in loud else {}
        out = []
        for row, score, at, source in zip(
            ranked.rows.tolist(), ranked.scores.tolist(), ranked.at.tolist(), loud, strict=True
        ):
            name = lists[source] if at >= 0 else "fill"
            if name == "often" and row in own:
                o = own[row]
                reason = in_words(name, title, int(o["count"]), int(o["first"]), int(o["last"]))
            else:
                reason = in_words(name, title, 0, 0, 0)
            out.append(RecommendedItem(ids[row], round(score, 6), name, reason))
        return out

    def metrics(self) -> dict[str, float | dict[str, float]]:
        """Figures for monitoring: counts, recent quality by list, blend, memory, drift."""
        k, q = self.knowledge, self.prequential
        report = k.blend_report()
        out: dict[str, float | dict[str, float]] = {name: float(n) for name, n in self.counts.items()}
        for column, metric in enumerate(("hr_at_20", "recall_at_20", "mrr_at_20", "ndcg_at_20")):
            out[metric] = dict(zip(q.names, q.recent[:, column].tolist(), strict=True))
        return out | {
            "moments": float(q.scored), "items": float(len(k.items)), "cached_users": float(len(self.sessions)),
            "held_interactions": float(sum(map(len, self._held.values()))), "intent_samples": float(k.intent.n_learned),
            "blend_weight": report["weights"], "blend_updates": report["updates"],
            "model_bytes": dict(k.memory()), "drift_alarms": dict(k.drift.alarms),
        }  # fmt: skip

    # -- around it ----------------------------------------------------------------------------------------------------

    def catalogue_update(self, item_id: str, item: Item | None) -> None:
        """A catalogue record arrived (None: the item was removed)."""
        if item is None:
            self.catalogue.pop(item_id, None)
        else:
            self.catalogue[item_id] = item
        self.filters.update(item_id, item)

    def _compacted(self, new_index: IntArray) -> None:
        self.sessions.remap(new_index)
        self.prequential.remap(new_index)
        for front in self._fronts.values():
            for moment in front.moments.values():
                self._release(moment)
                moved = new_index[np.maximum(moment.lists, 0)]
                moment.lists = np.where(moment.lists >= 0, moved, GONE).astype(np.int32)
                moment.targets = [int(new_index[t]) if new_index[t] >= 0 else GONE - 1 for t in moment.targets]
                moment.n_items = int(np.count_nonzero(new_index[: moment.n_items] >= 0))

    def request_capture(self) -> bool:
        """Ask for a copy of the item-side state, taken where the next moment begins (see `captured`).

        False while an earlier copy waits, or interactions are held back: what has been read of the topic is then not all learned, and the place
        in the topic that goes with the copy would be wrong. The place to note is the one at the time of asking.
        """
        self._wanted = self._captured is None and not any(self._held.values())
        return self._wanted

    def captured(self, committed: dict[int, int]) -> Arrays | None:
        """The copy that was asked for, once everything in it is committed; None before.

        It holds nothing from ``offset`` on of its partition, so that a restart from it learns again exactly what is
        delivered again. It must not be stored earlier: until then it may hold interactions that nobody else has seen.
        """
        c = self._captured
        if c is None or committed.get(c.partition, -1) < c.offset:
            return None
        self._captured = None
        return c.state

    def _copy(self) -> Arrays:
        return {name: array.copy() for name, array in self.knowledge.snapshot().items()}

    def snapshot(self) -> Arrays:
        """Item-side state as named arrays (views: copy them before going on)."""
        return self.knowledge.snapshot()

    def restore(self, state: Arrays) -> None:
        """Take over a snapshot."""
        self.knowledge.restore(state)
        for row, item_id in enumerate(self.knowledge.items.ids):
            self.filters.admit(row, item_id)


def request_id(event_id: str) -> str:
    """The id of the recommendation that answers an event: a function of the event's id alone.

    >>> request_id("e1") == request_id("e1")
    True
    """
    return f"r-{hash_id('request/' + event_id):016x}"


__all__ = ["Entry", "Outcome", "Pipeline", "request_id"]
