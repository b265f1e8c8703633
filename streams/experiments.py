"""Split: which variants of the running experiments a user's list is made under, and what they change.

An assignment is a function of the definitions, the unit's id, the event time and the event's context; nothing is kept of it. So every
worker, and whoever computes the documented hash, comes to the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from online_models.base import FloatArray, IntArray
from online_models.experiments.split import BUCKETS, Split, bucket, seed_of

from .contracts.experiments import INTERLEAVED, Experiment, Variant, as_text
from .contracts.models import Announcement
from .contracts.recommendations import Exposure
from .experiment_fit import fitting
from .user_state import UserState

HOLDOUT = "holdout"
"""Salt by which units are held out of experiments."""

NO_MODEL = "none"
"""A variant's ``model`` that stands for none at all."""

DEEP = "deep"
"""The list of the deep model."""

SHOWN = ("moments", "hr@20", "ndcg@20")
"""Of the figures of an arm, for monitoring."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """What differs from what everybody gets. ``arm`` names the variants, for the records of quality.

    ``version``: of the deep model (None: everybody's). ``silent``: lists that name nothing, by number. ``add`` [features]: to the
    blend's weights, which without ``learned`` are those of the start. ``apart``: the arm whose models answer, where arms learn
    apart. ``tries``: whether a version of the deep model on trial could make a difference. ``beside``: the other treatment that shares
    the list, with the ``names`` of both variants.
    """

    arm: str = ""
    version: str | None = None
    silent: IntArray | None = None
    add: FloatArray | None = None
    learned: bool = True
    consumed: str | None = None
    deny_items: tuple[str, ...] = ()
    explore: float = 0.0
    apart: str | None = None
    tries: bool = True
    beside: Treatment | None = None
    names: tuple[str, str] | None = None


EVERYBODYS = Treatment()


@dataclass(frozen=True, slots=True)
class Assignment:
    """The treatment of one request, and what its record has to say of it."""

    treatment: Treatment = EVERYBODYS
    exposures: tuple[Exposure, ...] = ()


NONE = Assignment()


@dataclass(slots=True)
class _Running:
    """An experiment, ready to be asked."""

    experiment: Experiment
    split: Split
    variants: dict[str, Variant]
    shares: dict[str, float]
    layer: int | None
    holdout: int
    arms: frozenset[str]
    """Those that learn apart."""
    context: dict[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, experiment: Experiment) -> _Running:
        d = experiment.definition
        split = Split(d.the_salt, experiment.ranges)
        return cls(
            experiment, split, {v.name: v for v in d.variants}, split.shares(), None if d.layer is None else seed_of(layer_salt(d.layer)),
            round(d.holdout * BUCKETS), frozenset(apart_of(experiment, v) for v in d.variants if d.learning == "isolated"),
            {key: frozenset(values) for key, values in d.context.items()},
        )  # fmt: skip

    def variant(self, unit: str, timestamp: int, context: Mapping[str, Any] | None) -> Variant | None:
        """The variant of a unit at a time, None where it takes no part."""
        d = self.experiment.definition
        if (d.start is not None and timestamp < d.start) or (d.end is not None and timestamp >= d.end):
            return None
        if any(context is None or as_text(context.get(key)) not in values for key, values in self.context.items()):
            return None
        if self.holdout and bucket(_HOLDOUT_SEED, unit) < self.holdout:
            return None
        if self.layer is not None and self.experiment.slot is not None:
            first, end = self.experiment.slot
            if not first <= bucket(self.layer, unit) < end:
                return None
        name = self.split.variant(unit)
        return None if name is None else self.variants[name]

    def exposure(self, variant: Variant, unit: str | None, forced: bool) -> Exposure:
        """What a record says of a list that is made under the variant."""
        d, ramp, begun = self.experiment.definition, self.experiment.ramps[-1].number, self.experiment.created
        if d.method == "interleave":
            return Exposure(d.name, INTERLEAVED, sum(self.shares.values()), unit, ramp, forced, begun)
        return Exposure(d.name, variant.name, self.shares.get(variant.name, 0.0), unit, ramp, forced, begun)

    def forced(self, unit: str) -> Variant | None:
        """The variant that a tester gets by name, whatever the split and the rules say."""
        return self.variants.get(self.experiment.definition.forced.get(unit, ""))


_HOLDOUT_SEED = seed_of(HOLDOUT)


def layer_salt(layer: str) -> str:
    """Salt of the split of a layer's units among its experiments."""
    return f"layer/{layer}"


class Experiments:
    """The experiments that run. ``held`` names the versions of the deep model that are here, ``arms`` the arms that learn apart: an
    experiment that needs another one waits, all its variants alike, so that they stay comparable. ``most`` arms may learn apart."""

    def __init__(
        self, lists: tuple[str, ...], features: tuple[str, ...], held: Collection[str], arms: Collection[str] = (), most: int = 0
    ) -> None:  # fmt: skip
        self._lists, self._features, self._held, self._arms, self._most = lists, features, held, arms, most
        self._running: list[_Running] = []
        self._treatments: dict[tuple[tuple[str, str], ...], Treatment] = {}

    def __len__(self) -> int:
        return len(self._running)

    @property
    def wanted(self) -> dict[str, Announcement]:
        """Versions of the deep model that some variant names."""
        return {name: announcement for r in self._running for name, announcement in r.experiment.models.items()}

    @property
    def apart(self) -> frozenset[str]:
        """Arms that learn apart."""
        return frozenset(arm for r in self._running for arm in r.arms)

    def runs(self, arm: str) -> bool:
        """Whether all experiments run that a treatment's ``arm`` names."""
        return names_in(arm) <= {r.experiment.definition.name for r in self._running}

    def metrics(self, arms: Mapping[str, Mapping[str, float]]) -> dict[str, float | dict[str, float]]:
        """Figures for monitoring: how many run, how many of these wait, and of ``arms`` (see `Prequential.arms`) those of experiments
        that run."""
        present = {arm: found for arm, found in arms.items() if self.runs(arm)}
        return {
            "running": float(len(self._running)), "waiting": float(sum(map(self._waits, self._running))),
            **{m.replace('@', '_at_'): {arm: found[m] for arm, found in present.items()} for m in SHOWN},
        }  # fmt: skip

    def _waits(self, running: _Running) -> bool:
        return not (
            all(version in self._held for version in running.experiment.models)
            and all(a in self._arms for a in running.arms)
        )

    def run(self, experiments: Iterable[Experiment]) -> None:
        """These run from now on, and no others. Between micro-batches only."""
        self._running = [_Running.of(e) for e in fitting(experiments, self._lists, self._most)]
        self._treatments = {}

    def assign(self, state: UserState, timestamp: int, gap_ms: int, context: Mapping[str, Any] | None) -> Assignment:
        """For a list that the user gets at ``timestamp``; ``context`` is that of the event it answers, None where it answers none."""
        if not self._running:
            return NONE
        session = session_of(state) if state.n_events and timestamp - state.last_ms <= gap_ms else None
        found = []
        for running in self._running:
            d = running.experiment.definition
            unit = state.user_id if d.unit == "user" else session
            if unit is None or self._waits(running):
                continue
            forced = running.forced(unit) or running.forced(state.user_id)
            variant = forced or running.variant(unit, timestamp, context)
            if variant is not None:
                named = None if d.unit == "user" else unit
                found.append((running, variant, running.exposure(variant, named, forced is not None)))
        if not found:
            return NONE
        key = tuple((e.name, e.variant) for *_, e in found)
        treatment = self._treatments.get(key)
        if treatment is None:
            treatment = self._treatments[key] = self._whole([(r.experiment, v) for r, v, _ in found])
        return Assignment(treatment, tuple(exposure for *_, exposure in found))

    def _whole(self, found: list[tuple[Experiment, Variant]]) -> Treatment:
        """The treatment of these variants; that of one experiment which interleaves has another beside it."""
        shared = next((e for e, _ in found if e.definition.method == "interleave"), None)
        if shared is None:
            return self._treat(found)
        one, other = shared.definition.variants
        both = [self._treat([(e, v if e is not shared else picked) for e, v in found]) for picked in (one, other)]
        # Only a tester can be in one that explores as well. The propensity of a list is then that of the draft.
        both = [replace(treatment, explore=0.0) for treatment in both]
        arm = "+".join(arm_of(e, v) for e, v in found if e is not shared)
        return replace(both[0], arm=arm, beside=both[1], names=(one.name, other.name))

    def _treat(self, found: list[tuple[Experiment, Variant]]) -> Treatment:
        values: dict[str, Any] = {"arm": "+".join(arm_of(e, v) for e, v in found)}
        for experiment, v in found:
            if v.model is not None:
                values["version"], values["tries"] = v.model, False
            if v.sources is not None:
                values["silent"] = np.array(
                    [i for i, name in enumerate(self._lists) if name not in v.sources], np.int32
                )
                values["tries"] = values.get("tries", True) and DEEP in v.sources
            if v.blend is not None:
                values["learned"] = v.blend.learned
                values["add"] = self._added(v.blend.add)
            if v.filters is not None:
                values["consumed"], values["deny_items"] = v.filters.consumed, v.filters.deny_items
            if v.explore:
                values["explore"] = v.explore
            if experiment.definition.learning == "isolated":
                values["apart"] = apart_of(experiment, v)
        return Treatment(**values)

    def _added(self, add: Mapping[str, float]) -> FloatArray | None:
        if not add:
            return None
        out = np.zeros(len(self._features), np.float32)
        for name, value in add.items():
            out[self._features.index(f"{name}.log_rank")] = value
        return out


def arm_of(experiment: Experiment, variant: Variant) -> str:
    """A name for a variant among those of all experiments."""
    return f"{experiment.definition.name}/{variant.name}"


def apart_of(experiment: Experiment, variant: Variant) -> str:
    """A name for the models of a variant that learns apart: those of a later experiment of the same name are others."""
    return f"{arm_of(experiment, variant)}@{experiment.created}"


def names_in(arm: str) -> set[str]:
    """The experiments whose variants a treatment's ``arm`` names.

    >>> sorted(names_in("checkout/control+feed/new"))
    ['checkout', 'feed']
    """
    return {part.partition("/")[0] for part in arm.split("+")}


def session_of(state: UserState) -> str:
    """The unit of a user's present session: the session's own id, else when it began.

    Two sessions of one id (as of another user) are told apart by the user.
    """
    return f"{state.user_id}/{state.session_id or state.session_ms}"
