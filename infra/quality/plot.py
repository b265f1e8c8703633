"""Results as one SVG: means by period, what each part is worth, what a delay costs. Whiskers are the intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from infra.web.chart import ticks
from infra.web.style import COLOURS

WIDTH, ROW, LEFT, RIGHT, TOP = 880, 22, 330, 40, 34
_STYLE = "text{font:13px system-ui,sans-serif;fill:#1d2129}.soft{fill:#5b6472}.grid{stroke:#e4e7ec}.bar{stroke-width:2}"


@dataclass(frozen=True)
class Mark:
    """A row of a panel: its name, a value, between which bounds, and the number of its colour."""

    name: str
    value: float
    low: float
    high: float
    colour: int = 0


@dataclass(frozen=True)
class Panel:
    """A title and rows over one scale."""

    title: str
    marks: Sequence[Mark]


def panels(results: Sequence[dict[str, Any]], metric: str = "ndcg@20") -> list[Panel]:
    """What is drawn of the results."""
    found = [
        Panel(
            f"{metric.upper()}, everything on",
            [
                _mark(f"{r['set']}, {track}", t["metrics"][metric], n)
                for r in results
                for n, (track, t) in enumerate(r["tracks"].items())
            ],
        )
    ]
    for r in results:
        for n, (track, t) in enumerate(r["tracks"].items()):
            if t["periods"]:
                marks = [
                    Mark(f"period {p}", v["recall@20"], v["recall@20"], v["recall@20"], n)
                    for p, v in t["periods"].items()
                ]
                found.append(Panel(f"{r['set']}, {track}: Recall@20 by period", marks))
            if "ablation" in r:
                marks = [_mark(a["name"], a["difference"][track][metric], n) for a in r["ablation"]]
                found.append(Panel(f"{r['set']}, {track}: difference in {metric.upper()} without a part", marks))
        if "lag" in r:
            marks = [
                _mark(f"{lag['lag']}, {part}", lag[part]["metrics"][metric], n)
                for n, part in enumerate(("models late", "everything late"))
                for lag in r["lag"]
            ]
            found.append(Panel(f"{r['set']}: {metric.upper()} by how late events are learned", marks))
    return found


def _mark(name: str, found: dict[str, float], colour: int) -> Mark:
    return Mark(name, found["mean"], found["low"], found["high"], colour)


def svg(drawn: Sequence[Panel]) -> str:
    """The panels below each other."""
    body, y = [], 0
    for panel in drawn:
        body.append(f"<g transform='translate(0,{y})'>{_panel(panel)}</g>")
        y += TOP + ROW * len(panel.marks) + 44
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {y}' width='{WIDTH}' height='{y}'><style>{_STYLE}</style>"
        f"<rect width='{WIDTH}' height='{y}' fill='#fff'/>{''.join(body)}</svg>\n"
    )


def _panel(panel: Panel) -> str:
    low = min(0.0, *(m.low for m in panel.marks))
    high = max(0.0, *(m.high for m in panel.marks))
    high = high if high > low else low + 1.0
    bottom = TOP + ROW * len(panel.marks)

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    out = [f"<text x='8' y='18' font-weight='600'>{escape(panel.title)}</text>"]
    for tick in ticks(low, high, 6):
        out.append(f"<line class='grid' x1='{x(tick):.1f}' x2='{x(tick):.1f}' y1='{TOP - 6}' y2='{bottom}'/>")
        out.append(f"<text class='soft' x='{x(tick):.1f}' y='{bottom + 16}' text-anchor='middle'>{tick:g}</text>")
    for n, m in enumerate(panel.marks):
        y, colour = TOP + ROW * n + ROW / 2, COLOURS[m.colour % len(COLOURS)][0]
        out.append(f"<text x='{LEFT - 12}' y='{y + 4:.1f}' text-anchor='end'>{escape(m.name)}</text>")
        out.append(f"<line class='bar' stroke='{colour}' x1='{x(m.low):.1f}' x2='{x(m.high):.1f}' y1='{y}' y2='{y}'/>")
        out.append(
            f"<circle cx='{x(m.value):.1f}' cy='{y}' r='4' fill='{colour}'><title>{m.value:.4f}</title></circle>"
        )
    return "".join(out)
