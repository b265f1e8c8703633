"""The shares of an experiment's ramps: do the units have them, and since when may variants be compared?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import pi

from online_models.experiments import srm
from online_models.experiments.effects import NoResult, Reason
from online_models.experiments.split import BUCKETS, Ranges
from online_models.experiments.sums import Sums
from online_models.experiments.weighted import Weighted
from streams.contracts.experiments import Experiment, Ramp

from .tally import Tally


@dataclass(frozen=True)
class Split:
    """Units first exposed under one ramp, by variant, against the shares it gives. ``always`` may be looked at always."""

    ramp: int
    units: dict[str, int]
    shares: dict[str, float]
    once: srm.Mismatch | NoResult
    always: srm.Mismatch | NoResult


def level_of(ramp: int) -> float:
    """Of the alarm of one ramp, counted from 0: of all ramps that there will ever be, together, it is `srm.ALARM`.

    A share 6 / (π² k²) of it for the k-th, since 1 + 1/4 + 1/9 + ... = π²/6 (union bound). How many there have been does not matter, so
    an alarm once raised is not taken back by a later ramp.

    >>> level_of(0) < 0.001, round(sum(map(level_of, range(100_000))), 7)
    (True, 0.001)
    """
    return srm.ALARM * 6.0 / (pi * (ramp + 1)) ** 2


def splits(experiment: Experiment, tally: Tally) -> tuple[Split, ...]:
    """Of each ramp, the units that were first exposed under it."""
    out = []
    for ramp, came in zip(experiment.ramps, _came(experiment.ramps), strict=True):
        shares = came.shares
        units = {v: tally.entered[v, ramp.number] for v in tally.variants}
        wanted = [v for v in tally.variants if shares.get(v, 0.0) > 0.0]
        counts, expected = [units[v] for v in wanted], [shares[v] for v in wanted]
        once: srm.Mismatch | NoResult
        always: srm.Mismatch | NoResult
        if len(wanted) < 2 or not came.alike(wanted):
            why = "units come into this ramp in other shares than it has, since a ramp before it left some of them out"
            once = always = NoResult(Reason.TOO_FEW_UNITS, "one variant" if len(wanted) < 2 else why)
        else:
            alpha = level_of(ramp.number)
            once, always = srm.chi_square(counts, expected), srm.sequential(counts, expected, alpha)
        out.append(Split(ramp.number, units, shares, once, always))
    return tuple(out)


def comparable(experiment: Experiment) -> tuple[int, str]:
    """The ramp since which first exposures can be compared, and why they cannot be at all, or nothing.

    It is the one since which the variants have had their present proportions. Who was first exposed before is left out: some of them were
    moved, and who comes back to be seen in two variants is another kind than who does not; and if the metric changes with time, units of
    two mixtures differ where variants do not. Who is first exposed since then is a random split.
    """
    ramps = experiment.ramps
    since = len(ramps) - 1
    while since > 0 and _proportions(ramps[since - 1].ranges) == _proportions(ramps[since].ranges):
        since -= 1
    present = shares_of(ramps[-1].ranges)
    wanted = [v.name for v in experiment.definition.variants if present.get(v.name, 0.0) > 0.0]
    if all(came.alike(wanted) for came in _came(ramps)[since:]):
        return ramps[since].number, ""
    return ramps[since].number, "who had been left out came in in other shares than who is new: begin a new experiment"


def changes_of(experiment: Experiment) -> int:
    """How often the proportions of an experiment were changed, so that a sequence of what is compared began anew; of a bandit never.

    Of ramps that the record has no room for any more, each may have been a change.
    """
    ramps = experiment.ramps
    if experiment.definition.method == "bandit":
        return 0
    return ramps[0].number + sum(_proportions(a.ranges) != _proportions(b.ranges) for a, b in pairwise(ramps))


def share_of_level(changes: int) -> float:
    """The level of what is said after so many changes of the proportions, as a share of the experiment's.

    The first sequence, and the only one of most experiments, has the whole level; the k-th a share 6 / (π² k²), so that all there will
    ever be come to at most 2 - 6/π² = 1.4 times the level (union bound).

    >>> share_of_level(0), round(sum(map(share_of_level, range(100_000))), 2)
    (1.0, 1.39)
    """
    return 1.0 if not changes else 6.0 / (pi * (changes + 1)) ** 2


@dataclass(frozen=True)
class Strata:
    """Which units of two variants are compared. ``weights``: ramp of the first exposure → what a unit of the one and of the other counts;
    None: those of ramp ``since`` and later count alike. ``why`` nothing can be compared, or nothing."""

    since: int
    weights: dict[int, tuple[float, float]] | None
    why: str

    def pooled(self, of_ramps: dict[int, Sums], side: int, columns: int) -> Sums | Weighted:
        """All units of the one (0) or the other (1) variant, as they count, from their sums by ramp."""
        found = self.nobody(columns)
        for ramp, sums in of_ramps.items():
            found = self.add(found, side, ramp, sums)
        return found

    def nobody(self, columns: int) -> Sums | Weighted:
        """What `add` begins with."""
        return Sums.empty(columns) if self.weights is None else Weighted.empty(columns)

    def add(self, found: Sums | Weighted, side: int, ramp: int, sums: Sums) -> Sums | Weighted:
        """``found`` and more units of the one (0) or the other (1) variant, first exposed under that ramp, as they count."""
        if isinstance(found, Weighted):
            weight = (self.weights or {}).get(ramp)
            return found if weight is None else found + Weighted.of(weight[side], sums)
        return found + sums if ramp >= self.since else found


def strata(experiment: Experiment, control: str, treated: str) -> Strata:
    """How the units of two variants are compared, if their shares have moved.

    Of a bandit, whose units count only what they did under the ramp of their first exposure, those first exposed under each ramp are a
    random split with known shares. With c and t the shares of two variants, a unit of the one counts 2 t / (c + t) and of the other
    2 c / (c + t): in every ramp both sides then count alike, so that what changes with time is in both; and a ramp counts as much as it
    can say (overlap weights: Li, Morgan and Zaslavsky, "Balancing covariates via propensity score weighting", JASA 2018; the weights of
    Mantel and Haenszel, 1959, with known shares in place of counts). They are fixed before the outcomes, so that the sum stays a martingale
    where shares follow from what came before (Hadad, Hirshberg, Zhan, Wager and Athey, "Confidence intervals for policy evaluation in
    adaptive experiments", PNAS 2021).
    """
    since, why = comparable(experiment)
    if experiment.definition.method != "bandit":
        return Strata(since, None, why)
    weights = {}
    for ramp, came in zip(experiment.ramps, _came(experiment.ramps), strict=True):
        one, other = came.shares.get(control, 0.0), came.shares.get(treated, 0.0)
        if min(one, other) > 0.0 and came.alike([v for v, share in came.shares.items() if share > 0.0]):
            weights[ramp.number] = 2.0 * other / (one + other), 2.0 * one / (one + other)
    return Strata(experiment.ramps[0].number, weights, "" if weights else why or "never had both variants a share")


def shares_of(ranges: Ranges) -> dict[str, float]:
    """Share of all units, by variant."""
    out: dict[str, float] = {}
    for owner, start, end in _pieces(ranges):
        if owner is not None:
            out[owner] = out.get(owner, 0.0) + (end - start) / BUCKETS
    return out


def _proportions(ranges: Ranges) -> dict[str, float]:
    shares = shares_of(ranges)
    whole = sum(shares.values()) or 1.0
    return {v: round(share / whole, 3) for v, share in sorted(shares.items())}


@dataclass(frozen=True)
class _Came:
    """Of one ramp: how many buckets that no ramp before it had it gives to each variant, and its ``shares``."""

    buckets: dict[str, int]
    shares: dict[str, float]

    def alike(self, variants: Sequence[str]) -> bool:
        """Whether units that no ramp before had come in in the same proportions as those that are quite new."""
        total = sum(self.buckets.get(v, 0) for v in variants)
        whole = sum(self.shares.get(v, 0.0) for v in variants)
        return not total or all(
            abs(self.buckets.get(v, 0) / total - self.shares.get(v, 0.0) / whole) < 0.002 for v in variants
        )


@lru_cache(maxsize=4)
def _came(ramps: tuple[Ramp, ...]) -> tuple[_Came, ...]:
    """Of each ramp, in one pass: a bandit has hundreds, and every look asks of all of them for every variant."""
    out = []
    free = [(0, BUCKETS)]
    for ramp in ramps:
        pieces = _pieces(ramp.ranges)
        buckets: dict[str, int] = {}
        left: list[tuple[int, int]] = []
        at = mine = 0
        while at < len(pieces) and mine < len(free):
            (owner, first, last), (start, end) = pieces[at], free[mine]
            start, stop = max(first, start), min(last, end)
            if start < stop and owner is None:
                left.append((start, stop))
            elif start < stop and owner is not None:
                buckets[owner] = buckets.get(owner, 0) + stop - start
            if last <= end:
                at += 1
            else:
                mine += 1
        free = left
        out.append(_Came(buckets, shares_of(ramp.ranges)))
    return tuple(out)


def _pieces(ranges: Ranges) -> list[tuple[str | None, int, int]]:
    starts = [0, *(end for _, end in ranges)]
    return [(owner, start, end) for (owner, end), start in zip(ranges, starts, strict=False)]
