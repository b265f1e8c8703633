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
from .experiment_checks import check, check_buckets
from .experiment_fit import clash, too_many_arms
from .experiments import NO_MODEL

RAMPS_BYTES = 48_000
"""Of an experiment's ramps in its record, of which the latest are kept: a broker takes 1 MB, and every worker reads it."""
RECORD_BYTES = 900_000
"""Of an experiment's record with all the ramps that there is room for."""


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
        runs = present[definition.name].state == "running"
        was = "runs" if runs else "was stopped and can still be read out"
        remedy = (
            "`headrace experiment ramp` changes its shares; stop it first to delete it"
            if runs
            else "or delete that one"
        )
        raise InputError(
            "a name that no experiment has had", f"{definition.name!r}, which {was}", f"choose another name; {remedy}"
        )
    check_alone(definition, lists, versions, now_ms, arms)
    others = [e.definition for e in running]
    faults = (*(clash(definition, other) for other in others), too_many_arms(definition, others, arms))
    fault = next(filter(None, faults), None)
    if fault is not None:
        raise InputError(*fault)
    named = {v.model for v in definition.variants if v.model not in (None, NO_MODEL)}
    models = {v: versions[v] for v in sorted(filter(None, named))}
    found = msgspec.structs.replace(alone(definition, now_ms), slot=_slot(definition, running), models=models)
    _refuse_large(found)
    return found


def check_alone(
    definition: Definition,
    lists: Collection[str],
    versions: Collection[str],
    now_ms: int,
    arms: int = PipelineConfig().isolated_arms,
) -> None:
    """Raises InputError for a definition that says something impossible, whatever runs beside it. Arguments as for `begin`."""
    check(definition, lists, versions)
    if definition.end is not None and definition.end <= now_ms:
        raise InputError(
            "an end that is still to come", f"{_date(definition.end)} (`end`)", "correct it, or leave it out"
        )
    fault = too_many_arms(definition, (), arms)
    if fault is not None:
        raise InputError(*fault)
    _refuse_large(alone(definition, now_ms))


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
    check_buckets(changed)
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


def _refuse_large(experiment: Experiment) -> None:
    size, room = len(msgspec.json.encode(experiment)), RECORD_BYTES - RAMPS_BYTES
    if size > room:
        raise InputError(
            f"a definition whose record has at most {room:,} bytes, so that a broker takes it", f"{size:,}",
            "name fewer items in `deny_items`, or fewer units in `forced`",
        )  # fmt: skip


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
