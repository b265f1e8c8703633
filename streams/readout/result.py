"""From sums to what may be concluded: effects with their intervals, mismatch of shares, guardrails, and a verdict in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from online_models.experiments import srm
from online_models.experiments.effects import Effect, Kind, NoResult, Reason, compare, level
from online_models.experiments.guardrails import Guarded, Verdict, guard
from online_models.experiments.intervals import TUNING, Interval, fixed, gavi, msprt
from online_models.experiments.multiple import holm
from online_models.experiments.split import BUCKETS, Ranges
from online_models.experiments.sums import SCALE, Sums
from streams.contracts.experiments import INTERLEAVED, Experiment

from .tally import METRICS, PREFERENCE, SHARED, Tally

Decision = Literal["no result yet", "better", "worse", "mismatch", "harm"]

EXPECTED_EFFECT = 0.05
"""Standard deviation of relative effects that `msprt` is tuned for."""


@dataclass(frozen=True)
class Compared:
    """One metric of a variant against the first one. Intervals are of the relative effect; all three are absent where there is no
    result. ``adjusted_p``: of the always-valid test, for the number of variants (Holm). ``plain``: the effect without the covariate."""

    variant: str
    value: float | None
    units: int
    effect: Effect | NoResult
    plain: Effect | NoResult
    always: Interval | None = None
    fixed: Interval | None = None
    msprt: Interval | None = None
    adjusted_p: float | None = None


@dataclass(frozen=True)
class MetricResult:
    """One metric: the control's value, and every other variant against it."""

    metric: str
    words: str
    control: float | None
    units: int
    variants: tuple[Compared, ...]


@dataclass(frozen=True)
class Preferred:
    """Of lists that two variants share: how many more with a click were clicked more for ``variant`` than for ``control``, as a share
    of those with a click (-1 to 1), and its always-valid interval."""

    control: str
    variant: str
    units: int
    lists: int
    effect: Effect | NoResult
    always: Interval | None


@dataclass(frozen=True)
class GuardResult:
    """One guardrail of one variant."""

    metric: str
    variant: str
    margin: float
    found: Guarded


@dataclass(frozen=True)
class Split:
    """Units first exposed under one ramp, by variant, against the shares it gives. ``always`` may be looked at always."""

    ramp: int
    units: dict[str, int]
    shares: dict[str, float]
    once: srm.Mismatch | NoResult
    always: srm.Mismatch | NoResult


@dataclass(frozen=True)
class Point:
    """The interval of the primary metric over the units first exposed up to the end of a period (ms)."""

    variant: str
    until_ms: int
    units: int
    estimate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Result:
    """A read-out. ``stop``: why it should be stopped, or empty. ``verdict`` says in words what may be concluded."""

    experiment: str
    state: str
    primary: str
    alpha: float
    control: str
    units: dict[str, int]
    mixed: int
    unattributed: int
    events: int
    lists: int
    metrics: tuple[MetricResult, ...]
    guardrails: tuple[GuardResult, ...]
    splits: tuple[Split, ...]
    timeline: tuple[Point, ...]
    decision: Decision
    verdict: str
    stop: str
    preference: Preferred | None = None


def read_out(experiment: Experiment, tally: Tally, tuning: float = TUNING, min_units: int = 100) -> Result:
    """What the sums say of an experiment. ``tuning``, ``min_units``: see `gavi` and `compare`."""
    d = experiment.definition
    if d.method == "interleave":
        return _shared(experiment, tally, tuning, min_units)
    metrics = tuple(_metric(name, tally, d.alpha, tuning, min_units) for name in METRICS)
    by_name = {m.metric: m for m in metrics}
    guards = tuple(
        GuardResult(g.metric, c.variant, g.margin, guard(c.effect, g.margin, alpha=d.alpha, tuning=tuning))
        for g in d.guardrails
        for c in by_name[g.metric].variants
    )
    splits = tuple(_splits(experiment, tally))
    stop = _reason_to_stop(guards, splits)
    decision, verdict = _verdict(by_name[d.metric], splits, guards, d.alpha)
    units = {v: sum(n for (name, _), n in tally.entered.items() if name == v) for v in tally.variants}
    return Result(
        d.name, experiment.state, d.metric, d.alpha, tally.variants[0], units, tally.mixed, tally.unattributed, tally.events, tally.lists,
        metrics, guards, splits, tuple(_timeline(tally, d.metric, d.alpha, tuning, min_units)), decision, verdict, stop,
    )  # fmt: skip


def _shared(experiment: Experiment, tally: Tally, tuning: float, min_units: int) -> Result:
    """Of an experiment whose variants share every list."""
    d = experiment.definition
    one, other = (v.name for v in d.variants)
    sums = tally.total(PREFERENCE, INTERLEAVED)
    effect = level(sums, SHARED[PREFERENCE].metric, min_units=min_units)
    found = gavi(effect, d.alpha, tuning) if isinstance(effect, Effect) else None
    preference = Preferred(one, other, sums.n, round(sums.totals[1] / SCALE), effect, found)
    decision: Decision = "no result yet"
    verdict = "No result yet. The interval may be looked at again at any time."
    if isinstance(effect, NoResult):
        verdict = f"No result yet: {effect.message}."
    elif found is not None and found.excludes_zero:
        decision = "better" if found.low > 0.0 else "worse"
        liked = other if found.low > 0.0 else one
        verdict = f"{liked} is preferred: {other} gets {found.low:+.1%} to {found.high:+.1%} of the lists with a click more than {one}."
    units = {INTERLEAVED: sum(tally.entered.values())}
    return Result(
        d.name, experiment.state, PREFERENCE, d.alpha, one, units, tally.mixed, tally.unattributed, tally.events, tally.lists, (), (),
        (), (), decision, verdict, "", preference,
    )  # fmt: skip


def _metric(name: str, tally: Tally, alpha: float, tuning: float, min_units: int) -> MetricResult:
    control, *others = tally.variants
    metric, base = METRICS[name].metric, tally.total(name, control)
    compared = []
    for variant in others:
        sums = tally.total(name, variant)
        effect, plain = (compare(base, sums, metric, adjust=a, min_units=min_units) for a in (True, False))
        found = Compared(variant, _value(name, sums), sums.n, effect, plain)
        if isinstance(effect, Effect):
            found = replace(
                found,
                always=gavi(effect, alpha, tuning),
                fixed=fixed(effect, alpha),
                msprt=msprt(effect, EXPECTED_EFFECT, alpha),
            )
        compared.append(found)
    p_values = {c.variant: c.always.p_value for c in compared if c.always is not None}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True)) if p_values else {}
    variants = tuple(replace(c, adjusted_p=adjusted.get(c.variant)) for c in compared)
    return MetricResult(name, METRICS[name].words, _value(name, base), base.n, variants)


def _value(name: str, sums: Sums) -> float | None:
    """The metric as observed; None where there is nothing to divide by."""
    if METRICS[name].metric.kind is Kind.RATIO:
        return sums.totals[0] / sums.totals[1] if sums.totals[1] else None
    return float(sums.mean[0]) if sums.n else None


def _splits(experiment: Experiment, tally: Tally) -> list[Split]:
    out = []
    before: Ranges = ((None, BUCKETS),)
    for ramp in experiment.ramps:
        shares = _shares(ramp.ranges)
        units = {v: tally.entered[v, ramp.number] for v in tally.variants}
        wanted = [v for v in tally.variants if shares.get(v, 0.0) > 0.0]
        counts, expected = [units[v] for v in wanted], [shares[v] for v in wanted]
        once: srm.Mismatch | NoResult
        always: srm.Mismatch | NoResult
        if len(wanted) < 2 or not _alike(before, ramp.ranges, wanted):
            why = "units come into this ramp in other shares than it has, since a ramp before it left some of them out"
            once = always = NoResult(Reason.TOO_FEW_UNITS, "one variant" if len(wanted) < 2 else why)
        else:
            once, always = srm.chi_square(counts, expected), srm.sequential(counts, expected)
        out.append(Split(ramp.number, units, shares, once, always))
        before = ramp.ranges
    return out


def _shares(ranges: Ranges) -> dict[str, float]:
    out: dict[str, float] = {}
    start = 0
    for owner, end in ranges:
        if owner is not None:
            out[owner] = out.get(owner, 0.0) + (end - start) / BUCKETS
        start = end
    return out


def _alike(before: Ranges, after: Ranges, variants: list[str]) -> bool:
    """Whether units that took no part before come in in the same proportions as those that are quite new."""
    entering = dict.fromkeys(variants, 0)
    for owner, start, end in _pieces(before):
        if owner is None:
            for name, first, stop in _pieces(after):
                if name in entering:
                    entering[name] += max(0, min(end, stop) - max(start, first))
    total, shares = sum(entering.values()), _shares(after)
    whole = sum(shares[v] for v in variants)
    return not total or all(abs(entering[v] / total - shares[v] / whole) < 0.002 for v in variants)


def _pieces(ranges: Ranges) -> list[tuple[str | None, int, int]]:
    starts = [0, *(end for _, end in ranges)]
    return [(owner, start, end) for (owner, end), start in zip(ranges, starts, strict=False)]


def _reason_to_stop(guards: tuple[GuardResult, ...], splits: tuple[Split, ...]) -> str:
    level = srm.ALARM / max(len(splits), 1)
    for s in splits:
        if isinstance(s.always, srm.Mismatch) and s.always.p_value < level:
            return f"shares of the variants do not match (p = {s.always.p_value:.1e}): {_counted(s)}"
    for g in guards:
        if g.found.verdict is Verdict.BREACHED:
            return f"{g.variant} harms {g.metric}: {g.found.high:+.1%} at most, the margin is {-g.margin:.1%}"
    return ""


def _counted(s: Split) -> str:
    whole = sum(s.shares.values())
    n = sum(s.units.values())
    return ", ".join(f"{v} {s.units[v]} of {n * share / whole:.0f} expected" for v, share in s.shares.items())


def _verdict(
    primary: MetricResult, splits: tuple[Split, ...], guards: tuple[GuardResult, ...], alpha: float
) -> tuple[Decision, str]:
    stop = _reason_to_stop((), splits)
    if stop:
        return "mismatch", f"No effect is to be believed: {stop}. Find out where units are lost."
    breached = _reason_to_stop(guards, ())
    if breached:
        return "harm", f"{breached[0].upper()}{breached[1:]}."
    sure = [c for c in primary.variants if c.adjusted_p is not None and c.adjusted_p < alpha and c.always is not None]
    if not sure:
        why = next((c.effect.message for c in primary.variants if isinstance(c.effect, NoResult)), "")
        return (
            "no result yet",
            f"No result yet{': ' + why if why else ''}. The interval may be looked at again at any time.",
        )
    best = max(sure, key=lambda c: c.effect.estimate if isinstance(c.effect, Effect) else 0.0)
    assert best.always is not None  # noqa: S101
    better = best.always.low > 0.0
    words = "better" if better else "worse"
    interval = f"{best.always.low:+.1%} to {best.always.high:+.1%}"
    text = f"{best.variant} is {words} in {primary.metric}: {interval}, however often this was looked at."
    return ("better" if better else "worse"), text


def _timeline(tally: Tally, metric: str, alpha: float, tuning: float, min_units: int) -> list[Point]:
    control, *others = tally.variants
    out = []
    for period in tally.periods:
        base = tally.total(metric, control, period)
        for variant in others:
            sums = tally.total(metric, variant, period)
            effect = compare(base, sums, METRICS[metric].metric, min_units=min_units)
            until, units = (period + 1) * tally.period_s * 1000, base.n + sums.n
            if isinstance(effect, NoResult):
                out.append(Point(variant, until, units, None, None, None))
            else:
                found = gavi(effect, alpha, tuning)
                out.append(Point(variant, until, units, effect.estimate, found.low, found.high))
    return out
