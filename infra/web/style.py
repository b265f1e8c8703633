"""How the report page looks, by day and by night, on a desk and on a telephone."""

from __future__ import annotations

COLOURS = (
    ("#0b62d6", "#5aa2ff"),
    ("#d1350f", "#ff7f50"),
    ("#0f7b6c", "#3fc1ac"),
    ("#ad1a72", "#e878b8"),
    ("#6940a5", "#b394f0"),
    ("#b58900", "#e5c04b"),
    ("#64473a", "#c09a86"),
    ("#4c8c2b", "#8fce6a"),
    ("#1c8fa8", "#6ad0e6"),
    ("#6b7280", "#a3abb8"),
)
"""By day and by night: the fresh list, the served list, then the sources."""


def _colours(n: int) -> str:
    return "".join(f"--c{i}: {pair[n]}; " for i, pair in enumerate(COLOURS))


STYLE = f"""
:root {{ color-scheme: light dark; --ink: #1d2129; --soft: #5b6472; --rule: #e4e7ec; --back: #fff; --card: #f6f7f9; {_colours(0)}}}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8eaee; --soft: #a0a8b5; --rule: #30353e; --back: #14171c; --card: #1d2128; {_colours(1)}}}
}}
""" + """
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 920px; margin: 0 auto;
  padding: 1.6rem 1.2rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; }
.sub { color: var(--soft); margin: .2rem 0 .9rem; } .small { font-size: .85rem; margin-top: .6rem; }
.sub b { color: var(--ink); font-weight: 600; }
.note { border-left: 3px solid var(--c1); background: var(--card); padding: .5rem .8rem; margin: .6rem 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(3, 1fr); gap: .6rem; margin-top: 1rem; }
.tiles div { background: var(--card); border-radius: 8px; padding: .6rem .8rem; }
.tiles b { display: block; font-size: 1.2rem; white-space: nowrap; } .tiles span { color: var(--soft); font-size: .85rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .6rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; padding-left: 0; } th:last-child, td:last-child { padding-right: 0; }
tr.main td { font-weight: 600; }
figure { margin: 0 0 1.2rem; } svg { width: 100%; height: auto; display: block; } svg.narrow { display: none; }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft); } svg .strong { fill: var(--ink); font-weight: 600; }
svg .grid { stroke: var(--rule); } svg .tick { stroke: var(--soft); }
polyline { fill: none; stroke: var(--c); stroke-linejoin: round; stroke-linecap: round; }
polyline.thin { stroke-width: 1.3; opacity: .75; } polyline.thick { stroke-width: 3.4; }
polyline:hover { stroke-width: 5; opacity: 1; }
.key { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: 0 0 .8rem; font-size: .88rem; }
.key i, td i { display: inline-block; width: 1.1rem; margin-right: .45rem; vertical-align: middle; border-radius: 2px; }
i { background: var(--c); }
i.thick { height: 5px; } i.thin { height: 2px; } i.none { visibility: hidden; }
.weights td:nth-child(2) { width: 50%; } .bars { width: 100%; }
.bar { display: block; height: .6rem; border-radius: 2px; background: var(--c0); } .bar.minus { background: var(--c1); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 3rem; align-items: start; }
details { margin-top: 2.2rem; } summary { cursor: pointer; font-weight: 600; } pre { overflow-x: auto; font-size: .82rem; }
@media (max-width: 600px) {
  body { font-size: 14px; padding: 1rem .9rem 2rem; } svg.wide { display: none; } svg.narrow { display: block; }
  .pair { grid-template-columns: 1fr; gap: 1.2rem; } .tiles { grid-template-columns: 1fr 1fr; }
  table { font-size: 11px; } th { font-size: 10px; } th, td { padding: .28rem .18rem; } td i { display: none; }
  .weights td:nth-child(2) { width: 35%; }
}
@media print { details { display: none; } section { break-inside: avoid; } }
""" + "".join(f".c{n} {{ --c: var(--c{n}); }}" for n in range(len(COLOURS)))  # fmt: skip
