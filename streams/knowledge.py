"""Item-side knowledge: a fold over interactions and nothing else, the same on every worker.

It owns every model that learns from all users, the window of event ids, and the record of which source offsets it has
learned, so that a second copy of an interaction changes nothing.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec
import numpy as np

from online_models.base import Arrays, IntArray, Observation, Scratch
from online_models.blend import CONTEXT_NAMES
from online_models.deep import Deep
from online_models.drift import Drift, DriftMonitor
from online_models.errors import SnapshotError
from online_models.intent import IntentModel, decode_sample
from online_models.items import ItemTable, hash_id
from online_models.open_sessions import OpenSessions
from online_models.shelf import Shelf
from online_models.start import digest

from .config import PipelineConfig
from .contracts.catalogue import Item
from .contracts.interactions import Interaction
from .learned import EventWindow, LearnedOffsets
from .models import Models, copying, follow, restore_parts, state_of
from .user_image import remembered

log = logging.getLogger("headrace")

SCHEMA = 6
BLOCK = 4
"""Moments whose mean is one value of a source's drift detector."""
BURST = 50
"""The latest events of all whose distinct items say whether a burst is on."""


class Knowledge(Models):
    """Everything learned from interactions. ``learn`` changes it; reading it never does.

    ``arms`` are the models of variants that learn apart, by `Treatment.apart`.
    """

    def __init__(self, config: PipelineConfig) -> None:
        items = ItemTable(config.max_items)
        super().__init__(config, items, Scratch(), Deep(items), Shelf(config.max_items))
        self.arms: dict[str, Arm] = {}
        self._coming: dict[str, Iterator[Callable[[], object]]] = {}
        """Arms that are being made, and the steps that are left."""
        self.recovering = False
        """Whether the topic is read again, so that an arm begins where it began: see `learn`."""
        self.offsets = LearnedOffsets()
        self.event_ids = EventWindow(config.dedup_window)
        shaping = (
            config.seed, config.sources, config.blend, config.dedup_window, config.weights, self.features, config.conversions,
            config.sessions.gap_s, *(["repeats"] if config.filters.repeats else []),
            *([digest()] if config.blend.start == "shipped" else []),
        )  # fmt: skip
        self.fingerprint = hash_id(msgspec.json.encode(shaping, order="sorted").decode()) >> 1
        """Of the settings that a snapshot depends on."""
        self.intent = IntentModel()
        self.open_sessions = OpenSessions(config.sessions.gap_s * 1000)
        self.drift = DriftMonitor()
        self.source_drift = DriftMonitor(clock=32 // BLOCK)
        self.clock = self.now_ms = 0
        self.rating_max = 0.0
        self.latest = np.full(BURST, -1, np.int32)
        self.burst = 0

    def know(self, item_id: str, timestamp: int) -> int:
        """The row of an item, new if need be."""
        row = self.items.row(item_id)
        if row < 0:
            row = self.items.add(item_id, timestamp)
            item = self.items.hash_of(row)
            self.deep.know(row, item)
            self.shelf.know(row, item_id)
            for models in (self, *self.arms.values()):
                models.take_in(row, item)
            self.scratch.reserve(row + 1)
        return row

    def learn(self, x: Interaction) -> bool:
        """Learn one interaction; False if it was learned before.

        While the topic is read again, the first one of an experiment whose arms learn apart is where they are copied from everybody's
        models: only workers that have the arms publish such interactions.
        """
        if not self.offsets.add(x.partition, x.offset):
            return False
        if self.recovering and x.variant in self._coming:
            self._make_at_once(x.variant.partition("/")[0] + "/")
        self.clock, self.now_ms = max(self.clock, x.clock), max(self.now_ms, x.timestamp)
        self.event_ids.add(x.event)
        row = self.know(x.item_id, x.timestamp)
        o = self.observation(x, row)
        self.deep.learn_one(o)
        self.absorb(x, o, self.rating_max)
        if x.variant in self.arms:
            self.arms[x.variant].absorb(x, o, self.rating_max, apart=True)
        self._follow_session(x)
        if o.rated and x.value is not None:
            self.rating_max = top_rating(self.rating_max, x.value)
        self.items.touch(row, x.timestamp)
        self._note_burst(row)
        if self.items.full():
            self.compact()
        return True

    def tell(self, item_id: str, item: Item | None) -> None:
        """News of an item from the catalogue (None: it was removed). Not learned: every worker reads the catalogue from its beginning."""
        categories, price = (item.categories, item.price) if item is not None else ((), None)
        for moved_id, old, new in self.shelf.tell(item_id, categories, price):
            row = self.items.row(moved_id)
            if row >= 0:
                self.shelf.know(row, moved_id)
                for models in (self, *self.arms.values()):
                    models.by_category.moved(row, old, new)

    def observation(self, x: Interaction, row: int) -> Observation:
        """An interaction in row numbers, of the item in ``row``."""
        found = np.array([self.items.row(i) for i in x.history], np.int32)
        known = found >= 0
        history, ages = found[known], np.array(x.ages, np.int64)[known]
        inside = int(np.count_nonzero(known[: x.in_session]))
        sequence = history[:inside][::-1]
        if x.sequence:
            sequence = np.array(remembered([self.items.row(i) for i in x.sequence]), np.int32)
        return Observation(
            row, x.weight, x.timestamp, x.user, x.session, history, ages, inside, x.event, x.value, x.event_type == "rating",
            sequence,
        )  # fmt: skip

    def _follow_session(self, x: Interaction) -> None:
        """A session that converts is a positive for the intent model, one that falls silent a negative."""
        sample = x.deltas.get("intent")
        if x.event_type in self.config.conversions:
            found = self.open_sessions.converts(x.session)
            if found:
                self._learn_intent(found, True)
        else:
            self.open_sessions.touch(x.session, x.timestamp, sample.data if sample is not None else b"")
        for over in self.open_sessions.over(self.now_ms):
            self._learn_intent(over, False)

    def _learn_intent(self, data: bytes, converted: bool) -> None:
        try:
            sample = decode_sample(data)
        except ValueError as error:
            self.note_misfit("intent", error)
            return
        p = min(max(self.intent.score_one(sample), 1e-6), 1.0 - 1e-6)
        self.note("intent log loss", -math.log(p if converted else 1.0 - p), top=4.0)
        self.intent.learn_one(sample, converted)

    def note(self, name: str, value: float, top: float = 1.0, of: int = 1) -> None:
        """Watch a quality for drift (values from 0 to ``top``); a change for the worse is logged, as a warning unless it is of one source.

        ``of``: how many moments the value is the mean of; more than one: of a single source, which the blend makes up for.
        """
        found = (self.drift if of == 1 else self.source_drift).update(name, value, top)
        if found is not None:
            worse = (found.new_mean < found.old_mean) != name.endswith("loss")
            means = found.old_mean, found.new_mean, found.n * of
            level = logging.DEBUG if not worse else logging.WARNING if of == 1 else logging.INFO
            log.log(level, "drift: %s went from %.4f to %.4f after %d values", name, *means)
            self.drifted(found, worse, of)

    @property
    def alarms(self) -> dict[str, int]:
        """Changes found, by name of the quality."""
        return self.drift.alarms | self.source_drift.alarms

    def drifted(self, drift: Drift, worse: bool, of: int) -> None:
        """Hook of whoever tells others that a quality has changed; set by the pipeline's watch."""

    def _note_burst(self, row: int) -> None:
        self.latest[self.items.events % BURST] = row
        if self.items.events % 8 == 0:
            self.burst = len(set(self.latest.tolist()))

    def compact(self) -> IntArray:
        """The item table is full: drop the items seen longest ago, in every model."""
        new_index = self.items.compact()
        self.deep.remap(new_index)
        self.shelf.remap(new_index)
        for models in (self, *self.arms.values()):
            models.remap(new_index)
        self._coming = {name: self._made(name) for name in self._coming}
        self.compacted(new_index)
        return new_index

    def compacted(self, new_index: IntArray) -> None:
        """Hook of whoever holds rows besides the models (user states); set by the pipeline."""

    def keep_arms(self, wanted: Collection[str]) -> None:
        """These arms learn apart, and no others; a new one is there once `make_arms` has made it."""
        for gone in self.arms.keys() - set(wanted):
            del self.arms[gone]
        missing = sorted(set(wanted) - self.arms.keys())
        self._coming = {name: self._coming.get(name) or self._made(name) for name in missing}

    def make_arms(self) -> Callable[[], object] | None:
        """Go on making the arms that are new: what is to be done before the next call, see `copying`; None: all arms are there.

        Between micro-batches only. An arm answers and learns once it is whole.
        """
        while self._coming:
            name, steps = next(iter(self._coming.items()))
            work = next(steps, None)
            if work is not None:
                return work
            del self._coming[name]
        return None

    def _make_at_once(self, experiment: str) -> None:
        for name in [name for name in self._coming if name.startswith(experiment)]:
            for work in self._coming.pop(name):
                work()

    def _made(self, name: str) -> Iterator[Callable[[], object]]:
        arm = Arm(self)
        yield from copying(self, arm)
        follow(arm)
        self.arms[name] = arm

    def _parts(self) -> dict[str, Any]:
        parts = {"source-deep": self.deep, "items": self.items, "offsets": self.offsets, "event_ids": self.event_ids}
        parts |= {"intent": self.intent, "open_sessions": self.open_sessions, "drift": self.drift}
        parts["source_drift"] = self.source_drift
        for n, name in enumerate(sorted(self.arms)):
            parts |= {f"arm{n}-{part}": model for part, model in self.arms[name].model_parts().items()}
        return self.model_parts() | parts

    def snapshot(self) -> Arrays:
        """All state as named arrays (views: copy them before learning on)."""
        out = state_of(self._parts())
        out["arms"] = np.frombuffer(json.dumps(sorted(self.arms)).encode(), np.uint8)
        out["schema"] = np.array([SCHEMA, self.fingerprint], np.int64)
        out["numbers"] = np.array([self.clock, self.burst, self.now_ms], np.int64)
        out["rating_max"] = np.array([self.rating_max])
        out["latest"] = self.latest
        return out

    def restore(self, state: Arrays) -> None:
        """Take over a snapshot made under the same configuration."""
        found = state["schema"].tolist() if "schema" in state else []
        if found != [SCHEMA, self.fingerprint]:
            raise SnapshotError(
                f"a snapshot of schema {SCHEMA} made under the present settings of sources, blend and seed",
                f"one of schema {found[0]} made under others"
                if found and found[0] == SCHEMA
                else f"schema {found[:1]}",
                "go back to the settings that wrote it, or remove the snapshot folder to learn anew from the topic",
            )
        self._coming.clear()
        self.arms.clear()
        self.arms.update((name, Arm(self)) for name in json.loads(state["arms"].tobytes()))
        restore_parts(self._parts(), state)
        self.shelf.follow(self.items.ids)
        for models in (self, *self.arms.values()):
            follow(models)
        self.clock, self.burst, self.now_ms = (int(v) for v in state["numbers"])
        self.rating_max = float(state["rating_max"][0])
        self.latest = state["latest"].copy()
        self.scratch.reserve(len(self.items))

    def blend_report(self) -> dict[str, Any]:
        """Weights of the context that is always active, by feature, and how often each context has learned."""
        return {
            "weights": {n: round(float(w), 5) for n, w in zip(self.features, self.blend.weights[0], strict=True)},
            "updates": {n: int(u) for n, u in zip(CONTEXT_NAMES, self.blend.updates, strict=True)},
        }

    def memory(self) -> dict[str, int]:
        """Bytes by part."""
        return {name: int(part.nbytes) for name, part in (self._parts() | {"catalogue": self.shelf}).items()}


class Arm(Models):
    """The models of one variant that learns apart: they learn what its units do and nothing else. All the rest is everybody's."""

    def __init__(self, knowledge: Knowledge) -> None:
        super().__init__(knowledge.config, knowledge.items, knowledge.scratch, knowledge.deep, knowledge.shelf)
        self._knowledge = knowledge

    def know(self, item_id: str, timestamp: int) -> int:
        """See `Knowledge.know`."""
        return self._knowledge.know(item_id, timestamp)

    @property
    def clock(self) -> int:
        return self._knowledge.clock

    @property
    def burst(self) -> int:
        return self._knowledge.burst

    @property
    def rating_max(self) -> float:
        return self._knowledge.rating_max


def top_rating(top: float, value: float) -> float:
    """The largest rating so far, 0 before the first.

    One that is far too large lifts it to twice what it was at most, and what it was lifted to fades by a thousandth a
    rating: a slip of one user must not make everybody's ratings low ones.
    """
    return max(top * 0.999, min(value, 2.0 * top if top > 0.0 else 1_000.0))
