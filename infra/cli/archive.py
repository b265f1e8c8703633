"""``headrace archive``: keep the events as Parquet files, for training."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import click

from infra.cli.helps import Command
from infra.cli.parameters import Duration
from infra.settings import Settings, with_settings


@click.command(
    "archive",
    cls=Command,
    short_help="Keep the events as Parquet files by date, for training.",
    examples=[
        "headrace archive --once  # up to now",
        "headrace archive --out archive --roll 1m",
    ],
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The archive's folder; archive in the data folder if not given.",
)
@click.option("--once", is_flag=True, help="End where the topic ends now.")
@click.option(
    "--roll-events",
    metavar="N",
    type=click.IntRange(1),
    default=100_000,
    show_default=True,
    help="Write after N records of a partition.",
)
@click.option(
    "--roll",
    metavar="DURATION",
    type=Duration(),
    default="5m",
    show_default=True,
    help="Write what has waited for so long.",
)
@with_settings
def command(out: Path | None, once: bool, roll_events: int, roll: float, settings: Settings) -> None:
    """Write topic events to DIR/date=YYYY-MM-DD/*.parquet, each event once, until SIGTERM or Ctrl-C.

    It goes on where the archive ends, also after a crash. What is no event is left out and counted.
    """
    from infra import archive

    when = archive.Roll(roll_events, roll)
    if once:
        click.echo(archive.archive_once(settings, out, when, _warn))
        return
    with _signals() as (stop, interrupted):
        click.echo(archive.follow(settings, out, when, _warn, stop))
    if interrupted():
        raise KeyboardInterrupt


def _warn(message: str) -> None:
    click.echo(f"headrace: warning: {message}", err=True)


@contextlib.contextmanager
def _signals() -> Iterator[tuple[Callable[[], bool], Callable[[], bool]]]:
    """Whether SIGTERM or SIGINT has come, and whether it was SIGINT. A second one ends the process as usual."""
    got: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        got.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, note)
    try:
        yield (lambda: bool(got)), (lambda: signal.SIGINT in got)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
