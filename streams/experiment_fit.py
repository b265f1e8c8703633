"""Which experiments can run together: of what somebody begins the rules ask this, and every worker of what it reads."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence

from .contracts.experiments import Definition, Experiment

log = logging.getLogger("headrace")

Fault = tuple[str, str, str]
"""Expected, found, remedy."""


def fitting(experiments: Iterable[Experiment], lists: Collection[str], arms: int) -> list[Experiment]:
    """Those that run, in the order in which they began, less those that this worker cannot do or that do not go with an earlier one.

    Two that were begun at the same moment may have been written both. ``lists``: the candidate lists there are; ``arms``: how many may
    learn apart. What is left out is left out whole, and said.
    """
    out: list[Experiment] = []
    for e in sorted((e for e in experiments if e.state == "running"), key=lambda e: (e.created, e.definition.name)):
        fault = _unable(e.definition, lists) or next(filter(None, (_beside(e, other) for other in out)), None)
        fault = fault or too_many_arms(e.definition, [other.definition for other in out], arms)
        if fault is None:
            out.append(e)
        else:
            log.warning("experiment %s is left out: expected %s, got %s; %s", e.definition.name, *fault)
    return out


def _unable(d: Definition, lists: Collection[str]) -> Fault | None:
    named = {name for v in d.variants for name in (*(v.sources or ()), *(v.blend.add if v.blend else ()))}
    unknown = sorted(named - set(lists))
    if unknown:
        return "lists that are known here", ", ".join(unknown), "run one configuration on all workers"
    if d.method == "interleave" and len(d.variants) != 2:
        return "two variants that share a list", str(len(d.variants)), "run one release on all workers"
    return None


def _beside(e: Experiment, other: Experiment) -> Fault | None:
    if e.definition.layer is not None and e.definition.layer == other.definition.layer and e.slot and other.slot:
        (first, end), (start, stop) = e.slot, other.slot
        if first < stop and start < end:
            return "units of its own in the layer", f"some of {other.definition.name}'s", "begin it again"
    return clash(e.definition, other.definition)


def clash(d: Definition, other: Definition) -> Fault | None:
    """Why two experiments cannot run beside each other: those that can have the same unit must not change the same thing."""
    if other.layer is not None and other.layer == d.layer:
        if other.unit != d.unit:
            wanted = f"units of layer {other.layer} that are {other.unit}s, as in {other.name}"
            return wanted, f"{d.unit}s", "use another layer"
        return None
    both = sorted(changes(d) & changes(other))
    if both:
        return (
            f"changes that no running experiment makes outside layer {d.layer or '(none)'}",
            f"{', '.join(both)}, as {other.name} does", "put both in one layer, or stop that one",
        )  # fmt: skip
    if other.the_salt == d.the_salt:
        return "a salt of its own", f"{d.the_salt!r}, as {other.name} has", "choose another salt"
    if d.learning == other.learning == "isolated":
        wanted = "one experiment at a time whose arms learn apart"
        return wanted, f"{other.name} runs", "put both in one layer, or stop that one"
    return None


def changes(d: Definition) -> frozenset[str]:
    """Names of what the variants change. A draft decides what comes first, as exploring does, and a list has one propensity."""
    drafted = frozenset({"explore"}) if d.method == "interleave" else frozenset()
    return drafted.union(*(v.changes for v in d.variants))


def too_many_arms(d: Definition, running: Sequence[Definition], arms: int) -> Fault | None:
    """Whether the models of an experiment whose arms learn apart would be more than a worker is to hold."""
    there = sum(len(other.variants) for other in running if other.learning == "isolated")
    if d.learning != "isolated" or there + len(d.variants) <= arms:
        return None
    found = f"{len(d.variants)}" + (f" beside {there} that run" if there else "")
    return (
        f"at most {arms} variants that learn apart (`isolated_arms`), each with models of its own in every worker's memory", found,
        "use `learning: shared` or fewer variants, or raise the setting on all workers",
    )  # fmt: skip
