"""The replay report as one self-contained HTML page: figures, tables and the prequential curves by source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from html import escape
from typing import Any

from infra.figures import FIGURES, LISTS, answering, by_list, silent
from infra.web.chart import Line, chart, points
from infra.web.style import COLOURS, STYLE
from streams.prequential import FRESH, SERVED
from streams.replay import WARM_UP

_DRAWN = len(COLOURS) - 2
_MEANING = {
    "hr@20": "share of moments with a hit",
    "ndcg@20": "mean over moments, 1 is a perfect order",
}
_FEATURES = 15
_DRIFTS = 20


def page(report: dict[str, Any], notes: Sequence[str] = ()) -> str:
    """The report (see `streams.replay`) as HTML; ``notes`` are what its reader has to be careful about."""
    title = escape(report["log"])
    figures = _ranked(report)
    lines = _lines(figures)
    body = [
        f"<header><h1>{title}</h1><p class='sub'>{_about(report)}</p></header>",
        *(f"<p class='note'>{escape(note)}</p>" for note in notes),
        _tiles(report),
        "<section><h2>Quality over the log</h2>",
        _curves(report, lines, len(answering(report))),
        "</section><section><h2>Quality of each list</h2>",
        _quality(figures, {line.key: line for line in lines}, silent(report)),
        "</section><section><h2>What the blend goes by</h2>",
        f"<p class='sub'>The {_FEATURES} largest of the weights that count in every context. The larger a feature, the "
        "further a positive weight moves its item up the list, and a negative one down.</p>",
        _weights(report["blend"]["weights"]),
        "</section>",
        _drifts(report["drifts"]),
        _memory(report),
    ]
    if report["rejected"]:
        first = report["rejected_first_line"]
        rows = [[escape(reason), f"{n:,}", f"{first[reason]:,}"] for reason, n in report["rejected"].items()]
        body.append(
            f"<section><h2>Refused records</h2>{_table(['Reason', 'Records', 'First in line'], rows)}</section>"
        )
    settings = escape(json.dumps(report["config"], indent=2))
    body.append(f"<details><summary>Settings of this replay</summary><pre>{settings}</pre></details>")
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title} – Headrace replay</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _about(report: dict[str, Any]) -> str:
    said = f"{report['events']:,} events of {report['users']:,} users on {report['items']:,} items"
    if "from_ms" in report:
        said += f", {_day(report['from_ms'])} to {_day(report['to_ms'])}"
    said += f". {report['scored']:,} moments judged; in {report['unseen_target_share']:.1%} of them everything to be guessed was new."
    return said + (f" Headrace {escape(report['headrace'])}." if "headrace" in report else "")


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, timezone.utc).strftime("%Y-%m-%d")


def _tiles(report: dict[str, Any]) -> str:
    fresh, served, ms = report["metrics"], report["served"], report["latency_ms"]
    tiles = [
        (f"{fresh['hr@20']:.4f}", f"HR@20, {LISTS[FRESH]}"),
        (f"{fresh['ndcg@20']:.4f}", f"NDCG@20, {LISTS[FRESH]}"),
        (f"{served['hr@20']:.4f}", f"HR@20, {LISTS[SERVED]}"),
        (f"{report['events_per_s']:,.0f}", "events a second"),
        (f"{ms['p50']:.2f} / {ms['p99']:.2f} ms", "an event, p50 / p99"),
        (f"{report['peak_rss_mb']:,.0f} MB", "peak memory"),
    ]
    boxes = "".join(f"<div><b>{value}</b><span>{label}</span></div>" for value, label in tiles)
    return f"<div class='tiles'>{boxes}</div>"


def _ranked(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Figures by list: the fresh and the served list, then the sources, best first."""
    figures = by_list(report)
    sources = sorted(answering(report), key=lambda name: -figures[name]["hr@20"])
    return {name: figures[name] for name in (*LISTS, *sources)}


def _lines(figures: dict[str, dict[str, float]]) -> list[Line]:
    shown = [name for name in figures if name in LISTS or figures[name]["hr@20"] > 0][: _DRAWN + len(LISTS)]
    return [Line(name, LISTS.get(name, name), f"c{n}", name in LISTS) for n, name in enumerate(shown)]


def _curves(report: dict[str, Any], lines: Sequence[Line], sources: int) -> str:
    stretches = points(report)
    if len(stretches) < 4:
        return "<p class='sub'>Too few moments were judged for a curve.</p>"
    each = stretches[1].scored
    drawn = len(lines) - len(LISTS)
    some = f" Of the {sources} sources, the {drawn} with the highest HR@20 are drawn." if drawn < sources else ""
    said = (
        f"Each point is the mean over the {each:,} or so moments judged since the point before it; nothing is smoothed, and no "
        "moment counts twice. A moment is all that one user did at one time: it is predicted first and learned after. The "
        f"first {WARM_UP:.0%} of the log are learned and not judged.{some}"
    )
    key = "".join(
        f"<li><i class='{line.style} {'thick' if line.thick else 'thin'}'></i>{escape(line.name)}</li>"
        for line in lines
    )
    charts = "".join(
        f"<figure>{chart(stretches, lines, metric, FIGURES[metric], unit)}</figure>"
        for metric, unit in _MEANING.items()
    )
    return f"<p class='sub'>{said}</p><ul class='key'>{key}</ul>{charts}"


def _quality(figures: dict[str, dict[str, float]], lines: dict[str, Line], quiet: Sequence[str]) -> str:
    rows = []
    for name, m in figures.items():
        style = lines[name].style if name in lines else "none"
        label = f"<i class='{style} {'thick' if name in LISTS else 'thin'}'></i>{escape(LISTS.get(name, name))}"
        rows.append([label, *(f"{m[key]:.4f}" for key in FIGURES)])
    heads = ["List", *(name.replace("@", "<wbr>@") for name in FIGURES.values())]
    said = (
        f"Means over all moments judged; coverage is the share of all items that were in a list at least once. <b>{LISTS[FRESH]}</b> "
        "and the sources are made at the moment that they are judged at, from everything before it. <b>served</b> is the list that "
        "the user had then: published after the user's previous event."
    )
    names = (
        f"In the JSON, {LISTS[FRESH]} stands under <code>metrics</code>, and as <code>{FRESH}</code> in <code>curve</code>; served "
        "under <code>served</code>, the sources under <code>by_source</code>."
    )
    table = _table(heads, rows, main=len(LISTS))
    nothing = f"{', '.join(f'<b>{escape(name)}</b>' for name in quiet)}: never named an item. " if quiet else ""
    return f"<p class='sub'>{said}</p>{table}<p class='sub small'>{nothing}{names}</p>"


def _weights(weights: dict[str, float]) -> str:
    top = sorted(weights.items(), key=lambda item: -abs(item[1]))[:_FEATURES]
    most = max((abs(value) for _, value in top), default=0.0) or 1.0
    rows = []
    for name, value in top:
        bar = f"<span class='bar{' minus' if value < 0 else ''}' style='width:{abs(value) / most:.0%}'></span>"
        rows.append([escape(name), f"<div class='bars'>{bar}</div>", f"{value:+.3f}".replace("-", "−")])
    return _table(["Feature", "", "Weight"], rows, style="weights")


def _drifts(drifts: Sequence[dict[str, Any]]) -> str:
    """What the detectors found, in the order of the events that brought it out."""
    if not drifts:
        return ""
    said = (
        "Where a detector (ADWIN) found that a hit rate is not what it was. In the first hours all of them rise; the blend learns on "
        "by itself, and <code>headrace offline --on-drift</code> retrains."
    )
    rows = [
        [_day(d["timestamp"]), escape(d["figure"]), f"{d['before']:.4f}", f"{d['after']:.4f}", "worse" if d["worse"] else "better"]
        for d in drifts[-_DRIFTS:]
    ]  # fmt: skip
    left = f" The last {_DRIFTS} of {len(drifts)}." if len(drifts) > _DRIFTS else ""
    table = _table(["Day", "Of", "Before", "After", ""], rows)
    return f"<section><h2>Changes found</h2><p class='sub'>{said}{left}</p>{table}</section>"


def _memory(report: dict[str, Any]) -> str:
    resident = [[f"after {k} % of the log", f"{v:,.1f}"] for k, v in report["rss_mb_at_percent"].items()]
    parts = sorted(report["model_bytes"].items(), key=lambda item: -item[1])
    shares = [[escape(name), f"{size / 1e6:,.2f}"] for name, size in parts if size]
    return (
        "<section><h2>Memory</h2><div class='pair'>"
        f"<div>{_table(['Resident', 'MB'], resident)}</div><div>{_table(['Part', 'MB'], shares)}</div></div></section>"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], main: int = 0, style: str = "") -> str:
    """A table of HTML cells; the first ``main`` rows stand out."""
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    lines = "".join(
        f"<tr{' class=main' if n < main else ''}>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>"
        for n, row in enumerate(rows)
    )
    table = f"<table class='{style}'><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    return f"<div class='scroll'>{table}</div>"
