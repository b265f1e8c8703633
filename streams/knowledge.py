"""Item-side knowledge: a fold over interactions and nothing else, the same on every worker.

It owns every model that learns from all users, the window of event ids, and the record of which source offsets it has
learned, so that a second copy of an interaction changes nothing.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import msgspec
import numpy as np

from online_models.base import Arrays, IntArray, Observation, Scratch, Source
from online_models.blend import CONTEXT_NAMES, CONTEXTS, Blend
from online_models.covisitation import CoVisitation
from online_models.deep import Deep
from online_models.drift import DriftMonitor
from online_models.errors import SnapshotError
from online_models.features import feature_names, prior, seen_by_units
from online_models.habits import Habits
from online_models.hidden import Hidden
from online_models.intent import IntentModel, decode_sample
from online_models.items import ItemTable, hash_id
from online_models.matrix_factorization import MatrixFactorization
from online_models.open_sessions import OpenSessions
from online_models.popularity import Popularity
from online_models.ratings import Ratings
from online_models.recency import Recency
from online_models.repeats import Repeats
from online_models.session_knn import SessionKNN

from .config import CoVisitationConfig, PipelineConfig
from .contracts.interactions import Delta, Interaction
from .learned import EventWindow, LearnedOffsets
from .prequential import is_target

log = logging.getLogger("headrace")

SCHEMA = 3
BURST = 50
"""The latest events of all whose distinct items say whether a burst is on."""


def _covisitation(name: str, c: CoVisitationConfig) -> CoVisitation:
    return CoVisitation(
        name, window=c.window, last=c.last, half_life=c.half_life, step=c.step, fade=c.fade, damp=c.damp,
        max_age_ms=c.max_age_s * 1000 if c.max_age_s else 1 << 60, both=c.both,
    )  # fmt: skip


class Knowledge:
    """Everything learned from interactions. ``learn`` changes it; reading it never does."""

    def __init__(self, config: PipelineConfig) -> None:
        s = config.sources
        self.config = config
        self.items = ItemTable(config.max_items)
        self.offsets = LearnedOffsets()
        self.event_ids = EventWindow(config.dedup_window)
        self.scratch = Scratch()
        self.popularity = Popularity(list(s.popularity))
        self.following = _covisitation("following", s.following)
        self.far = _covisitation("far", s.far)
        self.habits = Habits()
        self.factors = MatrixFactorization(
            dims=s.factors.dims, lr=s.factors.lr, user_lr=s.factors.user_lr, reg=s.factors.reg, last=s.factors.last, fade=s.factors.fade,
            negatives=s.factors.negatives, window=s.factors.window, scan=s.factors.scan, init=s.factors.init, seed=config.seed,
            loss=s.factors.loss,
        )  # fmt: skip
        k = s.knn
        self.sources: tuple[Source, ...] = (
            self.popularity, Popularity([s.entry], "entry", entries=True), Recency(), Repeats(), self.following,
            _covisitation("near", s.near), self.far,
            SessionKNN(
                "knn", unit=k.unit, last=k.last, m=k.m, k=k.k, fade=k.fade, half_life=k.half_life, inner=k.inner, width=k.width
            ),
            self.factors,
        )  # fmt: skip
        self.deep = Deep(self.items)
        self.sources += (self.deep,)
        if s.ratings:
            self.sources += (Ratings(seed=config.seed),)
        self.reach = max(s.following.window, s.near.window, s.far.window)
        """How many of a user's latest items an interaction has to carry."""
        self.lists = tuple(name for source in self.sources for name in source.lists)
        b = config.blend
        self.features = feature_names(self.lists, len(s.popularity), b.units)
        at = len(self.features) - b.units
        units = Hidden(seen_by_units(self.features), at, b.units, b.units_lr, seed=config.seed)
        self.blend = Blend(CONTEXTS, len(self.features), b.lr, b.eps, prior(self.features), units)
        shaping = (
            config.seed, config.sources, config.blend, config.dedup_window, config.weights, self.features, config.conversions,
            config.sessions.gap_s,
        )  # fmt: skip
        self.fingerprint = hash_id(msgspec.json.encode(shaping, order="sorted").decode()) >> 1
        """Of the settings that a snapshot depends on."""
        self.intent = IntentModel()
        self.open_sessions = OpenSessions(config.sessions.gap_s * 1000)
        self.drift = DriftMonitor()
        self.clock = self.now_ms = 0
        self.rating_max = 0.0
        self.latest = np.full(BURST, -1, np.int32)
        self.burst = 0
        self.misfits = {"mf": 0, "blend": 0, "intent": 0}
        """Steps left out because they are of another shape, by model."""

    def know(self, item_id: str, timestamp: int) -> int:
        """The row of an item, new if need be."""
        row = self.items.row(item_id)
        if row < 0:
            row = self.items.add(item_id, timestamp)
            self.factors.know(row, self.items.hash_of(row))
            self.habits.know(row)
            self.deep.know(row, self.items.hash_of(row))
            self.scratch.reserve(row + 1)
        return row

    def learn(self, x: Interaction) -> bool:
        """Learn one interaction; False if it was learned before."""
        if not self.offsets.add(x.partition, x.offset):
            return False
        self.clock, self.now_ms = max(self.clock, x.clock), max(self.now_ms, x.timestamp)
        self.event_ids.add(x.event)
        row = self.know(x.item_id, x.timestamp)
        o = self.observation(x, row)
        for source in self.sources:
            source.learn_one(o)
        self._learn_habits(x, row)
        for name, delta in x.deltas.items():
            try:
                self._apply(name, delta)
            except ValueError as error:  # raised before anything is changed
                self._note_misfit(name, error)
        self._follow_session(x)
        if o.rated and x.value is not None:
            self.rating_max = top_rating(self.rating_max, x.value)
        self.items.touch(row, x.timestamp)
        self._note_burst(row)
        if self.items.full():
            self.compact()
        return True

    def observation(self, x: Interaction, row: int) -> Observation:
        """An interaction in row numbers, of the item in ``row``."""
        known = [self.items.row(i) for i in x.history]
        history = np.array([r for r in known if r >= 0], np.int32)
        ages = np.array([a for a, r in zip(x.ages, known, strict=True) if r >= 0], np.int64)
        rated = x.event_type == "rating"
        return Observation(
            row, x.weight, x.timestamp, x.user, x.session, history, ages, x.in_session, x.event, x.value, rated
        )

    def _learn_habits(self, x: Interaction, row: int) -> None:
        if x.weight > 0.0:
            wanted = is_target(x, next(iter(x.history), ""), self.rating_max)
            self.habits.learn_one(row, wanted, x.before > 0, x.value if x.event_type == "rating" else None)

    def _apply(self, name: str, delta: Delta) -> None:
        """Add a step; ValueError if it is not of this shape, as from a worker that runs with other settings."""
        if name == "mf":
            self._apply_factors(delta.items, delta.data)
        elif name == "blend":
            self.blend.apply(delta.data)

    def _note_misfit(self, name: str, error: ValueError) -> None:
        n = self.misfits[name] = self.misfits[name] + 1
        if n & (n - 1) == 0:  # the first, the second, the fourth ...
            log.warning("%d steps of %r left out: %s", n, name, error)

    def _apply_factors(self, ids: list[str], data: bytes) -> None:
        steps = self.factors.unpack(len(ids), data)
        rows = np.array([self.items.row(i) for i in ids], np.int32)
        keep = rows >= 0
        if not keep.all():
            rows, steps = rows[keep], steps[keep]
        self.factors.apply(rows, steps)

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
            self._note_misfit("intent", error)
            return
        p = min(max(self.intent.score_one(sample), 1e-6), 1.0 - 1e-6)
        self.note("intent log loss", -math.log(p if converted else 1.0 - p), top=4.0)
        self.intent.learn_one(sample, converted)

    def note(self, name: str, value: float, top: float = 1.0) -> None:
        """Watch a quality for drift (values from 0 to ``top``); a change is logged, for the worse as a warning."""
        found = self.drift.update(name, value, top)
        if found is not None:
            worse = (found.new_mean < found.old_mean) != name.endswith("loss")
            log.log(
                logging.WARNING if worse else logging.INFO,
                "drift: %s went from %.4f to %.4f after %d values",
                name,
                found.old_mean,
                found.new_mean,
                found.n,
            )

    def _note_burst(self, row: int) -> None:
        self.latest[self.items.events % BURST] = row
        if self.items.events % 8 == 0:
            self.burst = len(np.unique(self.latest))

    def compact(self) -> IntArray:
        """The item table is full: drop the items seen longest ago, in every model."""
        new_index = self.items.compact()
        for source in self.sources:
            source.remap(new_index)
        self.habits.remap(new_index)
        self.compacted(new_index)
        return new_index

    def compacted(self, new_index: IntArray) -> None:
        """Hook of whoever holds rows besides the models (user states); set by the pipeline."""

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {f"source-{s.lists[0]}": s for s in self.sources}
        parts |= {
            "items": self.items,
            "habits": self.habits,
            "offsets": self.offsets,
            "event_ids": self.event_ids,
            "blend": self.blend,
        }
        parts |= {"intent": self.intent, "open_sessions": self.open_sessions, "drift": self.drift}
        return parts

    def snapshot(self) -> Arrays:
        """All state as named arrays (views: copy them before learning on)."""
        out: Arrays = {
            f"{part}/{field}": array
            for part, model in self._parts().items()
            for field, array in model.snapshot().items()
        }
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
        for part, model in self._parts().items():
            model.restore({k[len(part) + 1 :]: v for k, v in state.items() if k.startswith(f"{part}/")})
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
        return {name: int(part.nbytes) for name, part in self._parts().items()}


def top_rating(top: float, value: float) -> float:
    """The largest rating so far, 0 before the first.

    One that is far too large lifts it to twice what it was at most, and what it was lifted to fades by a thousandth a
    rating: a slip of one user must not make everybody's ratings low ones.
    """
    return max(top * 0.999, min(value, 2.0 * top if top > 0.0 else 1_000.0))
