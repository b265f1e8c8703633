"""Prequential curves as inline SVG: round ticks, named axes, and the lists that matter drawn thick."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

from infra.figures import by_list
from online_models.metrics import NAMES
from streams.replay import WARM_UP

STRETCHES = 40
"""Points of a line, more or less: more would be noise on a page."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 14, 30, 44


@dataclass(frozen=True)
class Point:
    """Running sums of the metrics by list, after so many events and so many moments judged."""

    event: int
    scored: int
    sums: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Size:
    """Width and height in CSS pixels, and about how many ticks fit across."""

    width: int
    height: int
    across: int


@dataclass(frozen=True)
class Line:
    """How a list is drawn: its key in the curve, its shown name, the CSS class of its colour, thick or thin."""

    key: str
    name: str
    style: str
    thick: bool


SIZES = {"wide": Size(880, 330, 8), "narrow": Size(360, 270, 4)}
"""A chart is drawn for wide and for narrow screens, so that its letters are as large as the page's on both."""


def ticks(low: float, high: float, about: int) -> list[float]:
    """About so many round numbers from ``low`` to ``high``: multiples of 1, 2 or 5 times a power of ten.

    >>> ticks(0, 0.87, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8]
    >>> ticks(4_548, 19_839, 4)
    [5000.0, 10000.0, 15000.0]
    """
    rough = max(high - low, 1e-9) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((s * power for s in (1, 2, 5, 10)), key=lambda s: abs(math.log(s / rough)))
    return [round(n * step, 10) for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def points(report: dict[str, Any]) -> list[Point]:
    """The points between which curves are drawn, from the first moment judged to the last, all about equally far apart.

    The report's curve has neither end; what is left at the end is a stretch of its own from half a stretch on.
    """
    curve = report["curve"]
    step = max(round(len(curve) / STRETCHES), 1)
    figures = by_list(report)
    inner = [Point(p["event"], p["scored"], p) for p in curve[step - 1 :: step]]
    start = Point(round(WARM_UP * report["events"]), 0, {name: [0.0] * len(NAMES) for name in figures})
    scored = report["scored"]
    end = Point(report["events"], scored, {n: [m[k] * scored for k in NAMES] for n, m in figures.items()})
    if inner and 2 * (scored - inner[-1].scored) < inner[0].scored:
        inner.pop()
    return [start, *inner, end]


def means(stretches: Sequence[Point], key: str, metric: str) -> list[float]:
    """The mean of a metric over the moments of each stretch between two points."""
    i = NAMES.index(metric)
    return [(b.sums[key][i] - a.sums[key][i]) / max(b.scored - a.scored, 1) for a, b in pairwise(stretches)]


def chart(stretches: Sequence[Point], lines: Sequence[Line], metric: str, title: str, unit: str) -> str:
    """One metric of several lists over the log, once for each of `SIZES`. The first line is drawn last, on top."""
    values = {line.key: means(stretches, line.key, metric) for line in lines}
    return "".join(_svg(stretches, lines, values, title, unit, name) for name in SIZES)


def _svg(
    stretches: Sequence[Point], lines: Sequence[Line], values: dict[str, list[float]], title: str, unit: str, name: str
) -> str:
    size = SIZES[name]
    first, last = stretches[0].event, stretches[-1].event
    rows = ticks(0.0, max(max(each) for each in values.values()) or 1.0, 5)
    top = max(rows[-1], *(max(each) for each in values.values()))
    right, bottom = size.width - _RIGHT, size.height - _BOTTOM

    def x(event: float) -> float:
        return _LEFT + (event - first) / max(last - first, 1) * (right - _LEFT)

    def y(value: float) -> float:
        return bottom - value / top * (bottom - _TOP)

    out = [
        f"<svg class='{name}' viewBox='0 0 {size.width} {size.height}' role='img' aria-label='{escape(title)} over the log'>"
        f"<text x='0' y='14'><tspan class='strong'>{escape(title)}</tspan> {escape(unit)}</text>"
    ]
    digits = max(len(f"{row:g}".partition(".")[2]) for row in rows)
    for row in rows:
        out.append(f"<line class='grid' x1='{_LEFT}' x2='{right}' y1='{y(row):.1f}' y2='{y(row):.1f}'/>")
        out.append(f"<text x='{_LEFT - 7}' y='{y(row) + 4:.1f}' text-anchor='end'>{row:.{digits}f}</text>")
    for event in ticks(first, last, size.across):
        anchor = "end" if x(event) > right - 20 else "middle"
        out.append(f"<line class='tick' x1='{x(event):.1f}' x2='{x(event):.1f}' y1='{bottom}' y2='{bottom + 5}'/>")
        out.append(f"<text x='{x(event):.1f}' y='{bottom + 19}' text-anchor='{anchor}'>{event:,.0f}</text>")
    out.append(f"<text x='{(_LEFT + right) / 2:.0f}' y='{size.height - 6}' text-anchor='middle'>events played</text>")
    for line in reversed(lines):
        path = " ".join(f"{x(p.event):.1f},{y(v):.1f}" for p, v in zip(stretches[1:], values[line.key], strict=True))
        weight = "thick" if line.thick else "thin"
        out.append(
            f"<polyline class='{line.style} {weight}' points='{path}'><title>{escape(line.name)}</title></polyline>"
        )
    return "".join(out) + "</svg>"
