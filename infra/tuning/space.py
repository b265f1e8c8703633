"""What is searched: the settings of sources and blend that may be moved, each over a few ordered values.

Those that decide how much is kept, what a session is, or what may be listed are not here: they are not a matter of quality alone.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from streams.config import PipelineConfig

Point = tuple[int, ...]
"""A place in the space: of each knob, which of its values."""


@dataclass(frozen=True)
class Knob:
    """One setting, by its path below ``[pipeline]``, and the values that it may have, in order. Those of a lower ``tier`` are turned
    first."""

    path: str
    values: tuple[Any, ...]
    tier: int = 1


_HALF_LIVES = (1_000.0, 2_000.0, 5_000.0, 20_000.0, 50_000.0, 200_000.0, 1_000_000.0)

KNOBS = (
    Knob(
        "sources.popularity",
        (
            (5, 25, 125, 1_000, 10_000), (5, 50, 500, 5_000, 100_000), (10, 100, 1_000, 20_000, 1_000_000),
            (30, 300, 3_000, 50_000, 1_000_000),
        ),
    ),
    Knob("sources.entry", (250.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 20_000.0), 2),
    Knob("sources.candidates", (30, 50, 70), 2),
    Knob("sources.following.half_life", _HALF_LIVES, 0),
    Knob("sources.following.damp", (0.1, 0.3, 1.0, 3.0, 10.0)),
    Knob("sources.following.max_age_s", (300, 900, 1_800, 7_200, 86_400, 604_800)),
    Knob("sources.near.window", (2, 3, 5, 8)),
    Knob("sources.near.last", (1, 2, 3, 5), 0),
    Knob("sources.near.half_life", _HALF_LIVES, 0),
    Knob("sources.near.damp", (0.1, 0.3, 1.0, 3.0, 10.0), 2),
    Knob("sources.near.max_age_s", (300, 900, 1_800, 7_200, 86_400, 604_800)),
    Knob("sources.far.half_life", (20_000.0, 50_000.0, 200_000.0, 1_000_000.0)),
    Knob("sources.far.fade", (0.8, 0.9, 0.95, 0.98)),
    Knob("sources.far.damp", (0.3, 1.0, 3.0, 10.0), 2),
    Knob("sources.knn.unit", ("user", "session"), 0),
    Knob("sources.knn.last", (5, 10, 20, 40)),
    Knob("sources.knn.m", (128, 256, 512, 1_024)),
    Knob("sources.knn.k", (50, 100, 200, 400), 0),
    Knob("sources.knn.fade", (0.6, 0.7, 0.8, 0.9)),
    Knob("sources.knn.half_life", _HALF_LIVES, 0),
    Knob("sources.knn.inner", (0.7, 0.8, 0.9, 0.97), 2),
    Knob("sources.factors.lr", (0.1, 0.2, 0.3, 0.5, 0.8), 0),
    Knob("sources.factors.user_lr", (0.03, 0.1, 0.3)),
    Knob("sources.factors.reg", (0.001, 0.003, 0.01, 0.03)),
    Knob("sources.factors.last", (3, 5, 10)),
    Knob("sources.factors.fade", (0.4, 0.6, 0.8)),
    Knob("sources.factors.negatives", (4, 8, 16), 2),
    Knob("sources.factors.window", (3_000, 10_000, 30_000), 2),
    Knob("blend.lr", (0.01, 0.02, 0.03, 0.045, 0.07, 0.1), 0),
    Knob("blend.eps", (0.01, 0.03, 0.1, 0.3, 1.0), 0),
    Knob("blend.units_lr", (0.01, 0.02, 0.03, 0.05, 0.08)),
)  # fmt: skip

OF_CATALOGUE = (Knob("sources.category", (2_000.0, 5_000.0, 20_000.0, 100_000.0), 2),)
"""Knobs that turn nothing where there is no catalogue."""


class Space:
    """The knobs round a configuration, whose own values are among theirs; it stands at ``start``.

    >>> space = Space(PipelineConfig(), (Knob("blend.lr", (0.01, 0.05)),))
    >>> space.knobs[0].values, space.start, space.changes((2,))
    ((0.01, 0.03, 0.05), (1,), {'blend.lr': 0.05})
    """

    def __init__(self, base: PipelineConfig, knobs: tuple[Knob, ...] = KNOBS) -> None:
        self.base = base
        self._plain: dict[str, Any] = msgspec.to_builtins(base)
        held = [_value(self._plain, knob.path) for knob in knobs]
        self.knobs = tuple(
            Knob(knob.path, _with(knob.values, value), knob.tier) for knob, value in zip(knobs, held, strict=True)
        )
        self.start: Point = tuple(knob.values.index(value) for knob, value in zip(self.knobs, held, strict=True))

    def moved(self, point: Point, steps: Mapping[int, int]) -> Point | None:
        """``point`` with some knobs (by number) turned by so many values; None where one has no such value."""
        out = list(point)
        for knob, step in steps.items():
            out[knob] += step
            if not 0 <= out[knob] < len(self.knobs[knob].values):
                return None
        return tuple(out)

    def changes(self, point: Point) -> dict[str, Any]:
        """What is different from the start: path → value."""
        return {
            knob.path: knob.values[at]
            for knob, at, start in zip(self.knobs, point, self.start, strict=True)
            if at != start
        }

    def config(self, point: Point) -> PipelineConfig:
        """The configuration at a point."""
        return applied(self.base, self.changes(point))


def applied(base: PipelineConfig, changes: Mapping[str, Any]) -> PipelineConfig:
    """``base`` with some settings changed, by path. Raises msgspec.ValidationError on a value that is none."""
    plain: dict[str, Any] = msgspec.to_builtins(base)
    for path, value in changes.items():
        *tables, key = path.split(".")
        table = plain
        for name in tables:
            table = table[name]
        if key not in table:
            raise KeyError(path)
        table[key] = value
    return msgspec.convert(plain, PipelineConfig)


def _value(plain: Mapping[str, Any], path: str) -> Any:
    found: Any = plain
    for key in path.split("."):
        found = found[key]
    return tuple(found) if isinstance(found, list) else found


def _with(values: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if value in values:
        return values
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        at = bisect.bisect(values, value)
        return (*values[:at], value, *values[at:])
    return (value, *values)
