"""The bench: one set, run as asked, and everything that came out as one dict (docs/quality.md says what is in it)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from typing import Any

import msgspec

from online_models.embeddings import MANIFEST, read_manifest
from online_models.errors import InputError

from .plan import Plan
from .runs import Progress, Setup, by_tracks, late
from .summary import difference, of_verdict, some
from .variants import Variant, variants

FROZEN, PREQUENTIAL = "frozen", "prequential"


@dataclass(frozen=True)
class Wish:
    """What is to be run: ``tracks``, whether each part is taken away in turn (of ``parts`` only these, if there are any), and delays in
    ms, each under its name."""

    tracks: tuple[str, ...] = (PREQUENTIAL,)
    ablate: bool = False
    parts: tuple[str, ...] = ()
    lags: tuple[tuple[str, int], ...] = ()


Watch = Callable[[str], Progress]
"""A run of this name begins; returns what is told of its progress."""


def check(plan: Plan, setup: Setup, wish: Wish) -> None:
    """Raises InputError where the set cannot be run as wished."""
    if FROZEN in wish.tracks and len(plan.bounds) < 3:
        remedy = "leave --track out, or give a set such as ader-diginetica"
        raise InputError("a set with periods for the frozen track", f"{plan.name}, which has none", remedy)
    if wish.lags and not plan.timed:
        raise InputError("a log with times for --lag", f"{plan.name}, which has none", "give recorded logs")
    _check_models(plan, setup)
    known = [variant.part for variant in _variants(plan, setup)]
    for part in wish.parts:
        if part not in known:
            raise InputError(f"a part that takes part in {plan.name}: {', '.join(known)}", part, "correct --part")


def _check_models(plan: Plan, setup: Setup) -> None:
    """Raises InputError where an artefact is not there, or has seen what it is asked about."""
    periods = range(len(plan.bounds) - 1)
    folders = {period: folder for period in periods if (folder := setup.model(period)) is not None}
    if not folders:
        return
    for folder in folders.values():
        if not (folder / MANIFEST).is_file():
            raise InputError("an artefact of `headrace train`", f"no {MANIFEST} in {folder}", "see --model in the help")
    # what comes before the first query is learned only: an artefact may have seen it
    one = len(periods) == 1
    first = {period: int(plan.event[0]) if one else plan.bounds[max(period, 1)] for period in folders}
    times = _times(plan, set(first.values()))
    for period, folder in folders.items():
        newest, asked = read_manifest(folder).newest_ms, times[first[period]]
        if newest >= asked:
            raise InputError(
                f"an artefact that has seen nothing from the first event on that it is asked about (at {asked} ms)",
                f"events until {newest} ms in {folder}", "train it on what comes before",
            )  # fmt: skip


def _times(plan: Plan, events: set[int]) -> dict[int, int]:
    """Event number → time in ms."""
    stream = islice(plan.read(), max(events) + 1)
    return {n: event.timestamp for n, (event, _) in enumerate(stream) if n in events}


def _variants(plan: Plan, setup: Setup) -> list[Variant]:
    rated, deep = plan.rating_max is not None, setup.model(len(plan.bounds) - 2) is not None
    return variants(setup, rated, deep)


def run(plan: Plan, setup: Setup, wish: Wish, watch: Watch) -> dict[str, Any]:
    """Run the set. Raises InputError where it cannot be run as wished."""
    check(plan, setup, wish)
    frozen = FROZEN in wish.tracks
    live, still = by_tracks(plan, setup, frozen, watch("everything"))
    base = {PREQUENTIAL: live} | ({FROZEN: still} if still is not None else {})
    out: dict[str, Any] = {
        "v": 1, "set": plan.name, "headrace": version("headrace"), "events": plan.events, "queries": len(plan),
        "periods": len(plan.bounds) - 1, "config": msgspec.to_builtins(setup.config),
        "tracks": {track: of_verdict(plan, base[track]) for track in wish.tracks},
    }  # fmt: skip
    if wish.ablate:
        out["ablation"] = []
        for variant in _variants(plan, setup):
            if wish.parts and variant.part not in wish.parts:
                continue
            less, less_still = by_tracks(plan, variant.setup, frozen, watch(variant.name))
            verdicts = {PREQUENTIAL: less} | ({FROZEN: less_still} if less_still is not None else {})
            found = {track: difference(plan, verdicts[track].values, base[track].values) for track in wish.tracks}
            out["ablation"].append({"part": variant.part, "name": variant.name, "difference": found})
    if wish.lags:
        out["lag"] = []
        for name, ms in wish.lags:
            models, everything = late(plan, setup, ms, watch(f"{name} late"))
            out["lag"].append({"lag": name, "ms": ms} | {
                part: {"metrics": some(of_verdict(plan, v)["metrics"]), "difference": difference(plan, v.values, live.values)}
                for part, v in (("models late", models), ("everything late", everything))
            })  # fmt: skip
    return out
