"""The models that learn from interactions, as one: what everybody's lists come from, or those of one arm of an experiment."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from online_models.base import Arrays, IntArray, Observation, Scratch, Source
from online_models.blend import CONTEXT_NAMES, CONTEXTS, Blend
from online_models.by_category import ByCategory
from online_models.covisitation import CoVisitation
from online_models.deep import Deep
from online_models.features import Beside, feature_names, seen_by_units
from online_models.habits import Habits
from online_models.hidden import Hidden
from online_models.items import ItemTable
from online_models.matrix_factorization import MatrixFactorization
from online_models.popularity import Popularity
from online_models.ratings import Ratings
from online_models.recency import Recency
from online_models.repeats import Repeats
from online_models.session_knn import SessionKNN
from online_models.shelf import Shelf
from online_models.start import plain, shipped
from online_models.untried import Untried

from .config import CoVisitationConfig, PipelineConfig
from .contracts.interactions import APART, Delta, Interaction
from .prequential import is_target

log = logging.getLogger("headrace")

STARTS = {"shipped": shipped, "plain": plain}
"""`BlendConfig.start` → what gives weights."""


def _covisitation(name: str, c: CoVisitationConfig) -> CoVisitation:
    return CoVisitation(
        name, window=c.window, last=c.last, half_life=c.half_life, step=c.step, fade=c.fade, damp=c.damp,
        max_age_ms=c.max_age_s * 1000 if c.max_age_s else 1 << 60, both=c.both,
    )  # fmt: skip


class Models:
    """Sources, habits and blend over one item table; ``deep`` has versions of its own and is everybody's, as is ``shelf``."""

    def __init__(self, config: PipelineConfig, items: ItemTable, scratch: Scratch, deep: Deep, shelf: Shelf) -> None:
        s = config.sources
        self.config, self.items, self.scratch, self.deep, self.shelf = config, items, scratch, deep, shelf
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
        self._learning: tuple[Source, ...] = self.sources
        self.sources += (self.deep,)
        if s.ratings:
            ratings = Ratings(seed=config.seed)
            self.sources += (ratings,)
            self._learning += (ratings,)
        n_lists = sum(len(source.lists) for source in self.sources)
        self.by_category = ByCategory(shelf, s.category)
        self.untried = Untried(s.untried.kappa) if s.untried.kappa else None
        besides: tuple[Source, ...] = (self.by_category, *([self.untried] if self.untried else ()))
        self.sources += besides
        self._learning += besides
        self.reach = max(s.following.window, s.near.window, s.far.window)
        """How many of a user's latest items an interaction has to carry."""
        self.lists = tuple(name for source in self.sources for name in source.lists)
        b = config.blend
        lists = self.lists[:n_lists]
        plain = feature_names(lists, len(s.popularity), b.units)
        self.beside = Beside(len(plain), self.lists[n_lists:], bonus=self.untried is not None)
        self.features = plain + self.beside.names
        units = Hidden(
            seen_by_units(lists),
            len(plain) - b.units,
            b.units,
            b.units_lr,
            seed=config.seed,
            more=self.beside.seen_by_units,
        )
        self.blend = Blend(
            CONTEXTS,
            len(self.features),
            b.lr,
            b.eps,
            STARTS[b.start](self.features, CONTEXT_NAMES),
            units,
            len(self.beside.names),
        )
        self.misfits = {"mf": 0, "blend": 0, "intent": 0}
        """Steps left out because they are of another shape, by model."""

    @property
    def wide(self) -> bool:
        """Whether the columns `Beside` the others are in use: something is known of the catalogue, or new items are given a bonus."""
        return self.shelf.told or self.untried is not None

    def take_in(self, row: int, item: int) -> None:
        """A new item (``item``: 64 bits of its id) has got its row."""
        self.factors.know(row, item)
        self.habits.know(row)

    def absorb(self, x: Interaction, o: Observation, rating_max: float, apart: bool = False) -> None:
        """Learn one interaction, and add its steps: everybody's, or those of its arm (``apart``)."""
        for source in self._learning:
            source.learn_one(o)
        if self.untried is not None and x.shown:
            self.untried.show([row for row in map(self.items.row, x.shown) if row >= 0])
        if x.weight > 0.0:
            wanted = is_target(x, x.history[0] if x.history else "", rating_max, self.config.filters.repeats)
            self.habits.learn_one(o.item, wanted, x.before > 0, x.value if o.rated else None)
        for name, delta in x.deltas.items():
            if name.startswith(APART) != apart:
                continue
            name = name.removeprefix(APART)
            try:
                self._apply(name, delta)
            except ValueError as error:  # raised before anything is changed
                self.note_misfit(name, error)

    def _apply(self, name: str, delta: Delta) -> None:
        """Add a step; ValueError if it is not of this shape, as from a worker that runs with other settings."""
        if name == "mf":
            self._apply_factors(delta.items, delta.data)
        elif name == "blend":
            self.blend.apply(delta.data)

    def _apply_factors(self, ids: list[str], data: bytes) -> None:
        steps = self.factors.unpack(len(ids), data)
        found = [self.items.row(i) for i in ids]
        rows = np.array(found, np.int32)
        if -1 in found:
            rows, steps = rows[rows >= 0], steps[rows >= 0]
        self.factors.apply(rows, steps)

    def note_misfit(self, name: str, error: ValueError) -> None:
        """A step was left out: logged the first time, the second, the fourth and so on."""
        n = self.misfits[name] = self.misfits[name] + 1
        if n & (n - 1) == 0:
            log.warning("%d steps of %r left out: %s", n, name, error)

    def remap(self, new_index: IntArray) -> None:
        """The item table was compacted."""
        for source in self._learning:
            source.remap(new_index)
        self.habits.remap(new_index)

    def model_parts(self) -> dict[str, Any]:
        """All that has state of its own, by name."""
        parts: dict[str, Any] = {f"source-{s.lists[0]}": s for s in self._learning}
        return parts | {"habits": self.habits, "blend": self.blend}


def follow(models: Models) -> None:
    """What follows from state and catalogue together is made anew, after either was replaced as a whole."""
    models.by_category.refill()


def state_of(parts: dict[str, Any]) -> Arrays:
    """The state of parts as named arrays (views: copy them before learning on)."""
    return {f"{part}/{field}": array for part, model in parts.items() for field, array in model.snapshot().items()}


def copying(theirs: Models, ours: Models) -> Iterator[Callable[[], object]]:
    """Make ``ours``, which are new, what ``theirs`` are, a part after the other: none depends on another's time.

    Whoever asks for the next step does so while nobody learns, and carries out what it is given before it asks again; that may be done in
    another thread while others learn. So nobody waits for fresh memory, which takes far longer than to copy into it.
    """
    rows, own = 0, ours.model_parts()
    for name, part in theirs.model_parts().items():
        room: Arrays = {}
        while not _within(found := part.snapshot(), room):
            yield partial(_make_room, {field: (array.shape, array.dtype) for field, array in found.items()}, room)
        for field, array in found.items():
            room[field] = room[field][: len(array)]
            np.copyto(room[field], array)
        rows = len(theirs.items) if part is theirs.factors else rows
        yield partial(own[name].restore, room)
    for row in range(rows, len(theirs.items)):  # has become known since
        ours.take_in(row, theirs.items.hash_of(row))


def _make_room(wanted: dict[str, tuple[tuple[int, ...], Any]], room: Arrays) -> None:
    """Memory for arrays of these shapes and types, with some more to grow into, that has been written to."""
    for field, ((n, *others), dtype) in wanted.items():
        room[field] = np.empty((n + n // 8 + 1_000, *others), dtype)
        room[field][...] = np.zeros((), dtype)


def _within(found: Arrays, room: Arrays) -> bool:
    return room.keys() == found.keys() and all(
        a.shape[1:] == room[f].shape[1:] and len(a) <= len(room[f]) for f, a in found.items()
    )


def restore_parts(parts: dict[str, Any], state: Arrays) -> None:
    """Take over what `state_of` gave."""
    for part, model in parts.items():
        model.restore({name[len(part) + 1 :]: array for name, array in state.items() if name.startswith(f"{part}/")})
