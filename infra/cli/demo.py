"""``headrace demo``: see it all work, on a real log, with nothing to install or configure."""

from __future__ import annotations

import secrets
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from infra import demo, topics
from infra.local import Service
from infra.settings import Settings, with_settings
from online_models.errors import ServiceError
from streams.reasons import title_of
from streams.warm_up import warm_up

STALLED_S = 60
NAMES = {"blend": "fresh (blend of all)", "served": "served (as published)"}
SHOWN = ("hr_at_20", "recall_at_20", "mrr_at_20", "ndcg_at_20")


@click.command("demo")
@click.option(
    "--events", type=click.IntRange(1_000), default=40_000, show_default=True, help="How many events to play."
)
@click.option("--keep", is_flag=True, help="Leave everything running at the end, until Ctrl-C.")
@with_settings
def command(events: int, keep: bool, settings: Settings) -> None:
    """Play The Complete Journey (real grocery baskets) through a broker, a Redis and two workers.

    Broker and Redis are started from wheels unless you name yours with --broker and --redis.
    """
    console = Console()
    started = time.monotonic()
    own_broker, own_redis = settings.broker == Settings().broker, settings.redis == Settings().redis
    if not own_broker and not settings.topic_prefix:
        settings = msgspec.structs.replace(settings, topic_prefix=f"demo-{secrets.token_hex(3)}-")
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-demo-", ignore_cleanup_errors=True))
        )

        def say(what: str) -> None:
            console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {what}")

        shop = demo.fetch_shop(folder, events)
        say(f"The Complete Journey: {shop.events:,} purchases of {len(shop.catalogue):,} products")
        warm_up(settings.pipeline)
        say("numeric kernels compiled (kept for the next time)")
        settings = stack.enter_context(demo.services(stack, settings, folder, own_broker, own_redis))
        topics.create(settings, demo.PARTITIONS)
        kind = " (embedded)"
        say(f"broker {settings.broker}{kind * own_broker}, Redis{kind * own_redis}, topics created")
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
            live.update(Group(bar, _now(workers, shop, watch, first_part.is_set())))
    return speed[0], (watch.rate, watch.latency(0.5), watch.latency(0.99))


def _now(workers: list[Service], shop: demo.Shop, watch: demo.Watch, steady: bool) -> Table:
    table = Table.grid(padding=(0, 2))
    served = demo.quality(workers).get("served", {})
    table.add_row("events/s", f"{watch.rate:,.0f} [dim]({'at half speed' if steady else 'at full speed'})[/dim]")
    if steady:
        table.add_row("latency", f"p50 {watch.latency(0.5):,.1f} ms, p99 {watch.latency(0.99):,.1f} ms")
    table.add_row("HR@20", f"{served.get('hr_at_20', 0.0):.3f} [dim]of the published lists, recently[/dim]")
    last = watch.last
    if last is not None and last.items:
        top = last.items[0]
        table.add_row(
            "latest list",
            f"household {last.user_id}: {title_of(top.item_id, shop.catalogue)} [dim]({top.reason})[/dim]",
        )
    return table


def _figures(console: Console, shop: demo.Shop, speed: float, steady: tuple[float, float, float]) -> None:
    rate, p50, p99 = steady
    table = Table(title="\nLive, through broker, Redis and two workers", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_row("events learned, each with a list published", f"{shop.events:,}")
    table.add_row("events/s at full speed", f"{speed:,.0f}")
    table.add_row(f"event read → published at {rate:,.0f} events/s, p50", f"{p50:,.1f} ms")
    table.add_row(f"event read → published at {rate:,.0f} events/s, p99", f"{p99:,.1f} ms")
    console.print(table)


def _quality(console: Console, rows: dict[str, dict[str, float]]) -> None:
    table = Table(
        title="\nPrequential quality of each list, recently: predicted first, learned after",
        caption="fresh: made just before the event. served: published at the user's event before, maybe days ago.",
        title_justify="left", caption_justify="left",
    )  # fmt: skip
    table.add_column("list")
    for name in SHOWN:
        table.add_column(name.replace("_at_", "@").upper(), justify="right")
    order = sorted(rows, key=lambda name: (name not in NAMES, -rows[name].get("ndcg_at_20", 0.0)))
    for name in order:
        if any(rows[name].values()):
            figures = (f"{rows[name].get(m, 0.0):.4f}" for m in SHOWN)
            table.add_row(NAMES.get(name, name), *figures, style="bold" if name in NAMES else "")
    console.print(table)


def _people(console: Console, shop: demo.Shop, watch: demo.Watch) -> None:
    for user, events in demo.typical_users(shop).items():
        latest = watch.recommendation(user)
        if latest is None:
            continue
        table = Table(title=f"\nHousehold {user}", title_justify="left")
        table.add_column("bought last", no_wrap=True, overflow="ellipsis", max_width=22)
        table.add_column("recommended next", no_wrap=True, overflow="ellipsis", max_width=22)
        table.add_column("because", no_wrap=True, overflow="ellipsis")
        bought = [title_of(e.item_id, shop.catalogue) for e in reversed(events)]
        for n, item in enumerate(latest.items[:5]):
            table.add_row(bought[n] if n < len(bought) else "", title_of(item.item_id, shop.catalogue), item.reason)
        console.print(table)


def _stay(console: Console, settings: Settings, workers: list[Service]) -> None:
    console.print(f"\nStill running. Broker {settings.broker}, Redis {settings.redis}")
    for worker in workers:
        console.print(f"  curl 'http://{worker.address}/recommendations/1?k=5'")
    console.print("Ctrl-C stops everything.")
    sys.stdout.flush()
    while True:
        time.sleep(1)
