"""Experiments as they are begun, ramped and stopped: what is allowed, and why something is not.

Nothing here talks to a broker: the present experiments come in, the changed one goes out, or an InputError that says what is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone

import msgspec

from online_models.errors import InputError
from online_models.experiments.split import BUCKETS, allocate, counts

from .config import PipelineConfig
from .contracts.experiments import Definition, Experiment, Ramp
from .contracts.models import Announcement
from .experiment_fit import clash, too_many_arms
from .experiments import NO_MODEL

RAMPS_BYTES = 48_000
"""Of an experiment's ramps in its record, of which the latest are kept: a broker takes 1 MB, and every worker reads it."""


def begin(
    definition: Definition,
    present: Mapping[str, Experiment],
    lists: Collection[str],
    versions: Mapping[str, Announcement],
    now_ms: int,
    arms: int = PipelineConfig().isolated_arms,
) -> Experiment:
    """A new experiment among the ``present`` ones (by name). ``lists`` are the candidate lists there are, ``versions`` those of
    the deep model that workers can get, ``arms`` how many variants may learn apart.

    Raises InputError for a definition that says something impossible or would disturb another experiment.
    """
    running = [e for e in present.values() if e.state == "running"]
    if definition.name in present:
        was = "runs" if present[definition.name].state == "running" else "was stopped; a read-out would count both"
        raise InputError(
            "a name that no experiment has had", f"{definition.name!r}, which {was}", "choose another name"
        )
    _check(definition, lists, versions)
    if definition.end is not None and definition.end <= now_ms:
        raise InputError(
            "an end that is still to come", f"{_date(definition.end)} (`end`)", "correct it, or leave it out"
        )
    others = [e.definition for e in running]
    faults = (*(clash(definition, other) for other in others), too_many_arms(definition, others, arms))
    fault = next(filter(None, faults), None)
    if fault is not None:
        raise InputError(*fault)
    named = {v.model for v in definition.variants if v.model not in (None, NO_MODEL)}
    models = {v: versions[v] for v in sorted(filter(None, named))}
    return msgspec.structs.replace(alone(definition, now_ms), slot=_slot(definition, running), models=models)


def alone(definition: Definition, now_ms: int) -> Experiment:
    """The experiment of a definition, unchecked and with no other beside it: for a log that was recorded."""
    ranges = allocate(counts({v.name: v.weight for v in definition.variants}, definition.traffic))
    ramps = (Ramp(number=0, since=now_ms, ranges=ranges),)
    return Experiment(definition=definition, state="running", ramps=ramps, created=now_ms, changed=now_ms)


def ramp(
    experiment: Experiment,
    weights: Mapping[str, float],
    traffic: float | None,
    now_ms: int,
    by: str = "operator",
    reason: str = "",
) -> Experiment:
    """The experiment with other weights (those not named stay) or another share of traffic; who grows loses no unit."""
    _refuse_stopped(experiment)
    d = experiment.definition
    unknown = sorted(weights.keys() - {v.name for v in d.variants})
    if unknown:
        raise InputError(
            f"variants of {d.name} ({', '.join(v.name for v in d.variants)})", ", ".join(unknown), "correct the weights"
        )
    variants = tuple(msgspec.structs.replace(v, weight=float(weights.get(v.name, v.weight))) for v in d.variants)
    changed = msgspec.structs.replace(d, variants=variants, traffic=d.traffic if traffic is None else traffic)
    try:
        msgspec.convert(msgspec.to_builtins(changed), Definition)
    except msgspec.ValidationError as error:
        raise InputError("weights from 0 to 1e9, and traffic from 0 to 1", str(error), "correct them") from None
    ranges = allocate(counts({v.name: v.weight for v in variants}, changed.traffic), experiment.ranges)
    number, since = experiment.ramps[-1].number + 1, max(now_ms, experiment.changed + 1)
    ramps = _latest((*experiment.ramps, Ramp(number=number, since=since, ranges=ranges)))
    return msgspec.structs.replace(
        experiment, definition=changed, ramps=ramps, changed=ramps[-1].since, by=by, reason=reason
    )


def stop(experiment: Experiment, now_ms: int, by: str = "operator", reason: str = "") -> Experiment:
    """The experiment, stopped for good: everybody gets what is usual."""
    _refuse_stopped(experiment)
    return msgspec.structs.replace(
        experiment, state="stopped", changed=max(now_ms, experiment.changed + 1), by=by, reason=reason
    )


def _latest(ramps: Sequence[Ramp]) -> tuple[Ramp, ...]:
    """As many of the last ones as there is room for."""
    room = RAMPS_BYTES
    for n, kept in enumerate(reversed(ramps)):
        room -= len(msgspec.json.encode(kept)) + 1
        if room < 0 and n:
            return tuple(ramps[-n:])
    return tuple(ramps)


def _date(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


def check_over(experiment: Experiment) -> None:
    """Raises InputError for an experiment that runs: only one that was stopped may be forgotten."""
    if experiment.state == "running":
        name = experiment.definition.name
        raise InputError(
            "an experiment that was stopped", f"{name}, which runs", f"`headrace experiment stop {name}` first"
        )


def _refuse_stopped(experiment: Experiment) -> None:
    if experiment.state == "stopped":
        name = experiment.definition.name
        raise InputError("an experiment that runs", f"{name}, which was stopped", "start it anew under another name")


def _check(d: Definition, lists: Collection[str], versions: Mapping[str, Announcement]) -> None:
    names = [v.name for v in d.variants]
    if len(set(names)) < len(names):
        raise InputError("variants of different names", ", ".join(names), "rename one")
    if d.start is not None and d.end is not None and d.start >= d.end:
        raise InputError("a start before the end", f"{d.start} and {d.end}", "correct the times (ms since the epoch)")
    if d.learning == "isolated" and d.unit != "user":
        raise InputError(
            "users as units where arms learn apart", f"unit {d.unit!r}", "set `unit: user` or `learning: shared`"
        )
    if d.method == "interleave" and (len(names) != 2 or d.learning != "shared" or any(v.explore for v in d.variants)):
        raise InputError(
            "two variants that learn together and do not explore, to be interleaved",
            ", ".join(names),
            "correct the variants",
        )
    if d.method == "interleave" and (d.guardrails or d.forced):
        raise InputError("neither guardrails nor forced units where variants share every list", "some", "remove them")
    if d.method == "bandit" and (d.unit != "session" or d.learning != "shared"):
        raise InputError(
            "sessions as units for a bandit, and shared learning: users that are moved would leave the count",
            f"unit {d.unit!r}, learning {d.learning!r}", "set `unit: session` and `learning: shared`",
        )  # fmt: skip
    if d.learning == "isolated" and d.start is not None:
        raise InputError("arms that learn apart from the beginning", "a start", "begin it when it is to start")
    if d.method == "bandit" and d.metric == "revenue":
        raise InputError("a metric of successes and failures for a bandit", d.metric, "choose ctr, conversion or hr@20")
    if any(d.salt == reserved or d.salt.startswith("layer/") for reserved in ("holdout",)) or d.the_salt == "holdout":
        raise InputError("a salt that no other split uses", repr(d.the_salt), "choose another salt or name")
    if len({g.metric for g in d.guardrails}) < len(d.guardrails):
        raise InputError("one guardrail a metric", ", ".join(g.metric for g in d.guardrails), "remove one")
    _known("`forced` variants", d.forced.values(), names, "variants")
    for v in d.variants:
        _known(f"sources of {v.name}", v.sources or (), lists, "the lists that there are")
        _known(f"blend of {v.name}", v.blend.add if v.blend else (), lists, "the lists that there are")
        _known(
            f"model of {v.name}", [v.model] if v.model else (), {NO_MODEL, *versions}, "a version announced, or none"
        )
        if v.sources is not None and not v.sources:
            raise InputError(f"at least one source for {v.name}", "none", "name some, or leave `sources` out")


def _known(where: str, named: Collection[str], known: Collection[str], what: str) -> None:
    unknown = sorted(set(named) - set(known))
    if unknown:
        raise InputError(f"{what} ({', '.join(sorted(known))})", f"{', '.join(unknown)} in the {where}", "correct it")


def _slot(d: Definition, running: Sequence[Experiment]) -> tuple[int, int] | None:
    """The first free buckets of the layer that are enough."""
    if d.layer is None:
        return None
    size = round(d.layer_share * BUCKETS)
    taken = sorted(e.slot for e in running if e.definition.layer == d.layer and e.slot is not None)
    at = largest = 0
    for first, end in [*taken, (BUCKETS, BUCKETS)]:
        if first - at >= size > 0:
            return at, at + size
        largest, at = max(largest, first - at), max(at, end)
    raise InputError(
        f"a share of layer {d.layer} that is free together, at most {largest / BUCKETS:g}", f"layer_share {d.layer_share:g}",
        "lower `layer_share`, or stop an experiment of the layer",
    )  # fmt: skip
