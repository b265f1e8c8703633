"""``headrace worker``: read events, learn, publish recommendations, answer HTTP."""

from __future__ import annotations

import click

from infra.cli.helps import Command
from infra.settings import Settings, with_settings


@click.command(
    "worker",
    cls=Command,
    short_help="Learn from events and publish recommendations; start several.",
    examples=[
        "headrace worker --broker 127.0.0.1:9092 --redis redis://127.0.0.1:6379/0",
        "headrace worker --web 127.0.0.1:0",
    ],
)
@click.option(
    "--log-level", metavar="LEVEL", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True,
    help="What is told on stderr: debug, info, warning or error.",
)  # fmt: skip
@with_settings
def command(settings: Settings, log_level: str) -> None:
    """Run one worker; start more for more partitions at a time. SIGTERM stops it cleanly."""
    from infra.worker import run

    run(settings, log_level)
