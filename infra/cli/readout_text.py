"""A read-out as text: who took part, a table of effects, the checks, and what may be concluded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from math import isfinite

from infra.cli.tables import Column, console, print_table
from online_models.experiments.effects import NoResult
from streams.readout.result import Compared, Preferred, Result
from streams.readout.shares import Split
from streams.readout.verdict import between, p_words


def show(result: Result, watched: bool) -> None:
    """Print it; with the time where it is one of many looks (``watched``)."""
    out = console()
    if watched:
        out.print(f"\n{time_now()}")
    units = ", ".join(f"{v} {n:,}" for v, n in result.units.items())
    until = f" until {_when(result.until_ms)}" if result.events else ""
    out.print(
        f"[bold]{result.experiment}[/] ({result.state}): {units} units; {result.lists:,} lists, {result.events:,} events{until}"
    )
    if result.lost:
        out.print(
            f"[bold]{result.lost:,} lists are not counted[/]: they, or what came of them, came too late, or for too many "
            "strangers, or they name no variant of it"
        )
    if result.mixed:
        out.print(f"{result.mixed:,} units saw several variants and are left out")
    if result.unattributed:
        out.print(
            f"{result.unattributed:,} clicks and conversions count for no list (unattributed): they came longer after one of the "
            "experiment than `attribution_s`"
        )
    if result.preference is not None:
        p = result.preference
        out.print(f"of {p.lists:,} lists with a click, {p.variant} against {p.control}: {_preference(p)}")
        out.print(f"[bold]{result.verdict}[/]")
        return
    if result.since:
        out.print(
            f"compared are units first exposed since ramp {result.since}: before, proportions were others, or are not known any more"
        )
    if result.changes:
        out.print(
            f"proportions were changed {_times(result.changes)}: what was found since then is judged at {result.alpha:.2g}, so that all "
            "the stretches together are wrong hardly more often than one"
        )
    level = f"{100 * (1 - result.alpha):.4g}%"
    columns = (
        Column("metric"),
        Column("variant", fold=True),
        Column("value of\ncontrol", number=True),
        Column("value of\nvariant", number=True),
        Column("effect", number=True),
        Column(f"{level} interval,\nalways valid", number=True),
        Column(f"{level} interval,\nfixed horizon", number=True, wide=True),
        Column("p", number=True),
    )
    rows = [
        (
            f"{m.metric} *" if m.metric == result.primary else m.metric,
            c.variant,
            _number(c.control),
            _number(c.value),
            *_cells(c),
        )
        for m in result.metrics
        for c in m.variants
    ]
    print_table(out, f"effects, relative to {result.control}", columns, rows)
    for line in _legend(result, rows):
        out.print(f"[dim]{line}[/]")
    for why, compared in _no_results(result).items():
        out.print(f"no result yet for {', '.join(compared)}: {why}")
    for s in result.splits:
        since = f"change {s.ramp} of shares" if s.ramp else "as begun"
        out.print(f"shares, ramp {s.ramp} ({since}): {_share_words(s)}")
    for g in result.guardrails:
        at = f", at {g.found.low:+.1%} to {g.found.high:+.1%}" if isfinite(g.found.low) else ", no result yet"
        out.print(f"guardrail {g.metric} of {g.variant} (margin {g.margin:.1%}): {g.found.verdict.value}{at}")
    if result.guard_alpha is not None and len(result.guardrails) > 1:
        out.print(
            f"guardrails are judged at {result.guard_alpha:.2g} each, so that all {len(result.guardrails)} together are at {result.alpha:g}"
        )
    out.print(f"[bold]{result.verdict}[/]")


def _cells(c: Compared) -> tuple[str, str, str, str]:
    if isinstance(c.effect, NoResult) or c.always is None or c.fixed is None or c.adjusted_p is None:
        return "", "no result yet", "", ""
    p = p_words(c.adjusted_p).removeprefix("= ").replace(" ", "")
    return f"{c.effect.estimate:+.1%}", between(c.always), between(c.fixed), p


def _legend(result: Result, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """What the marks of the table mean, if they are there."""
    yield "* decides: the `metric` of the definition"
    if any("–" in row for row in rows):
        yield "–: nothing has been counted yet"
    if any(len(m.variants) > 1 for m in result.metrics):
        yield f"p: adjusted for the number of variants ({result.correction})"


def _no_results(result: Result) -> dict[str, list[str]]:
    """Why there is no result, and for which variants of which metrics."""
    found: dict[str, list[str]] = {}
    for m in result.metrics:
        for c in m.variants:
            if isinstance(c.effect, NoResult):
                found.setdefault(c.effect.message, []).append(f"{m.metric} of {c.variant}")
    return found


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _preference(p: Preferred) -> str:
    if isinstance(p.effect, NoResult) or p.always is None:
        return f"no result yet: {p.effect.message}" if isinstance(p.effect, NoResult) else "no result yet"
    return f"{p.effect.estimate:+.1%} ({between(p.always)} at any look)"


def _share_words(split: Split) -> str:
    if isinstance(split.always, NoResult):
        return f"not judged ({split.always.message})"
    words = "do NOT match" if split.always.alarm else "match"
    return f"{words} (p {p_words(split.always.p_value)} at any look)"


def time_now() -> str:
    """By the clock, UTC."""
    return f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _when(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
