"""What one definition must not say, whatever else runs: what cannot be, what would never count, what nobody could read out."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from online_models.errors import InputError
from online_models.experiments.split import BUCKETS, counts

from .contracts.experiments import Definition
from .experiments import DEEP, HOLDOUT, NO_MODEL, layer_salt
from .trial import SALTS

Fault = tuple[str, str, str]
"""Expected, found, remedy."""


def check(d: Definition, lists: Collection[str], versions: Collection[str]) -> None:
    """Raises InputError with the first fault. ``lists``: the candidate lists there are; ``versions``: of the deep model, that workers
    can get."""
    for faults in (_of_the_split(d), _of_the_method(d), _of_what_counts(d), _of_variants(d, lists, versions)):
        for fault in faults:
            raise InputError(*fault)
    check_buckets(d)


def check_buckets(d: Definition) -> None:
    """Raises InputError where a variant has a weight, and no unit would ever have the variant."""
    found = counts({v.name: v.weight for v in d.variants}, d.traffic)
    empty = [v.name for v in d.variants if v.weight > 0.0 and not found[v.name]]
    if empty and d.traffic > 0.0:
        raise InputError(
            "a millionth of all units or more for each variant that has a weight", f"less for {', '.join(empty)}",
            "raise its weight or the traffic, or set the weight to 0",
        )  # fmt: skip


def _of_the_split(d: Definition) -> Iterator[Fault]:
    names = [v.name for v in d.variants]
    if len(set(names)) < len(names):
        yield "variants of different names", ", ".join(names), "rename one"
    if d.start is not None and d.end is not None and d.start >= d.end:
        yield "a start before the end", f"{d.start} and {d.end}", "correct the times (ms since the epoch)"
    if d.the_salt == HOLDOUT or d.salt.startswith((layer_salt(""), SALTS)):
        yield "a salt that no other split uses", repr(d.the_salt), "choose another salt or name"
    if round(d.holdout * BUCKETS) >= BUCKETS:
        yield "a holdout that leaves a millionth of all units or more", f"{d.holdout:.10g}", "lower it"
    if d.variants[0].weight == 0.0:
        yield "units for the first variant, with which the others are compared", "weight 0", "give it a weight"
    if d.layer is None and d.layer_share < 1.0:
        yield "a `layer` where there is a `layer_share`", "none", "name the layer, or lower `traffic` instead"
    for key, values in d.context.items():
        if not values:
            yield (
                f"values that `context` may have for {key}",
                "none, which no event has",
                "name some, or remove the key",
            )
    yield from _unknown("`forced` variants", d.forced.values(), names, "variants")


def _of_the_method(d: Definition) -> Iterator[Fault]:
    if d.learning == "isolated" and d.unit != "user":
        yield "users as units where arms learn apart", f"unit {d.unit!r}", "set `unit: user` or `learning: shared`"
    if d.learning == "isolated" and d.start is not None:
        yield "arms that learn apart from the beginning", "a start", "begin it when it is to start"
    if d.method == "interleave":
        if len(d.variants) != 2 or d.learning != "shared" or any(v.explore for v in d.variants):
            names = ", ".join(v.name for v in d.variants)
            yield (
                "two variants that learn together and do not explore, to be interleaved",
                names,
                "correct the variants",
            )
        if d.guardrails or d.forced:
            yield "neither guardrails nor forced units where variants share every list", "some", "remove them"
        if d.metric != "ctr":
            yield "clicks as what is judged where variants share every list", d.metric, "leave `metric` out"
    if d.method == "bandit":
        if d.unit != "session" or d.learning != "shared":
            yield (
                "sessions as units for a bandit, and shared learning: users that are moved would leave the count",
                f"unit {d.unit!r}, learning {d.learning!r}", "set `unit: session` and `learning: shared`",
            )  # fmt: skip
        if sum(v.weight > 0.0 for v in d.variants) < 2:
            yield "a bandit with two variants or more that have a weight", "one", "give another one a weight"
        if d.metric == "revenue":
            yield "a metric of successes and failures for a bandit", d.metric, "choose ctr, conversion or hr@20"


def _of_what_counts(d: Definition) -> Iterator[Fault]:
    guarded = [g.metric for g in d.guardrails]
    if len(set(guarded)) < len(guarded):
        yield "one guardrail a metric", ", ".join(guarded), "remove one"
    needed = {"ctr": d.clicks, "conversion": d.conversions, "revenue": d.conversions, "hr@20": d.clicks + d.conversions}
    fields = {"ctr": "`clicks`", "hr@20": "`clicks` or `conversions`"}
    for metric in (d.metric, *guarded):
        if not needed[metric]:
            yield (
                f"event types in {fields.get(metric, '`conversions`')}, of which {metric} is made",
                "none",
                "name some",
            )
    for field, kinds, never in (
        ("clicks", d.clicks, ("impression", "return", "")),
        ("conversions", d.conversions, ("impression", "")),
    ):
        for kind in kinds:
            if kind in never:
                yield f"event types in `{field}` that can count as such", repr(kind), "remove it"


def _of_variants(d: Definition, lists: Collection[str], versions: Collection[str]) -> Iterator[Fault]:
    for v in d.variants:
        yield from _unknown(f"sources of {v.name}", v.sources or (), lists, "the lists that there are")
        yield from _unknown(f"blend of {v.name}", v.blend.add if v.blend else (), lists, "the lists that there are")
        models = [] if v.model is None else [v.model]
        yield from _unknown(
            f"model of {v.name}", models, {NO_MODEL, *versions}, "`none`, or a version that was announced"
        )
        if v.sources is not None and not v.sources:
            yield f"at least one source for {v.name}", "none", "name some, or leave `sources` out"
        if v.model == NO_MODEL and v.sources == (DEEP,):
            yield (
                f"a source for {v.name} that can name items",
                f"{DEEP} alone, and `model: {NO_MODEL}`",
                "name another source, or leave `model` out",
            )


def _unknown(where: str, named: Collection[str], known: Collection[str], what: str) -> Iterator[Fault]:
    unknown = sorted(set(named) - set(known))
    if unknown:
        yield f"{what} ({', '.join(sorted(known))})", f"{', '.join(unknown) or repr('')} in the {where}", "correct it"
