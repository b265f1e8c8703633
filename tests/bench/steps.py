"""What the query of a session takes, by how long the session is, as a Markdown table."""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np

from online_models import embeddings, encoder
from online_models.deep import STEPS

RUNS = 500
LONG = (1, 5, 10, STEPS, STEPS + 1)


@click.command()
@click.argument("artefacts", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def command(artefacts: tuple[Path, ...]) -> None:
    """Print microseconds (median) until the query after one more event is there, where the session before it is still kept."""
    click.echo(f"| model, dims | {' | '.join(map(str, LONG))} |\n|---|{'---|' * len(LONG)}")
    rng = np.random.default_rng(0)
    for folder in artefacts:
        artefact = embeddings.read(folder)
        found = encoder.load(artefact)
        assert found is not None
        cells = [f"{_median(found, rng.integers(0, len(artefact.vectors), n)):.0f}" for n in LONG]
        click.echo(f"| {artefact.manifest.kind}, {artefact.vectors.shape[1]} | {' | '.join(cells)} |")


def _median(found: encoder.Encoder, rows: encoder.Rows) -> float:
    times = []
    stepping = isinstance(found, encoder.Stepping) and len(rows) <= min(STEPS, found.length - 1)
    memory = found.start() if stepping else None
    for row in rows[:-1] if stepping else ():
        memory, _ = found.step(memory, int(row))
    for _ in range(RUNS):
        began = time.perf_counter()
        if stepping:
            found.step(memory, int(rows[-1]))
        else:
            found.encode(rows)
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1e6
