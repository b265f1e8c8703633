"""An experiment's read-out as one self-contained HTML page: the verdict, effects, and the interval over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from html import escape

from infra.web.chart import SIZES, Size, ticks
from infra.web.style import STYLE
from online_models.experiments.effects import NoResult
from streams.readout.result import Compared, Point, Preferred, Result
from streams.readout.verdict import between, p_words

_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 14, 30, 44
_STYLE = """
.band { fill: var(--c); opacity: .16; stroke: none; } .zero { stroke: var(--ink); }
td.words { text-align: left; color: var(--soft); white-space: normal; }
.checks th, .checks td { text-align: left; white-space: normal; vertical-align: top; }
.note.open { border-color: var(--rule); } .note.good { border-color: var(--c2); }
.whisker { stroke: var(--c); stroke-width: 1.6; } circle { fill: var(--c); }
@media (max-width: 600px) { .effects th, .effects td { white-space: normal; vertical-align: top; } }
"""
_CORRECTIONS = {"holm": "Holm", "bh": "Benjamini and Hochberg"}
_TONE = {"no result yet": " open", "better": " good"}


def page(result: Result) -> str:
    """The result as HTML."""
    title = escape(result.experiment)
    units = ", ".join(f"{escape(v)} {n:,}" for v, n in result.units.items())
    until = f" until {_when(result.until_ms)} UTC" if result.events else ""
    body = [
        f"<header><h1>{title}</h1><p class='sub'>{escape(result.state)}; units first exposed: {units}; {result.lists:,} lists, "
        f"{result.events:,} events{until}.</p></header>"
        f"<p class='note{_TONE.get(result.decision, '')}'><b>{escape(result.verdict)}</b></p>{_anew(result)}",
        *(
            (_preference(result.preference, _lost(result)),)
            if result.preference
            else (_effects(result), _timeline(result), _checks(result))
        ),
    ]
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title} – Headrace experiment</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<style>{STYLE}{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _anew(result: Result) -> str:
    """Which units are compared, where it is not all, and at which level."""
    since = (
        f"Compared are units first exposed since ramp {result.since}: before, proportions were others, or are not known any more. Above "
        "stand all units. "
    )
    changed = (
        f"Proportions were changed {'once' if result.changes == 1 else f'{result.changes} times'}: what was found since then is judged at "
        f"{result.alpha:.2g}, so that all the stretches together are wrong hardly more often than one."
    )
    said = (since if result.since else "") + (changed if result.changes else "")
    return f"<p class='sub'>{said}</p>" if said else ""


def _effects(result: Result) -> str:
    rows = []
    for m in sorted(result.metrics, key=lambda m: m.metric != result.primary):
        for c in m.variants:
            name = f"<b>{escape(m.metric)}</b>" if m.metric == result.primary else escape(m.metric)
            values = (_number(c.control), _number(c.value))
            rows.append(f"<td>{name}, {escape(c.variant)}</td>{''.join(f'<td>{v}</td>' for v in values)}{_cells(c)}")
    heads = (
        f"<th>Metric, variant</th><th>Value of {escape(result.control)}</th><th>Value of variant</th><th>Relative effect</th>"
        "<th>Interval, always valid</th><th>Interval, fixed horizon</th><th>p, always valid</th>"
    )
    said = (
        f"Relative to {escape(result.control)}; the primary metric first. The always-valid interval holds at every look with "
        f"probability {100 * (1 - result.alpha):.4g}%, the fixed one only at a single look planned beforehand; p is adjusted for the "
        f"number of variants ({_CORRECTIONS[result.correction]})."
    )
    words = "; ".join(f"<b>{escape(m.metric)}</b>: {escape(m.words)}" for m in result.metrics)
    return (
        f"<section><h2>Effects</h2><p class='sub'>{said}</p>{_table('effects', heads, rows)}"
        f"<p class='sub small'>{words}.{_lost(result)}</p></section>"
    )


def _lost(result: Result) -> str:
    """What does not count, as sentences after others; of units of several variants also that there are none."""
    mixed = f" Units of several variants, left out: {result.mixed:,}."
    lost = (
        " Lists that are not counted, since they, or what came of them, came too late, or for too many strangers, or they name no variant "
        f"of it: {result.lost:,}."
    )
    late = f" Clicks and conversions longer after a list than the attribution window, which count for none: {result.unattributed:,}."
    shared = result.preference is not None and not result.mixed
    return ("" if shared else mixed) + (lost if result.lost else "") + (late if result.unattributed else "")


def _cells(c: Compared) -> str:
    if isinstance(c.effect, NoResult) or c.always is None or c.fixed is None or c.adjusted_p is None:
        why = f": {escape(c.effect.message)}" if isinstance(c.effect, NoResult) else ""
        return f"<td class='words' colspan='4'>no result yet{why}</td>"
    p = escape(p_words(c.adjusted_p).removeprefix("= ").replace(" ", ""))
    return f"<td>{c.effect.estimate:+.1%}</td><td>{between(c.always)}</td><td>{between(c.fixed)}</td><td>{p}</td>"


def _preference(p: Preferred, left_out: str) -> str:
    if isinstance(p.effect, NoResult) or p.always is None:
        found = f"no result yet{f': {escape(p.effect.message)}' if isinstance(p.effect, NoResult) else ''}"
    else:
        found = f"{p.effect.estimate:+.1%}, always valid {between(p.always)}"
    said = (
        "Every list has items of both variants. Of the lists with a click, how many more were clicked more for "
        f"{escape(p.variant)} than for {escape(p.control)}."
    )
    heads = "<th>Lists with a click</th><th>Units</th><th>Found</th>"
    row = f"<td>{p.lists:,}</td><td>{p.units:,}</td><td>{found}</td>"
    return f"<section><h2>Preference</h2><p class='sub'>{said}{left_out}</p>{_table('checks', heads, [row])}</section>"


def _timeline(result: Result) -> str:
    drawn = [p for p in result.timeline if p.estimate is not None]
    if not drawn:
        return "<section><h2>Over time</h2><p class='sub'>No result yet, so there is no interval to draw.</p></section>"
    variants = sorted({p.variant for p in drawn})
    key = "".join(f"<li><i class='c{n} thick'></i>{escape(v)}</li>" for n, v in enumerate(variants))
    charts = "".join(_svg(drawn, variants, result.primary, name, size) for name, size in SIZES.items())
    said = (
        "Effect and always-valid interval of the primary metric, over all units that were first exposed up to a time (UTC), with all that "
        "they have done since. "
    ) + (
        "Where the band leaves out zero, there is an effect, however often one has looked."
        if len(variants) == 1
        else "Each band is of its variant alone, not adjusted for the number of variants: it may leave out zero without an effect. Go by p."
    )
    return f"<section><h2>Over time</h2><p class='sub'>{said}</p><ul class='key'>{key}</ul><figure>{charts}</figure></section>"


def _svg(points: Sequence[Point], variants: Sequence[str], metric: str, name: str, size: Size) -> str:
    first, last = min(p.until_ms for p in points), max(p.until_ms for p in points)
    low, high = min(p.low or 0.0 for p in points), max(p.high or 0.0 for p in points)
    low, high = min(low, 0.0), max(high, 0.0, low + 0.01)
    right, bottom = size.width - _RIGHT, size.height - _BOTTOM

    def x(ms: float) -> float:
        return _LEFT + ((ms - first) / (last - first) if last > first else 0.5) * (right - _LEFT)

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - _TOP)

    out = [
        f"<svg class='{name}' viewBox='0 0 {size.width} {size.height}' role='img' aria-label='Effect on {escape(metric)} over time'>"
        f"<text x='0' y='14'><tspan class='strong'>{escape(metric)}</tspan> relative effect, % of the control's value</text>"
    ]
    for row in ticks(low, high, 5):
        style = "zero" if row == 0 else "grid"
        out.append(f"<line class='{style}' x1='{_LEFT}' x2='{right}' y1='{y(row):.1f}' y2='{y(row):.1f}'/>")
        out.append(f"<text x='{_LEFT - 7}' y='{y(row) + 4:.1f}' text-anchor='end'>{_percent(row)}</text>")
    # In the margin, where it hides no curve; on the side where there is room.
    beside = y(0.0) + (-10 if y(0.0) > (_TOP + bottom) / 2 else 18)
    out.append(f"<text x='{_LEFT - 7}' y='{beside:.1f}' text-anchor='end'>no effect</text>")
    steps = size.across // 3
    for ms in [first + (last - first) * n // steps for n in range(steps + 1)] if last > first else [first]:
        anchor = "start" if ms == first < last else "end" if ms == last > first else "middle"
        out.append(f"<line class='tick' x1='{x(ms):.1f}' x2='{x(ms):.1f}' y1='{bottom}' y2='{bottom + 5}'/>")
        out.append(f"<text x='{x(ms):.1f}' y='{bottom + 19}' text-anchor='{anchor}'>{_when(ms)}</text>")
    out.append(
        f"<text x='{(_LEFT + right) / 2:.0f}' y='{size.height - 6}' text-anchor='middle'>units first exposed until (UTC)</text>"
    )
    for n, variant in enumerate(variants):
        mine = [
            p
            for p in points
            if p.variant == variant and p.low is not None and p.high is not None and p.estimate is not None
        ]
        if len(mine) == 1:
            out.append(
                _whisker(n, x(mine[0].until_ms), *(y(v or 0.0) for v in (mine[0].estimate, mine[0].low, mine[0].high)))
            )
            continue
        upper = [f"{x(p.until_ms):.1f},{y(p.high or 0):.1f}" for p in mine]
        lower = [f"{x(p.until_ms):.1f},{y(p.low or 0):.1f}" for p in reversed(mine)]
        line = " ".join(f"{x(p.until_ms):.1f},{y(p.estimate or 0):.1f}" for p in mine)
        out.append(f"<polygon class='band c{n}' points='{' '.join(upper + lower)}'/>")
        out.append(f"<polyline class='c{n} thick' points='{line}'><title>{escape(variant)}</title></polyline>")
    return "".join(out) + "</svg>"


def _whisker(n: int, x: float, estimate: float, low: float, high: float) -> str:
    """One period is no line: a point with its interval. Variants stand beside each other."""
    x -= 8 * n
    ends = "".join(
        f"<line class='whisker c{n}' x1='{x - 5:.1f}' x2='{x + 5:.1f}' y1='{y:.1f}' y2='{y:.1f}'/>" for y in (low, high)
    )
    bar = f"<line class='whisker c{n}' x1='{x:.1f}' x2='{x:.1f}' y1='{low:.1f}' y2='{high:.1f}'/>"
    return f"{bar}{ends}<circle class='c{n}' cx='{x:.1f}' cy='{estimate:.1f}' r='4'/>"


def _checks(result: Result) -> str:
    rows = []
    for s in result.splits:
        units = ", ".join(f"{escape(v)} {n:,}" for v, n in s.units.items())
        if isinstance(s.always, NoResult):
            found = f"not judged: {escape(s.always.message)}"
        else:
            found = f"{'do not match' if s.always.alarm else 'match'} (p {escape(p_words(s.always.p_value))})"
        since = f"change {s.ramp} of shares" if s.ramp else "as begun"
        rows.append(f"<td>shares, ramp {s.ramp} ({since})</td><td>{units}</td><td>{found}</td>")
    for g in result.guardrails:
        bounds = "" if g.found.low == float("-inf") else f", {g.found.low:+.1%} to {g.found.high:+.1%}"
        found = f"{g.found.verdict.value} (margin {g.margin:.1%}{bounds})"
        rows.append(f"<td>guardrail {escape(g.metric)}</td><td>{escape(g.variant)}</td><td>{found}</td>")
    heads = "<th>Check</th><th>Units or variant</th><th>Found</th>"
    said = ""
    if result.guard_alpha is not None:
        said = (
            f"<p class='sub small'>Guardrails: each of {len(result.guardrails)} is judged at {result.guard_alpha:.2g}, so that in "
            f"{100 * (1 - result.alpha):.4g}% of experiments none is called breached that is not.</p>"
        )
    return f"<section><h2>Checks</h2>{_table('checks', heads, rows)}{said}</section>"


def _percent(value: float) -> str:
    """
    >>> _percent(-0.25), _percent(0.0), _percent(0.005)
    ('-25%', '0%', '+0.5%')
    """
    return f"{100 * value:+.3g}%" if value else "0%"


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _table(name: str, heads: str, rows: Sequence[str]) -> str:
    lines = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f"<div class='scroll'><table class='{name}'><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )
