"""``headrace worker``: read events, learn, publish recommendations, answer HTTP."""

from __future__ import annotations

import click

from infra.settings import Settings, with_settings


@click.command("worker")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True,
    help="What is told on stderr.",
)  # fmt: skip
@with_settings
def command(settings: Settings, log_level: str) -> None:
    """Run one worker; start more for more partitions at a time. SIGTERM stops it cleanly."""
    from infra.worker import run

    run(settings, log_level)
