"""From sums to what may be concluded: effects with their intervals, mismatch of shares, guardrails, and a verdict in words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from online_models.experiments.effects import Effect, Kind, NoResult, Reason, compare, level
from online_models.experiments.guardrails import Guarded, guard
from online_models.experiments.intervals import TUNING, Interval, fixed, gavi, msprt
from online_models.experiments.multiple import Correction, adjusted
from online_models.experiments.sums import SCALE, Sums
from online_models.experiments.weighted import Weighted
from streams.contracts.experiments import INTERLEAVED, Experiment

from .shares import Split, Strata, changes_of, share_of_level, splits, strata
from .tally import METRICS, PREFERENCE, SHARED, Tally
from .verdict import Decision, of_preference, of_variants, reason_to_stop

EXPECTED_EFFECT = 0.05
"""Standard deviation of relative effects that `msprt` is tuned for."""


@dataclass(frozen=True)
class Compared:
    """One metric of a variant against the first one. Intervals are of the relative effect; all three are absent where there is no
    result. ``adjusted_p``: of the always-valid test, for the number of variants. ``plain``: the effect without the covariate.
    ``control``: the control's value over the units that it is compared with."""

    variant: str
    value: float | None
    units: int
    effect: Effect | NoResult
    plain: Effect | NoResult
    always: Interval | None = None
    fixed: Interval | None = None
    msprt: Interval | None = None
    adjusted_p: float | None = None
    control: float | None = None


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
    """A read-out. ``stop``: why it should be stopped, or empty. ``verdict`` says in words what may be concluded. ``alpha``: the
    level of its intervals, which is less than the experiment's once proportions were changed (`share_of_level`).

    ``correction``: of p-values, for the number of variants. ``guard_alpha``: of each guardrail of each variant, so that with a
    probability of ``alpha`` at most any of them is ever called breached that is not. ``until_ms``: event time of the latest event that
    was counted, 0 if there is none. ``lost``: lists that could not be counted. ``unattributed``: clicks and conversions that came longer
    after the list than `attribution_s`, so that they count for none.
    """

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
    since: int = 0
    """The ramp since which first exposures are compared."""
    changes: int = 0
    """How often the proportions were changed; 0 of a bandit, whose ramps are all compared."""
    correction: Correction = "holm"
    guard_alpha: float | None = None
    tuning: float = TUNING
    until_ms: int = 0
    lost: int = 0


def read_out(
    experiment: Experiment,
    tally: Tally,
    tuning: float = TUNING,
    min_units: int = 100,
    correction: Correction = "holm",
) -> Result:
    """What the sums say of an experiment. ``tuning``, ``min_units``: see `gavi` and `compare`. ``correction``: see `multiple`."""
    d = experiment.definition
    if d.method == "interleave":
        return _shared(experiment, tally, tuning, min_units)
    control, *others = tally.variants
    alpha = d.alpha * share_of_level(changes_of(experiment))
    how = {variant: strata(experiment, control, variant) for variant in others}
    metrics = tuple(_metric(name, tally, alpha, tuning, min_units, how, correction) for name in METRICS)
    by_name = {m.metric: m for m in metrics}
    # Bonferroni: any breach stops the experiment, so it is their number that makes false alarms.
    each = alpha / max(len(d.guardrails) * (len(tally.variants) - 1), 1)
    guards = tuple(
        GuardResult(g.metric, c.variant, g.margin, guard(c.effect, g.margin, alpha=each, tuning=tuning))
        for g in d.guardrails
        for c in by_name[g.metric].variants
    )
    found = splits(experiment, tally)
    stop = reason_to_stop(guards, found)
    decision, verdict = of_variants(by_name[d.metric], found, guards, alpha)
    timeline = tuple(_timeline(tally, d.metric, alpha, tuning, min_units, how))
    since = max(s.since for s in how.values())
    units = {v: sum(n for (name, _), n in tally.entered.items() if name == v) for v in tally.variants}
    return Result(
        d.name, experiment.state, d.metric, alpha, tally.variants[0], units, tally.mixed, tally.unattributed, tally.events, tally.lists,
        metrics, guards, found, timeline, decision, verdict, stop, since=since, correction=correction, changes=changes_of(experiment),
        guard_alpha=each if guards else None, tuning=tuning, until_ms=tally.until_ms,
        lost=tally.lost,
    )  # fmt: skip


def _shared(experiment: Experiment, tally: Tally, tuning: float, min_units: int) -> Result:
    """Of an experiment whose variants share every list."""
    d = experiment.definition
    one, other = (v.name for v in d.variants)
    sums = tally.total(PREFERENCE, INTERLEAVED)
    effect = level(sums, SHARED[PREFERENCE].metric, min_units=min_units)
    found = gavi(effect, d.alpha, tuning) if isinstance(effect, Effect) else None
    preference = Preferred(one, other, sums.n, round(sums.totals[1] / SCALE), effect, found)
    decision, verdict = of_preference(one, other, effect, found)
    units = {INTERLEAVED: sum(tally.entered.values())}
    return Result(
        d.name, experiment.state, PREFERENCE, d.alpha, one, units, tally.mixed, tally.unattributed, tally.events, tally.lists, (), (),
        (), (), decision, verdict, "", preference, tuning=tuning, until_ms=tally.until_ms,
        lost=tally.lost,
    )  # fmt: skip


def _metric(
    name: str, tally: Tally, alpha: float, tuning: float, min_units: int, how: dict[str, Strata], correction: Correction
) -> MetricResult:
    control, *others = tally.variants
    metric, of_control = METRICS[name].metric, tally.by_ramp(name, control)
    base = next(iter(how.values())).pooled(of_control, 0, metric.columns)
    compared = []
    for variant in others:
        why, against = how[variant].why, how[variant].pooled(of_control, 0, metric.columns)
        sums = how[variant].pooled(tally.by_ramp(name, variant), 1, metric.columns)
        effect, plain = (
            NoResult(Reason.TOO_FEW_UNITS, why)
            if why
            else compare(against, sums, metric, adjust=a, min_units=min_units)
            for a in (True, False)
        )
        found = Compared(variant, _value(name, sums), sums.n, effect, plain, control=_value(name, against))
        if isinstance(effect, Effect):
            found = replace(
                found,
                always=gavi(effect, alpha, tuning),
                fixed=fixed(effect, alpha),
                msprt=msprt(effect, EXPECTED_EFFECT, alpha),
            )
        compared.append(found)
    p_values = {c.variant: c.always.p_value for c in compared if c.always is not None}
    corrected = dict(zip(p_values, adjusted(list(p_values.values()), correction), strict=True)) if p_values else {}
    variants = tuple(replace(c, adjusted_p=corrected.get(c.variant)) for c in compared)
    return MetricResult(name, METRICS[name].words, _value(name, base), base.n, variants)


def _value(name: str, sums: Sums | Weighted) -> float | None:
    """The metric as observed; None where there is nothing to divide by."""
    if METRICS[name].metric.kind is Kind.RATIO:
        return sums.totals[0] / sums.totals[1] if sums.totals[1] else None
    return float(sums.mean[0]) if sums.n else None


def _timeline(
    tally: Tally, metric: str, alpha: float, tuning: float, min_units: int, how: dict[str, Strata]
) -> list[Point]:
    control, *others = tally.variants
    columns = METRICS[metric].metric.columns
    nobody = {variant: how[variant].nobody(columns) for variant in others}
    bases, found = dict(nobody), dict(nobody)
    out = []
    for period, cells in tally.by_period(metric).items():
        for v, ramp, sums in cells:
            if v in found:
                found[v] = how[v].add(found[v], 1, ramp, sums)
            elif v == control:
                bases = {other: how[other].add(base, 0, ramp, sums) for other, base in bases.items()}
        for variant in others:
            if how[variant].why:
                continue
            base, sums_of = bases[variant], found[variant]
            if not base.n + sums_of.n:
                continue
            effect = compare(base, sums_of, METRICS[metric].metric, min_units=min_units)
            until, units = (period + 1) * tally.period_s * 1000, base.n + sums_of.n
            if isinstance(effect, NoResult):
                out.append(Point(variant, until, units, None, None, None))
            else:
                interval = gavi(effect, alpha, tuning)
                out.append(Point(variant, until, units, effect.estimate, interval.low, interval.high))
    return out
