"""``headrace demo``: see it all work, on a real log, with nothing to install or configure."""

from __future__ import annotations

import secrets
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from infra import demo, topics
from infra.addresses import redact
from infra.cli.helps import Command
from infra.figures import FIGURES, LISTS
from infra.local import Service
from infra.settings import Settings, named, with_settings
from online_models import metrics
from online_models.errors import ServiceError
from streams.warm_up import warm_up

STALLED_S = 60
SHOWN = {key.replace("@", "_at_"): FIGURES[key] for key in metrics.NAMES}
"""The end of a metric's name on a worker's page → the figure's name."""
COMPARED = (
    "fresh (blend), and each list of which it is blended, is made at the moment of the purchase, from everything before it. served is the "
    "list that the household had then: published after its purchase before, here often weeks earlier, and therefore lower."
)
NO_FIGURE = "–"


@click.command(
    "demo",
    cls=Command,
    short_help="See it all work on a real log: nothing to install or set up.",
    examples=[
        "headrace demo",
        "headrace demo --events 10000 --keep  # shorter; runs on at the end",
    ],
)
@click.option(
    "--events",
    metavar="N",
    type=click.IntRange(1_000),
    default=40_000,
    show_default=True,
    help="How many events to play.",
)
@click.option("--keep", is_flag=True, help="Leave everything running at the end, until Ctrl-C.")
@with_settings
def command(events: int, keep: bool, settings: Settings) -> None:
    """Play The Complete Journey (real grocery baskets) through a broker, a Redis and two workers.

    Broker and Redis are started from wheels unless you name yours with --broker and --redis.
    """
    console = Console()
    started = time.monotonic()
    own_broker, own_redis = "broker" not in named(), "redis" not in named()
    if not own_broker and not settings.topic_prefix:
        settings = msgspec.structs.replace(settings, topic_prefix=f"demo-{secrets.token_hex(3)}-")
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-demo-", ignore_cleanup_errors=True))
        )

        def say(what: str) -> None:
            console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {what}")

        say(f"reading The Complete Journey, {events:,} purchases out of a year of grocery baskets (some seconds)")
        shop = demo.fetch_shop(folder, events)
        say(f"The Complete Journey: {shop.events:,} purchases of {len(shop.catalogue):,} products")
        say("compiling numeric kernels (the first time, up to a minute)")
        warm_up(settings.pipeline)
        say("numeric kernels compiled (kept for the next time)")
        settings = stack.enter_context(demo.services(stack, settings, folder, own_broker, own_redis))
        topics.create(settings, demo.PARTITIONS)
        kind = " (embedded)"
        say(f"broker {settings.broker}{kind * own_broker}, Redis{kind * own_redis}, topics created")
        say(f"starting {demo.WORKERS} workers (some seconds)")
        workers = [stack.enter_context(demo.start_worker(settings, folder, n + 1)) for n in range(demo.WORKERS)]
        demo.await_ready(workers)
        say(f"{len(workers)} workers ready: " + ", ".join(f"http://{w.address}" for w in workers))
        watch = stack.enter_context(demo.Watch(settings).running())
        speed, latency = _play(console, settings, shop, workers, watch)
        say("every event has been learned and answered")
        _figures(console, shop, speed, latency)
        _quality(console, demo.quality(workers))
        _people(console, shop, watch)
        if keep:
            _stay(console, settings, workers)


def _play(
    console: Console, settings: Settings, shop: demo.Shop, workers: list[Service], watch: demo.Watch
) -> tuple[float, tuple[float, float, float]]:
    """Play the log and show what comes out. Returns events/s at full speed, and (rate, p50, p99 in ms) at half of it."""
    full_speed = shop.events * 3 // 4
    first_part = threading.Event()
    speed = [0.0]

    def half() -> float:
        first_part.wait()
        return max(speed[0] / 2, 10.0)

    player = demo.Player(settings, shop, full_speed, half)
    player.start()
    bar = Progress(
        TextColumn("{task.description:<16}"), BarColumn(40), TextColumn("{task.completed:>9,.0f} of {task.total:,.0f}")
    )
    sent = bar.add_task("events published", total=shop.events)
    lists = bar.add_task("lists received", total=shop.events)
    moved, seen = time.monotonic(), 0
    quality, asked = demo.quality(workers), time.monotonic()
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while watch.published < shop.events:
            time.sleep(0.1)
            if player.failure is not None:
                raise player.failure
            for worker in workers:
                if not worker.alive():
                    raise ServiceError(f"{worker.name} to run", demo.last_line(worker.log), "run the demo again")
            if not first_part.is_set() and watch.published >= full_speed:
                speed[0] = watch.rate
                watch.lap()
                first_part.set()
            if watch.published > seen:
                moved, seen = time.monotonic(), watch.published
            elif time.monotonic() - moved > STALLED_S:
                raise ServiceError(
                    "lists to keep coming", f"none for {STALLED_S} s after {seen:,}", "run the demo again"
                )
            bar.update(sent, completed=player.sent)
            bar.update(lists, completed=watch.published)
            if time.monotonic() - asked > 1.0:  # more often would slow down what it measures
                quality, asked = demo.quality(workers), time.monotonic()
            doing = _doing(player.sent, full_speed, speed[0] if first_part.is_set() else None)
            live.update(Group(bar, _now(doing, quality, shop, watch, first_part.is_set())))
    return speed[0], (player.steady_rate, watch.latency(0.5), watch.latency(0.99))


def _doing(sent: int, full_speed: int, speed: float | None) -> str:
    """What the demo is about; ``speed`` is None until the part at full speed has been answered."""
    if speed is not None:
        return f"the last quarter at half of that speed ({speed:,.0f} events/s), to measure latency"
    if sent < full_speed:
        return "publishing three quarters of the log as fast as it goes"
    return "waiting until the workers have caught up; the last quarter then comes at half of their speed"


def _now(doing: str, quality: dict[str, dict[str, float]], shop: demo.Shop, watch: demo.Watch, steady: bool) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("now", doing)
    rate = f"{watch.rate:,.0f}" if watch.measured_s > 1 else NO_FIGURE
    table.add_row("lists/s", f"{rate} [dim]({'at half speed' if steady else 'at full speed'})[/dim]")
    if steady:
        table.add_row("latency", f"p50 {watch.latency(0.5):,.1f} ms, p99 {watch.latency(0.99):,.1f} ms")
    for name in LISTS:
        figure = quality.get(name, {}).get("hr_at_20", 0.0)
        table.add_row(f"HR@20 {LISTS[name]}", f"{figure:.3f} [dim]lately[/dim]" if figure else NO_FIGURE)
    last = watch.last
    if last is not None and last.items:
        top = last.items[0]
        title = escape(demo.title_of(top.item_id, shop.catalogue))
        table.add_row("latest list", f"household {last.user_id}: {title} [dim]({escape(top.reason)})[/dim]")
    return table


def _figures(console: Console, shop: demo.Shop, speed: float, steady: tuple[float, float, float]) -> None:
    rate, p50, p99 = steady
    table = Table(title="\nLive, through broker, Redis and two workers", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_row("events learned, each with a list published", f"{shop.events:,}")
    table.add_row("events/s at full speed", f"{speed:,.0f}")
    table.add_row(f"events/s while latency was measured ({rate / max(speed, 1e-9):.0%} of that)", f"{rate:,.0f}")
    table.add_row("latency, event read → list published: p50", f"{p50:,.1f} ms")
    table.add_row("latency, event read → list published: p99", f"{p99:,.1f} ms")
    console.print(table)


def _quality(console: Console, rows: dict[str, dict[str, float]]) -> None:
    console.print("\nQuality of each list, lately: every purchase is predicted first and learned after", style="italic")
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


def _people(console: Console, shop: demo.Shop, watch: demo.Watch) -> None:
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


def _stay(console: Console, settings: Settings, workers: list[Service]) -> None:
    console.print(f"\nStill running. Broker {settings.broker}, Redis {redact(settings.redis)}")
    for worker in workers:
        console.print(f"  curl 'http://{worker.address}/recommendations/1?k=5'")
    console.print("Ctrl-C stops everything.")
    sys.stdout.flush()
    while True:
        time.sleep(1)
