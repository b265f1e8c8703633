"""``headrace archive``: keep the events as Parquet files, for training."""

from __future__ import annotations

from pathlib import Path

import click

from infra.cli.helps import Command
from infra.cli.parameters import Duration
from infra.cli.signals import until_told
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
    with until_told() as (stop, interrupted):
        click.echo(archive.follow(settings, out, when, _warn, stop.is_set))
    if interrupted():
        raise KeyboardInterrupt


def _warn(message: str) -> None:
    click.echo(f"headrace: warning: {message}", err=True)
