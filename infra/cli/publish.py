"""``headrace publish``: play a recorded log into topic ``events``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from infra import publishing
from infra.cli.helps import Command
from infra.cli.parameters import Instant, Speed
from infra.settings import Settings, with_settings
from streams import recorded_log


@click.command(
    "publish",
    cls=Command,
    short_help="Play a log (or a catalogue) into the topics of a broker.",
    examples=[
        "headrace publish log.jsonl.gz --speed max",
        "headrace publish log.jsonl.gz --speed 100x --from 2024-03-01",
        "headrace publish --catalogue items.jsonl  # titles, prices",
        "cat new.jsonl | headrace publish -",
    ],
)
@click.argument("log", required=False)
@click.option(
    "--speed", type=Speed(), default="max", show_default=True, help="100x: that much faster than it happened."
)
@click.option("--from", "start", type=Instant(), help="First event time: ISO date or ms.")
@click.option("--to", "end", type=Instant(), help="Event time to stop before.")
@click.option("--catalogue", metavar="FILE", help="Items (JSON Lines) to publish before, or instead of, a log.")
@with_settings
def command(
    log: str | None, speed: float, start: int | None, end: int | None, catalogue: str | None, settings: Settings
) -> None:
    """Play LOG (JSON Lines, .gz or Parquet; - is standard input) into topic events.

    Records that are no events are published too: they end as dead letters.
    """
    if log is None and catalogue is None:
        raise click.UsageError("expected a LOG or --catalogue FILE")
    if catalogue is not None:
        began = time.monotonic()
        with _progress("items", catalogue) as progress:
            count = publishing.publish_catalogue(settings, recorded_log.read(catalogue, progress), catalogue)
        click.echo(_summary(count, "items", time.monotonic() - began))
    if log is not None:
        began = time.monotonic()
        with _progress("events", log) as progress:
            lines = recorded_log.read(log, progress)
            pace = publishing.Pace(speed if speed > 0 else None)
            tally = publishing.publish_log(settings, lines, pace, start, end, linger_ms=5 if speed > 0 else 20)
        click.echo(_summary(tally.events, "events", time.monotonic() - began))
        if tally.unkeyed:
            click.echo(f"headrace: warning: records without a user, sent without a key: {tally.unkeyed:,}", err=True)
        if tally.late:
            click.echo(f"headrace: warning: events older than one before them: {tally.late:,}", err=True)


def _summary(count: int, what: str, seconds: float) -> str:
    what = what.removesuffix("s") if count == 1 else what
    return f"published {count:,} {what} in {seconds:.1f} s ({count / max(seconds, 1e-9):,.0f}/s)"


@contextlib.contextmanager
def _progress(what: str, path: str) -> Iterator[Callable[[int], None] | None]:
    """A bar on stderr that follows the bytes read; None where nobody would see it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn(f"publishing {what}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=recorded_log.size(path))
        yield lambda done: bar.update(task, completed=done)
