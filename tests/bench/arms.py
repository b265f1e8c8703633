"""What variants learn from, and what that does to a comparison and to everybody else: shared against isolated, in replays of a log."""

from __future__ import annotations

from itertools import islice

import click

from online_models.metrics import NAMES
from streams import recorded_log
from streams.config import PipelineConfig
from streams.contracts.events import Event
from streams.contracts.experiments import Definition, Variant
from streams.experiment_rules import alone
from streams.replay import Replay
from streams.validate import validate

POPULAR = ("popular-100", "popular-1000")
TWICE = (Variant(name="a"), Variant(name="b"))
WORSE = (Variant(name="a"), Variant(name="b", sources=POPULAR))


@click.command()
@click.argument("log")
@click.option("--limit", default=40_000, show_default=True, help="Events.")
def command(log: str, limit: int) -> None:
    """Print two Markdown tables of HR@20 of the fresh lists: by arm, and of who is in no arm."""
    click.echo("| variants | learning | HR@20 of the first | HR@20 of the second | moments |\n|---|---|---|---|---|")
    small = (Variant(name="a", weight=90), Variant(name="b", weight=10))
    for title, variants in (
        ("the same twice, 90 : 10", small), ("all sources, popular ones only, 50 : 50", WORSE),
    ):  # fmt: skip
        for learning in ("shared", "isolated"):
            arms, _ = _replayed(log, limit, Definition(name="arms", variants=variants, learning=learning))
            (a, n), (b, m) = (arms[f"arms/{v.name}"] for v in variants)
            click.echo(f"| {title} | {learning} | {a:.4f} | {b:.4f} | {n:,} / {m:,} |")
    half = _time(log, limit // 2)
    click.echo(
        "\n| variants | learning | outside, half the traffic | afterwards, all in it before |\n|---|---|---|---|"
    )
    for title, variants in (("the same twice", TWICE), ("all sources, popular ones only", WORSE)):
        for learning in ("shared", "isolated"):
            first, second = (
                Definition(name="arms", variants=variants, learning=learning, traffic=0.5),
                Definition(name="arms", variants=variants, learning=learning, end=half),
            )
            values = [_replayed(log, limit, d)[1] for d in (first, second)]
            click.echo(f"| {title} | {learning} | " + " | ".join(f"{v:.4f} ({n:,})" for v, n in values) + " |")


def _time(log: str, n: int) -> int:
    """When the n-th event was."""
    found = (validate(raw, None, str(line)) for line, raw in enumerate(recorded_log.read(log)))
    return next(islice((e.timestamp for e in found if isinstance(e, Event)), n, None))


def _replayed(log: str, limit: int, definition: Definition) -> tuple[dict[str, tuple[float, int]], tuple[float, int]]:
    """HR@20 and moments: by arm, and of the moments in none."""
    replay = Replay(log, PipelineConfig(), limit=limit, experiments=(alone(definition, 0),))
    replay.run()
    q, hr = replay.pipeline.prequential, NAMES.index("hr@20")
    arms = {arm: (float(sums[hr]) / n, n) for arm, (n, sums) in q.by_arm.items()}
    n = q.scored - sum(n for _, n in arms.values())
    hits = float(q.sums[0, hr]) - sum(value * n for value, n in arms.values())
    return arms, (hits / max(n, 1), n)
