"""What variants learn from, and what that does to a comparison: shared against isolated, in replays of a log."""

from __future__ import annotations

import click

from streams.config import PipelineConfig
from streams.contracts.experiments import Definition, Variant
from streams.experiment_rules import alone
from streams.replay import Replay

POPULAR = ("popular-100", "popular-1000")


@click.command()
@click.argument("log")
@click.option("--limit", default=60_000, show_default=True, help="Events.")
def command(log: str, limit: int) -> None:
    """Print a Markdown table: HR@20 of the fresh lists by arm."""
    click.echo("| variants | learning | HR@20 of the first | HR@20 of the second | moments |\n|---|---|---|---|---|")
    for title, variants in (
        ("the same twice, 90 : 10", (Variant(name="a", weight=90), Variant(name="b", weight=10))),
        ("all sources, popular ones only, 50 : 50", (Variant(name="a"), Variant(name="b", sources=POPULAR))),
    ):
        for learning in ("shared", "isolated"):
            definition = Definition(name="arms", variants=variants, learning=learning)
            found = _arms(log, limit, definition)
            a, b = (found[f"arms/{v.name}"] for v in variants)
            click.echo(
                f"| {title} | {learning} | {a['hr@20']:.4f} | {b['hr@20']:.4f} | {a['moments']:,} / {b['moments']:,} |"
            )


def _arms(log: str, limit: int, definition: Definition) -> dict[str, dict[str, float]]:
    replay = Replay(log, PipelineConfig(), limit=limit, experiments=(alone(definition, 0),))
    found: dict[str, dict[str, float]] = replay.run()["by_arm"]
    return found
