"""The tables that the demo ends with."""

from __future__ import annotations

from itertools import zip_longest

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra import demo
from infra.demo_play import Measured, Play
from infra.demo_retrain import Retrain, difference
from infra.figures import FIGURES, LISTS
from infra.models import Known, Overview
from infra.worker_pages import Comparison, Served
from online_models import metrics
from online_models.experiments.effects import NoResult
from streams.hotswap import NONE
from streams.prequential import FRESH, SERVED
from streams.readout.result import Compared, Result

SHOWN = {key.replace("@", "_at_"): FIGURES[key] for key in metrics.NAMES}
"""The end of a metric's name on a worker's page → the figure's name."""
HIT_RATE = "HR@20: share of the baskets of which an item was among the first 20 of the list"
OF_WHICH = {FRESH: "the list made at the moment of the purchase", SERVED: "the list that the household had then"}
COMPARED = (
    f"{HIT_RATE}. fresh (blend), and each list of which it is blended, is made at the moment of the purchase, from everything before it. "
    "served is the list that the household had then: published after its basket before, here often a day or more earlier, "
    "and therefore lower. Both are of all households: also of those to which the experiment recommends only what they have not bought. "
    "A basket is all that a household buys at one time; the experiment's hr@20, below, is of single purchases."
)

RECORDED = (
    "The purchases are recorded: nobody has acted on these lists. So the experiment tells which lists named what was bought next, and not "
    "what would have been bought."
)
SAID = {
    "hr@20": "hr@20: share of the purchases that were among the first 20 items of the list before",
    "ctr": "ctr: share of the lists of which something was bought",
}

BEFORE_AND_AFTER = (
    "The lists without it are of earlier purchases, when less was known: what the version does is told by the difference at the "
    "same moments."
)


BEHIND_MS = 500.0
FELL_BEHIND = (
    "The workers fell behind at this rate: other work took the machine, or it was faster while the rate was chosen. So most of this is "
    "waiting in line; an event by itself takes some tens of milliseconds (docs/benchmarks.md)."
)


def figures(console: Console, shop: demo.Shop, speed: float, steady: Measured) -> None:
    """Speed and latency."""
    rate, p50, p99 = steady.rate, steady.p50, steady.p99
    table = Table(title="\nLive, through broker, Redis and two workers", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_row("events learned, each with a list published", f"{shop.events:,}")
    table.add_row("events/s at full speed", f"{speed:,.0f}")
    table.add_row(f"events/s while latency was measured ({rate / max(speed, 1e-9):.0%} of that)", f"{rate:,.0f}")
    table.add_row("latency, event read → list handed to the producer: p50", f"{p50:,.1f} ms")
    table.add_row("latency, event read → list handed to the producer: p99", f"{p99:,.1f} ms")
    console.print(table)
    if p50 > BEHIND_MS:
        console.print(FELL_BEHIND, style="dim")


def quality(console: Console, rows: dict[str, dict[str, float]]) -> None:
    """Of each list."""
    console.print("\nQuality of each list, lately: every basket is predicted first and learned after", style="italic")
    console.print(COMPARED, style="dim")
    table = Table()
    table.add_column("list")
    for name in SHOWN.values():
        table.add_column(name, justify="right")
    ranked = sorted(rows, key=lambda name: -rows[name].get("ndcg_at_20", 0.0))
    for name in [*(name for name in LISTS if name in rows), *(name for name in ranked if name not in LISTS)]:
        if any(rows[name].values()):
            figures = (f"{rows[name].get(m, 0.0):.4f}" for m in SHOWN)
            table.add_row(
                LISTS.get(name, name), *figures, style="bold" if name in LISTS else "", end_section=name == "served"
            )
    console.print(table)


def people(console: Console, shop: demo.Shop, watch: demo.Watch) -> None:
    """What some households had, and what they were recommended."""
    for user, events in demo.typical_users(shop).items():
        latest = watch.recommendation(user)
        if latest is None:
            continue
        bought, next_ = [e.item_id for e in reversed(events)], latest.items[:5]
        names = demo.names_of([*bought, *(item.item_id for item in next_)], shop.catalogue)
        table = Table(title=f"\nHousehold {escape(user)}", title_justify="left")
        for header in ("bought last", "recommended next", "because"):
            table.add_column(header, overflow="fold")
        for item_id, item in zip_longest(bought, next_):
            done = names[item_id] if item_id else ""
            shown = (names[item.item_id], item.reason) if item else ("", "")
            table.add_row(*map(escape, (done, *shown)))
        wide = console.measure(table, options=console.options.update(max_width=1_000)).maximum
        table.show_lines = wide > console.width  # names that take several lines are kept apart
        console.print(table)


def experiment(console: Console, result: Result) -> None:
    """Of two variants: how many households each had, what was measured, and what may be concluded."""
    [other] = [v for v in result.units if v != result.control]
    table = Table(
        title=f"\nAn experiment that ran all the while: {result.experiment}. {result.control}: what everybody would get, {other}: "
        "only what the household has not bought yet",
        title_justify="left",
    )
    table.add_column("figure")
    for header in (result.control, other, "effect", "interval, at any look"):
        table.add_column(header, justify="right")
    for name, said in SAID.items():
        [found] = next(m for m in result.metrics if m.metric == name).variants
        control = next(m.control for m in result.metrics if m.metric == name)
        table.add_row(said, *(f"{v or 0.0:.4f}" for v in (control, found.value)), *_effect(found))
    table.add_row("households", *(f"{result.units[v]:,}" for v in (result.control, other)), "shares", _shares(result))
    console.print(table)
    console.print(
        f"Each counted once: {result.events:,} events, {result.lists:,} lists. {escape(result.verdict)}", soft_wrap=True
    )
    console.print(RECORDED, style="dim")


def _effect(found: Compared) -> tuple[str, str]:
    if isinstance(found.effect, NoResult) or found.always is None:
        return "no result yet", ""
    return f"{found.effect.estimate:+.1%}", f"{found.always.low:+.1%} to {found.always.high:+.1%}"


def _shares(result: Result) -> str:
    """Whether the variants have the households that they should have."""
    found = result.splits[-1].always
    if isinstance(found, NoResult):
        return "not judged"
    return "do NOT match" if found.alarm else "match"


def model(console: Console, watch: demo.Watch, overview: Overview, play: Play, retrain: Retrain) -> None:
    """How a version was made and took over, and what became of the lists."""
    table = Table(title="\nA deep model, trained and taken over while events flowed", title_justify="left")
    table.add_column("what")
    table.add_column("result", overflow="fold")
    found = retrain.announcement
    if found is None:
        table.add_row("deep model", escape(f"none: {retrain.failure or 'the log was over before it was trained'}"))
    else:
        table.add_row("deep model", found.version)
        table.add_row("trained on", f"{found.trained.events:,} events in {retrain.trained_s:.0f} s, on one thread")
        table.add_row("from archiving to being on trial", f"{play.waited_s:.0f} s")
        known = next((v for v in overview.versions if v.version == found.version), None)
        table.add_row("trial", verdict(known, play.compared))
        table.add_row("with it minus without it, at the same moments", compared(known))
        if play.compared is not None:
            told = f"{difference(play.compared)}, {play.compared.moments:,} moments"
            table.add_row("the same when the log was over", told)
        for name, told in ((NONE, "lists without it (version none)"), (found.version, "lists with it")):
            of = play.served.get(name, Served(0, 0.0))
            figure = f"NDCG@20 {of.ndcg:.4f}, lately, of {of.moments:,} moments" if of.moments else "none judged yet"
            table.add_row(told, figure)
    latest = play.latest
    table.add_row("latency meanwhile, p50 and p99", f"{latest.p50:,.1f} ms, {latest.p99:,.1f} ms")
    table.add_row("events published, events with a list", f"{play.player.sent:,}, {len(watch.answered):,}")
    table.add_row("events dropped", f"{play.player.sent - len(watch.answered):,}")
    console.print(table)
    console.print(BEFORE_AND_AFTER, style="dim")


def verdict(known: Known | None, compared: Comparison | None) -> str:
    """What was decided of a version; where nothing was, it says so."""
    if known is not None and known.decision is not None:
        d = known.decision
        told = {"promoted": "promoted: everybody gets it", "rolled_back": "sent back"}.get(d.state, d.state)
        return f"{told}, after {d.moments or 0:,} moments of one worker"
    if known is not None and known.state == "refused":
        return "refused by the workers"
    if compared is None:
        return "not begun when the log was over"
    return f"not at its end when the log was over, after {compared.moments:,} moments of one worker"


def compared(known: Known | None) -> str:
    """The difference by which it was decided."""
    d = known.decision if known is not None else None
    if d is None or d.difference is None or d.low is None or d.high is None:
        return "not decided"
    shown = "" if d.low > 0.0 or d.high < 0.0 else ": so few moments show no difference"
    return difference(Comparison(d.moments or 0, d.difference, d.low, d.high)) + shown
