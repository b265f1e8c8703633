"""Experiments: what is compared, on whom, and what is judged (topic ``experiments``, compacted, key = experiment)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from .models import Announcement

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*\Z")]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=366 * 86_400)]
Items = Annotated[tuple[str, ...], msgspec.Meta(max_length=1_000)]
Metric = Literal["ctr", "conversion", "revenue", "hr@20"]

MAX_VARIANTS = 20

INTERLEAVED = "interleaved"
"""The variant of a list that two variants share."""


def as_text(value: Any) -> str | None:
    """A value of an event's context as definitions name it: text, true and false as JSON writes them, numbers without a needless
    point. None where it is nothing of these, or is not there.

    >>> [as_text(v) for v in ("tv", True, 3, 3.0, 2.5, None, ["tv"])]
    ['tv', 'true', '3', '3', '2.5', None, None]
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None


class BlendChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``learned`` false: the weights that everybody starts with instead of what was learned. ``add``: to the weight of a
    list's rank, by list (`knn`, `following` …); 0.4 is about what a good list starts with."""

    learned: bool = True
    add: dict[str, Annotated[float, msgspec.Meta(ge=-100, le=100)]] = msgspec.field(default_factory=dict)


class FilterChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``consumed`` instead of that of the settings; ``deny_items`` besides those of the settings."""

    consumed: Literal["auto", "all", "none"] | None = None
    deny_items: Items = ()


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to recommend; what it does not name is as for everybody.

    ``model``: a version of the deep model, or ``none``. ``sources``: the only lists that name candidates. ``explore``:
    probability that the first place goes to an item of the list drawn at random.
    """

    name: Name
    weight: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 1.0
    model: str | None = None
    sources: tuple[str, ...] | None = None
    blend: BlendChange | None = None
    filters: FilterChange | None = None
    explore: Share = 0.0

    @property
    def changes(self) -> frozenset[str]:
        """Names of the fields by which it differs from what everybody gets."""
        plain = Variant(name=self.name, weight=self.weight)
        return frozenset(f for f in self.__struct_fields__ if getattr(self, f) != getattr(plain, f))


class Guardrail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric that no variant may harm: relative to the first variant's, it may fall by ``margin`` at most."""

    metric: Metric
    margin: Share = 0.05


class Definition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An experiment as somebody writes it down. The first variant is the one that the others are compared with.

    ``salt`` is the name unless given. ``traffic``: share of all units that take part. ``context``: the event that is answered must
    have one of these values for each key, see `as_text`. Experiments of one ``layer`` share no unit; those of no
    layer or of different ones are independent. ``layer_share``: of the layer's units that this experiment may have. ``holdout``: share of
    all units that are in no experiment that holds out as many. ``start`` and ``end``: event time in ms, from the one on and before
    the other.
    ``method``: each unit has one variant; or every list is drafted from both variants; or as the first, with shares that follow
    what is learned. ``exposure``: a list counts when it
    was published, or when an impression with its ``request_id`` came. ``attribution_s``:
    how long after a list was made an event still counts for it. ``forced``: unit, or user whose sessions they all are, → variant,
    for testers; they count for nothing.
    """

    name: Name
    variants: Annotated[tuple[Variant, ...], msgspec.Meta(min_length=2, max_length=MAX_VARIANTS)]
    unit: Literal["user", "session"] = "user"
    salt: Annotated[str, msgspec.Meta(max_length=200)] = ""
    traffic: Share = 1.0
    context: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    layer: Name | None = None
    layer_share: Share = 1.0
    holdout: Share = 0.0
    start: int | None = None
    end: int | None = None
    method: Literal["ab", "interleave", "bandit"] = "ab"
    learning: Literal["shared", "isolated"] = "shared"
    exposure: Literal["published", "impression"] = "published"
    attribution_s: Seconds = 86_400
    clicks: tuple[str, ...] = ("click", "view")
    conversions: tuple[str, ...] = ("purchase",)
    metric: Metric = "ctr"
    guardrails: Annotated[tuple[Guardrail, ...], msgspec.Meta(max_length=10)] = ()
    alpha: Annotated[float, msgspec.Meta(ge=1e-9, lt=0.5)] = 0.05
    forced: Annotated[dict[str, str], msgspec.Meta(max_length=1_000)] = msgspec.field(default_factory=dict)
    on_harm: Literal["stop", "warn"] = "stop"

    @property
    def the_salt(self) -> str:
        """That of the split."""
        return self.salt or self.name


class Ramp(msgspec.Struct, frozen=True, kw_only=True):
    """From ``since`` (ms, when it was decided) on: who owns which buckets, as owner and end; see `online_models.experiments.split`.
    ``number`` counts an experiment's ramps from 0."""

    number: int
    since: int
    ranges: tuple[tuple[str | None, int], ...]


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment as it stands. ``slot``: its buckets of the layer, from the one on and before the other. ``ramps``: the latest one
    counts. ``models``: where the versions that variants name are to be had. ``reason``: why it was stopped."""

    definition: Definition
    state: Literal["running", "stopped"]
    ramps: Annotated[tuple[Ramp, ...], msgspec.Meta(min_length=1)]
    slot: tuple[int, int] | None = None
    models: dict[str, Announcement] = msgspec.field(default_factory=dict)
    created: int
    changed: int
    by: str = "operator"
    reason: str = ""
    v: int = 1

    @property
    def ranges(self) -> tuple[tuple[str | None, int], ...]:
        """Who owns which buckets now."""
        return self.ramps[-1].ranges
