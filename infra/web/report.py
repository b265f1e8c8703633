"""The replay report as one self-contained HTML page: figures, tables and the prequential curves by source."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import Any

_COLOURS = (
    "#0b6e99",
    "#444444",
    "#d9730d",
    "#0f7b6c",
    "#ad1a72",
    "#6940a5",
    "#dfab01",
    "#e03e3e",
    "#64473a",
    "#448361",
)
_WIDTH, _HEIGHT, _PAD = 860, 300, 44
_METRICS = ("hr@20", "recall@20", "mrr@20", "ndcg@20", "coverage@20")

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 920px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; }
h2 { font-size: 1.1rem; margin-top: 2rem; } p.sub { color: #666; margin-top: .2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #eee; }
th:first-child, td:first-child { text-align: left; } tr.main td { font-weight: 600; }
svg { width: 100%; height: auto; }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; }
.tile { border: 1px solid #e5e5e5; border-radius: 6px; padding: .5rem .9rem; }
.tile b { display: block; font-size: 1.25rem; } .tile span { color: #666; font-size: .85rem; } .key { font-size: .85rem; }
.key i { display: inline-block; width: .9rem; height: .25rem; margin: 0 .3rem .2rem .9rem; }
"""


def page(report: dict[str, Any]) -> str:
    """The report (see `streams.replay`) as HTML."""
    ms = report["latency_ms"]
    tiles = [
        (f"{report['metrics']['hr@20']:.4f}", "HR@20, fresh list"),
        (f"{report['metrics']['mrr@20']:.4f}", "MRR@20"),
        (f"{report['metrics']['ndcg@20']:.4f}", "NDCG@20"),
        (f"{report['events_per_s']:,.0f}", "events a second"),
        (f"{ms['p50']:.2f} / {ms['p99']:.2f}", "ms an event, p50 / p99"),
        (f"{report['peak_rss_mb']:,.0f} MB", "peak memory"),
    ]
    body = [
        f"<h1>{escape(report['log'])}</h1>",
        f"<p class=sub>{report['events']:,} events, {report['scored']:,} moments judged, {report['users']:,} users, "
        f"{report['items']:,} items; in {report['unseen_target_share']:.1%} of the moments every target was a new item.</p>",
        "<div class=tiles>",
        *(f"<div class=tile><b>{value}</b><span>{label}</span></div>" for value, label in tiles),
        "</div>",
        "<h2>Quality over the log</h2>",
        "<p class=sub>Mean HR@20 in each stretch of the log: predicted first, learned after.</p>",
        _chart(report["curve"]),
        "<h2>Quality by list</h2>",
        _metrics({"fresh (blend)": report["metrics"], "served": report["served"], **report["by_source"]}),
        "<h2>What the blend goes by</h2>",
        "<p class=sub>Largest weights of the context that is always active.</p>",
        _pairs(
            dict(sorted(report["blend"]["weights"].items(), key=lambda w: -abs(w[1]))[:25]),
            "feature",
            "weight",
            "{:+.3f}",
        ),
        "<h2>Memory</h2>",
        _pairs(
            {f"after {k} % of the log": v for k, v in report["rss_mb_at_percent"].items()}, "resident", "MB", "{:,.1f}"
        ),
        _pairs({k: v / 1e6 for k, v in report["model_bytes"].items()}, "part", "MB", "{:,.2f}"),
    ]
    if report["rejected"]:
        body += ["<h2>Refused records</h2>", _pairs(report["rejected"], "reason", "records", "{:,}")]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(report['log'])} – Headrace replay</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style><body>{''.join(body)}</body></html>\n"
    )


def _metrics(rows: dict[str, dict[str, float]]) -> str:
    head = "".join(f"<th>{m}</th>" for m in _METRICS)
    lines = [
        f"<tr{' class=main' if n < 2 else ''}><td>{escape(name)}</td>"
        + "".join(f"<td>{m[k]:.4f}</td>" for k in _METRICS)
        + "</tr>"
        for n, (name, m) in enumerate(rows.items())
    ]
    return f"<table><tr><th>list</th>{head}</tr>{''.join(lines)}</table>"


def _pairs(rows: dict[str, Any], key: str, value: str, form: str) -> str:
    lines = "".join(f"<tr><td>{escape(str(k))}</td><td>{form.format(v)}</td></tr>" for k, v in rows.items())
    return f"<table><tr><th>{key}</th><th>{value}</th></tr>{lines}</table>"


def _chart(curve: list[dict[str, Any]]) -> str:
    """HR@20 of the lists in each stretch between two points of the curve, as an SVG with its key."""
    if len(curve) < 3:
        return "<p>The log is too short for a curve.</p>"
    names = [n for n in curve[0] if n not in ("event", "scored")]
    shown = names[:2] + sorted(names[2:], key=lambda n: -curve[-1][n][0])[: len(_COLOURS) - 2]
    step = max(len(curve) // 40, 1)
    points = curve[::step]
    top = 0.0
    lines: dict[str, list[float]] = {}
    for name in shown:
        lines[name] = [(b[name][0] - a[name][0]) / max(b["scored"] - a["scored"], 1) for a, b in pairwise(points)]
        top = max(top, *lines[name])
    top = max(top, 1e-6) * 1.05
    first, last = points[1]["event"], points[-1]["event"]
    across = (_WIDTH - 2 * _PAD) / max(last - first, 1)
    out = [f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role=img aria-label='HR@20 over the log by list'>"]
    for i in range(5):
        y = _HEIGHT - _PAD - i / 4 * (_HEIGHT - 2 * _PAD)
        out.append(f"<line x1={_PAD} x2={_WIDTH - _PAD} y1={y:.1f} y2={y:.1f} stroke=#eee />")
        out.append(f"<text x={_PAD - 6} y={y + 4:.1f} font-size=11 text-anchor=end fill=#666>{top * i / 4:.3f}</text>")
    for i in range(5):
        event = first + (last - first) * i / 4
        x = _PAD + (event - first) * across
        out.append(
            f"<text x={x:.1f} y={_HEIGHT - _PAD + 18} font-size=11 text-anchor=middle fill=#666>{event:,.0f}</text>"
        )
    for name, colour in zip(shown, _COLOURS, strict=False):
        path = " ".join(
            f"{_PAD + (p['event'] - first) * across:.1f},{_HEIGHT - _PAD - v / top * (_HEIGHT - 2 * _PAD):.1f}"
            for p, v in zip(points[1:], lines[name], strict=True)
        )
        width = 2.5 if name == shown[0] else 1.2
        out.append(f"<polyline points='{path}' fill=none stroke='{colour}' stroke-width={width} />")
    out.append(f"<text x={_WIDTH / 2} y={_HEIGHT - 6} font-size=11 text-anchor=middle fill=#666>event</text></svg>")
    key = "".join(f"<i style='background:{c}'></i>{escape(n)}" for n, c in zip(shown, _COLOURS, strict=False))
    return "".join(out) + f"<div class=key>{key}</div>"
