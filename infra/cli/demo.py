"""``headrace demo``: see it all work, on a real log, with nothing to install or configure."""

from __future__ import annotations

import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from infra import demo, demo_experiment, demo_retrain, demo_tables, topics
from infra.addresses import redact
from infra.cli.helps import Command
from infra.cli.signals import unwinding
from infra.demo_experiment import TUNING
from infra.demo_play import Play
from infra.demo_retrain import ModelWatch, Retrain
from infra.figures import LISTS
from infra.local import Service
from infra.settings import Settings, named, settings_file, with_settings
from infra.worker_pages import by_arm, quality
from streams.warm_up import warm_up

NO_FIGURE = "–"
SAY_EVERY_S = 10.0
"""Between two lines about how far it is, where the output is no terminal."""


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

    Half way a deep model is trained on what has happened, tried beside the lists without it, and taken over, while events
    go on. All the while an experiment gives some households other lists; its read-out is shown at the end. Broker and Redis
    are started from wheels unless you name yours with --broker and --redis.
    """
    console = Console()
    started = time.monotonic()
    own_broker, own_redis = "broker" not in named(), "redis" not in named()
    if not own_broker and not settings.topic_prefix:
        settings = msgspec.structs.replace(settings, topic_prefix=f"demo-{secrets.token_hex(3)}-")
    with unwinding(), ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-demo-", ignore_cleanup_errors=True))
        )

        def say(what: str) -> None:
            line = f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {what}"
            console.print(line, soft_wrap=not console.is_terminal)

        say(f"reading The Complete Journey, the first {events:,} purchases of a year-long grocery log (some seconds)")
        shop = demo.fetch_shop(folder, events)
        say(f"The Complete Journey: {shop.events:,} purchases of {len(shop.catalogue):,} products")
        say("compiling numeric kernels (the first time, up to a minute)")
        warm_up(settings.pipeline)
        say("numeric kernels compiled (kept for the next time)")
        settings = stack.enter_context(demo.services(stack, settings, folder, own_broker, own_redis))
        topics.create(settings, demo.PARTITIONS)
        kind = " (embedded)"
        say(f"broker {settings.broker}{kind * own_broker}, Redis{kind * own_redis}, topics created")
        experiment = demo_experiment.begin(settings, folder)
        say(f"experiment {experiment.definition.name} begun: {demo_experiment.parts(experiment)}")
        say(f"starting {demo.WORKERS} workers (some seconds)")
        config = settings_file() or demo_retrain.quick_trial(folder)
        workers = [stack.enter_context(demo.start_worker(settings, folder, n + 1, config)) for n in range(demo.WORKERS)]
        demo.await_ready(workers)
        say(f"{len(workers)} workers ready: " + ", ".join(f"http://{w.address}" for w in workers))
        watch = stack.enter_context(demo.Watch(settings).running())
        models = stack.enter_context(demo_retrain.ModelWatch(settings).running())
        missing = demo_retrain.missing()
        retrain = None if missing else stack.enter_context(demo_retrain.Retrain(settings, folder, config))
        play = Play(settings, shop, workers, watch, models, retrain)
        _play(console, shop, watch, models, play, retrain, say)
        say("every event has been learned and answered")
        result, readout = demo_experiment.result_of(settings, experiment, folder)
        say("experiment read out, from topics events and recommendations")
        demo_tables.figures(console, shop, play.speed or 0.0, play.steady or play.latest)
        demo_tables.quality(console, quality(play.pages))
        demo_tables.people(console, shop, watch)
        if retrain is None:
            console.print(f"\nNo deep model was trained. To see that too: {escape(missing or '')}", soft_wrap=True)
        else:
            demo_tables.model(console, watch, models.overview, play, retrain)
        demo_tables.experiment(console, result)
        if keep:
            _stay(console, settings, workers, readout, next(iter(demo.typical_users(shop))))


def _play(
    console: Console,
    shop: demo.Shop,
    watch: demo.Watch,
    models: ModelWatch,
    play: Play,
    retrain: Retrain | None,
    say: Callable[[str], None],
) -> None:
    """Play the log and show what comes out; who reads it in a file is told now and then how far it is."""
    said = time.monotonic()
    bar = Progress(
        TextColumn("{task.description:<16}"), BarColumn(40), TextColumn("{task.completed:>9,.0f} of {task.total:,.0f}")
    )
    sent = bar.add_task("events published", total=shop.events)
    lists = bar.add_task("lists received", total=shop.events)
    with play.player.running(), Live(console=console, refresh_per_second=4, transient=True) as live:
        while not play.step():
            time.sleep(0.1)
            bar.update(sent, completed=play.player.sent)
            bar.update(lists, completed=len(watch.answered))
            if not console.is_terminal:
                if time.monotonic() - said >= SAY_EVERY_S:
                    said = time.monotonic()
                    say(_so_far(play, shop, watch))
                continue
            model = ""
            if retrain is not None:
                model = demo_retrain.doing(retrain, models.overview, play.compared, time.monotonic)
            told = _now(
                _doing(play), quality(play.pages), shop, watch, play.speed is not None, model, by_arm(play.pages)
            )
            live.update(Group(bar, told))


def _so_far(play: Play, shop: demo.Shop, watch: demo.Watch) -> str:
    """How far it is, in a line."""
    found = quality(play.pages)
    figures = [
        f"HR@20 {LISTS[name]} {found[name]['hr_at_20']:.3f}" for name in LISTS if found.get(name, {}).get("hr_at_20")
    ]
    counts = f"{play.player.sent:,} of {shop.events:,} events published", f"{len(watch.answered):,} lists received"
    return f"{', '.join((*counts, *figures))}; {_doing(play)}"


def _doing(play: Play) -> str:
    """What the demo is about."""
    plan, retrains = play.plan, play.plan.half < play.plan.trickle
    speed = f"half of the full speed ({play.speed / 2:,.0f} events/s)" if play.speed is not None else ""
    if play.steady is not None:
        return (
            "a trickle, until a model has been trained"
            if play.coming
            else f"the rest at a quarter of the full speed ({(play.speed or 0) / 4:,.0f} events/s)"
        )
    if speed:
        return f"{'an eighth' if retrains else 'the last quarter'} at {speed}, to measure latency"
    if play.player.sent < plan.full:
        return f"publishing three {'eighths' if retrains else 'quarters'} of the log as fast as it goes"
    return "waiting until the workers have caught up; then it goes on at half of their speed"


def _now(
    doing: str,
    quality: dict[str, dict[str, float]],
    shop: demo.Shop,
    watch: demo.Watch,
    steady: bool,
    model: str = "",
    arms: Mapping[str, float] = MappingProxyType({}),
) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("now", doing)
    rate = f"{watch.rate:,.0f}" if watch.measured_s > 1 else NO_FIGURE
    table.add_row("lists/s", f"{rate} [dim]({'paced' if steady else 'at full speed'})[/dim]")
    if steady:
        table.add_row("latency", f"p50 {watch.latency(0.5):,.1f} ms, p99 {watch.latency(0.99):,.1f} ms")
    for name in LISTS:
        figure = quality.get(name, {}).get("hr_at_20", 0.0)
        told = f"{figure:.3f} [dim]lately, of {demo_tables.OF_WHICH[name]}[/dim]"
        table.add_row(f"HR@20 {LISTS[name]}", told if figure else NO_FIGURE)
    if arms:
        figures = ", ".join(f"{arm.partition('/')[2]} {figure:.3f}" for arm, figure in arms.items())
        table.add_row(
            "experiment", f"HR@20 fresh, by variant: {escape(figures)} [dim]so far; read out at the end[/dim]"
        )
    if model:
        table.add_row("deep model", escape(model))
    if any(of.get("hr_at_20") for of in quality.values()):
        table.add_row("", f"[dim]{demo_tables.HIT_RATE}[/dim]")
    last = watch.last
    if last is not None and last.items:
        top = last.items[0]
        title = escape(demo.title_of(top.item_id, shop.catalogue))
        table.add_row("latest list", f"household {last.user_id}: {title} [dim]({escape(top.reason)})[/dim]")
    return table


def _stay(console: Console, settings: Settings, workers: list[Service], readout: Path, user: str) -> None:
    console.print(f"\nStill running. Broker {settings.broker}, Redis {redact(settings.redis)}")
    for worker in workers:
        console.print(f"  curl 'http://{worker.address}/recommendations/{user}?k=5&expose=false'")
    prefix = f" --topic-prefix {settings.topic_prefix}" if settings.topic_prefix else ""
    again = f"headrace experiment readout {readout.stem} --broker {settings.broker}{prefix} --tuning {TUNING}"
    console.print(f"  {again}", soft_wrap=True)
    console.print(
        f"  headrace experiment stop {readout.stem} --broker {settings.broker}{prefix}  # before users of yours come",
        soft_wrap=True,
    )
    console.print(f"  read-out as a page, until this ends: {readout}", soft_wrap=True)
    console.print("Ctrl-C stops everything.")
    sys.stdout.flush()
    while True:
        time.sleep(1)
