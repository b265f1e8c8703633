"""What has been counted in an experiment, by variant, ramp and period: sums that add up whoever counted them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from online_models.errors import InputError
from online_models.experiments.effects import Kind, Metric
from online_models.experiments.sums import Sums
from streams.contracts.experiments import INTERLEAVED, Definition

from .units import CLICKED, CONVERSION, CREDIT, DECIDED, HITS, LISTS, REVENUE, TARGETS
from .users import Unit

VERSION = 6
"""Of saved sums: those that were counted otherwise are not added to these."""


@dataclass(frozen=True)
class Measured:
    """A metric and the columns of a unit that it is made of."""

    metric: Metric
    columns: tuple[int, ...]
    words: str


METRICS = {
    "ctr": Measured(Metric(Kind.RATIO, covariate=True), (CLICKED, LISTS), "lists with a click / lists"),
    "conversion": Measured(Metric(Kind.PROPORTION, covariate=True), (CONVERSION,), "units that converted"),
    "revenue": Measured(Metric(Kind.MEAN, covariate=True), (REVENUE,), "revenue a unit, returns taken off"),
    "hr@20": Measured(Metric(Kind.RATIO, covariate=True), (HITS, TARGETS), "events that the list before had named"),
}
"""Of every experiment; each with the same columns from before as covariate."""

PREFERENCE = "preference"
SHARED = {
    PREFERENCE: Measured(
        Metric(Kind.RATIO), (CREDIT, DECIDED), "lists clicked more for the second variant less for the first"
    )
}
"""Of an experiment whose variants share every list."""

MOST_RAMPS = 1_000
"""Ramps whose sums are kept, the latest: more than the record of an experiment holds, without which they cannot be compared."""

MOST_PERIODS = 2_000
"""Periods whose sums are kept: five years of days."""

Cell = tuple[str, int, int]
"""Variant, ramp and period (of the unit's first exposure)."""


class Tally:
    """The sums of one experiment. Tallies of different partitions add up to that of all."""

    def __init__(self, definition: Definition, period_s: int = 86_400, begun: int = 0) -> None:
        if period_s < 1:
            raise InputError("periods of at least 1 s", str(period_s), "a day is usual")
        self.name, self.period_s, self.digest = definition.name, period_s, digest(definition, begun)
        shared = definition.method == "interleave"
        self.variants = (INTERLEAVED,) if shared else tuple(v.name for v in definition.variants)
        self.metrics = SHARED if shared else METRICS
        self.cells: dict[Cell, dict[str, Sums]] = {}
        self.entered: Counter[tuple[str, int]] = Counter()
        """Variant and ramp → units that were first exposed to it then, also those that were mixed up later."""
        self.earned: Counter[tuple[str, int, int]] = Counter()
        """Of a bandit: variant, ramp and column → what all lists that were made then earned."""
        self.mixed = self.events = self.lists = self.unattributed = self.lost = 0
        """``lost``: lists that could not be counted: they, or what came of them, came too late, too many strangers asked for one, or
        they name a variant that the definition lacks."""
        self._ramps: set[int] = set()
        self.dropped = -1
        """The latest ramp whose sums are not kept any more."""
        self._periods: set[int] = set()
        self.until_ms = 0
        """Event time of the latest event that was counted."""
        self.partitions: set[int] = set()
        """Of `events`, that were counted."""

    def tell(self, unit: Unit) -> None:
        """The columns of a unit have changed. A unit of several variants is taken out and counted.

        Raises InputError if there are too many periods.
        """
        if unit.mixed and not unit.left:  # of any ramp, so that it is the same whenever that was dropped
            unit.left = True
            self.mixed += 1
        if unit.ramp > self.dropped and unit.ramp not in self._ramps:
            self._ramps.add(unit.ramp)
            self._make_room()
        if unit.ramp <= self.dropped:
            return
        if not unit.counted:
            unit.counted = True
            self.entered[unit.variant, unit.ramp] += 1
        cell = unit.variant, unit.ramp, unit.first_ms // (self.period_s * 1000)
        before, after = unit.told, None if unit.mixed else (*unit.now, *unit.before)
        if before == after:
            return
        if cell not in self.cells:
            self._periods.add(cell[2])
            self._check_periods()
            self.cells[cell] = {m: Sums.empty(x.metric.columns) for m, x in self.metrics.items()}
        sums = self.cells[cell]
        for m, measured in self.metrics.items():
            old, new = (None if v is None else columns_of(measured, v) for v in (before, after))
            if old != new:
                if old is not None:
                    sums[m] -= Sums.of(old)
                if new is not None:
                    sums[m] += Sums.of(new)
        if not any(each.n for each in sums.values()):
            del self.cells[cell]
            self._periods = {cell[2] for cell in self.cells}
        unit.told = after

    def _make_room(self) -> None:
        """For a bandit, whose shares may move at every look: the latest ramps are kept, the same ones in whatever order they came."""
        if len(self._ramps) > MOST_RAMPS:
            self.dropped = sorted(self._ramps)[-MOST_RAMPS - 1]
            self._keep()

    def _keep(self) -> None:
        """Nothing of ramps up to that which was ``dropped``."""
        self._ramps = {ramp for ramp in self._ramps if ramp > self.dropped}
        self.cells = {cell: sums for cell, sums in self.cells.items() if cell[1] > self.dropped}
        self.entered = Counter({key: n for key, n in self.entered.items() if key[1] > self.dropped})
        self.earned = Counter({key: n for key, n in self.earned.items() if key[1] > self.dropped})
        self._periods = {cell[2] for cell in self.cells}

    def _check_periods(self) -> None:
        if len(self._periods) > MOST_PERIODS:
            raise InputError(
                f"first exposures in at most {MOST_PERIODS:,} periods",
                f"more, of {self.period_s:,} s each",
                "count again with a longer --period",
            )

    def __add__(self, other: Tally) -> Tally:
        """Of both, which counted different units. Raises InputError if they are not of one experiment, or have too many periods."""
        if (self.name, self.period_s) != (other.name, other.period_s):
            raise InputError(
                f"a tally of {self.name} in periods of {self.period_s} s",
                f"one of {other.name} in periods of {other.period_s} s",
                "add like to like",
            )
        if self.digest != other.digest:
            raise _of_another(self.name, self.digest, other.digest)
        both = sorted(self.partitions & other.partitions)
        if both:
            raise InputError("tallies of different partitions", f"partitions {both} in two of them", "add each once")
        out = self._like()
        out.partitions = self.partitions | other.partitions
        out.until_ms = max(self.until_ms, other.until_ms)
        for tally in (self, other):
            for cell, sums in tally.cells.items():
                mine = out.cells.get(cell)
                out.cells[cell] = sums if mine is None else {m: mine[m] + sums[m] for m in self.metrics}
            out.entered += tally.entered
            out.earned += tally.earned
            for counter in COUNTERS:
                setattr(out, counter, getattr(out, counter) + getattr(tally, counter))
        out._ramps, out.dropped = self._ramps | other._ramps, max(self.dropped, other.dropped)
        out._keep()
        out._make_room()
        out._check_periods()
        return out

    def _like(self) -> Tally:
        out = Tally.__new__(Tally)
        out.name, out.variants, out.period_s, out.metrics = self.name, self.variants, self.period_s, self.metrics
        out._ramps, out._periods, out.dropped = set(), set(), -1
        out.digest, out.cells, out.entered, out.earned = self.digest, {}, Counter(), Counter()
        for counter in COUNTERS:
            setattr(out, counter, 0)
        return out

    def total(self, metric: str, variant: str) -> Sums:
        """Of all units of a variant."""
        return sum(self.by_ramp(metric, variant).values(), Sums.empty(self.metrics[metric].metric.columns))

    def by_ramp(self, metric: str, variant: str) -> dict[int, Sums]:
        """Of the units of a variant by the ramp under which they were first exposed."""
        out: dict[int, Sums] = {}
        for (v, ramp, _), sums in self.cells.items():
            if v == variant:
                out[ramp] = out[ramp] + sums[metric] if ramp in out else sums[metric]
        return out

    def by_period(self, metric: str) -> dict[int, list[tuple[str, int, Sums]]]:
        """Periods in which units were first exposed, in order → variant, ramp and sums of those units."""
        out: dict[int, list[tuple[str, int, Sums]]] = {}
        for v, ramp, period in sorted(self.cells, key=lambda cell: cell[2]):
            out.setdefault(period, []).append((v, ramp, self.cells[v, ramp, period][metric]))
        return out

    def plain(self) -> dict[str, Any]:
        """For a JSON writer."""
        cells = [
            {"variant": v, "ramp": r, "period": p, "sums": {m: s.plain() for m, s in self.cells[v, r, p].items()}}
            for v, r, p in sorted(self.cells)
        ]
        entered = [{"variant": v, "ramp": r, "units": n} for (v, r), n in sorted(self.entered.items())]
        earned = [{"variant": v, "ramp": r, "column": c, "sum": n} for (v, r, c), n in sorted(self.earned.items())]
        return {
            "v": VERSION, "experiment": self.name, "definition": self.digest, "period_s": self.period_s,
            "partitions": sorted(self.partitions), "until_ms": self.until_ms, "cells": cells, "entered": entered, "earned": earned,
            "dropped": self.dropped, **{counter: getattr(self, counter) for counter in COUNTERS},
        }  # fmt: skip

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], definition: Definition, begun: int = 0) -> Tally:
        """What ``plain`` made. Raises InputError if it is not that, or of another experiment."""
        try:
            out = cls(definition, plain["period_s"], begun)
            if plain["v"] != VERSION:
                found = f"version {plain['v']}"
                raise InputError(f"a tally of version {VERSION}", found, "count again, with `readout --save`")
            if plain["experiment"] != out.name:
                raise InputError(
                    f"a tally of {out.name}", f"one of {plain['experiment']}", "name the files of one experiment"
                )
            if plain["definition"] != out.digest:
                raise _of_another(out.name, out.digest, plain["definition"])
            for c in plain["cells"]:
                out.cells[c["variant"], c["ramp"], c["period"]] = {
                    m: Sums.from_plain(c["sums"][m]) for m in out.metrics
                }
            out._periods = {cell[2] for cell in out.cells}
            for e in plain["entered"]:
                out.entered[e["variant"], e["ramp"]] = e["units"]
            out._ramps, out.dropped = {ramp for _, ramp in out.entered}, int(plain["dropped"])
            for e in plain["earned"]:
                out.earned[e["variant"], e["ramp"], e["column"]] = e["sum"]
            out.partitions, out.until_ms = set(map(int, plain["partitions"])), int(plain["until_ms"])
            for counter in COUNTERS:
                setattr(out, counter, int(plain[counter]))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("what `readout --save` wrote", f"something else ({error!r})", "name such files") from None
        return out


COUNTERS = ("mixed", "events", "lists", "unattributed", "lost")


def digest(definition: Definition, begun: int = 0) -> str:
    """Of everything that a definition says but traffic and weights, which a ramp may change, and of when it was ``begun`` (ms, where
    that is known): 16 hex digits.

    >>> from streams.contracts.experiments import Variant
    >>> one = Definition(name="x", variants=(Variant(name="a"), Variant(name="b")))
    >>> grown = msgspec.structs.replace(one, variants=(Variant(name="a"), Variant(name="b", weight=9.0)))
    >>> digest(one) == digest(grown) != digest(msgspec.structs.replace(one, attribution_s=60))
    True
    """
    variants = tuple(msgspec.structs.replace(v, weight=1.0) for v in definition.variants)
    plain = msgspec.json.encode(msgspec.structs.replace(definition, variants=variants, traffic=1.0), order="sorted")
    return hashlib.sha256(plain + (b"/%d" % begun if begun else b"")).hexdigest()[:16]


def _of_another(name: str, expected: str, actual: object) -> InputError:
    return InputError(
        f"a tally of {name} under definition {expected}",
        f"one under definition {actual}",
        "add what was counted of one experiment under one definition; what a ramp changes is no part of it",
    )


def columns_of(measured: Measured, values: Sequence[float]) -> tuple[float, ...]:
    """The metric's columns of a unit's, with those from before where they are its covariate."""
    half = len(values) // 2
    now = tuple(values[c] for c in measured.columns)
    return (*now, *(values[half + c] for c in measured.columns)) if measured.metric.covariate else now
