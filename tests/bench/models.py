"""Every offline model with its defaults on a log: next-item quality on the newest tenth, training speed, cost of a query without torch."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import numpy as np

from infra.cli.train import config_of
from offline import gate, job, log
from offline.model import KINDS
from online_models import embeddings, encoder


def query_us(artefact: embeddings.Artefact, length: int) -> float:
    """Microseconds from a session of so many events to its query, median."""
    found = encoder.load(artefact)
    assert found is not None
    rng = np.random.default_rng(0)
    times = []
    for _ in range(300):
        rows = rng.integers(0, len(artefact.ids), length)
        began = time.perf_counter()
        found.encode(rows)
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1e6


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--model", "models", multiple=True, type=click.Choice(list(KINDS)), help="Only these.")
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="A setting of the trainer.")
def command(path: Path, models: tuple[str, ...], values: tuple[str, ...]) -> None:
    """Train each model on LOG but its newest tenth and print HR@20 / MRR@20 there, beside popularity, as a Markdown table."""
    found = log.read(path)
    click.echo(
        "| model | HR@20 / MRR@20 | popularity | epochs | events/s | query of 5 events, µs |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for kind in models or tuple(KINDS):
            run = job.train(found, Path(folder, kind), config_of(kind, values, {})).run
            artefact = embeddings.verify(Path(folder, kind))
            d = gate.judge(artefact, found).differences
            ours, theirs = (" / ".join(f"{getattr(d[m], w):.4f}" for m in gate.METRICS) for w in ("candidate", "other"))
            speed = f"{run.events / run.seconds:,.0f}"
            click.echo(f"| `{kind}` | {ours} | {theirs} | {run.best + 1} | {speed} | {query_us(artefact, 5):.0f} |")
