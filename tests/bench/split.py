"""Assignments of units to variants a second, on one core: many at once, and one by one."""

from __future__ import annotations

import time

import click

from online_models.experiments.split import Split, allocate, counts


@click.command()
@click.option("--units", default=1_000_000, show_default=True)
def command(units: int) -> None:
    """Print a Markdown table."""
    split = Split("bench", allocate(counts({"control": 90, "new": 10}, traffic=0.5)))
    ids = [f"user-{n}" for n in range(units)]
    click.echo("| way | million assignments a second, best of three |\n|---|---|")
    for name, run in (
        ("many at once", lambda: split.variants(ids)),
        ("one by one", lambda: [split.variant(i) for i in ids]),
    ):
        best = min(_seconds(run) for _ in range(3))
        click.echo(f"| {name} | {units / best / 1e6:.1f} |")


def _seconds(run: object) -> float:
    assert callable(run)
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
