"""What the query of a session takes, by how long the session is, as a Markdown table."""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np

from online_models import embeddings, encoder
from online_models.deep import STEPS

RUNS = 500
LONG = (1, 5, 10, 20, STEPS)
ANEW = 20
"""Events that are left of a session whose older half goes: these are stepped through again."""


@click.command()
@click.argument("artefacts", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def command(artefacts: tuple[Path, ...]) -> None:
    """Print microseconds (median) until the query after one more event is there, where the session before it is still kept, by its events;
    and where none is kept of so many."""
    click.echo(f"| model, dims | {' | '.join(map(str, LONG))} | {ANEW}, none kept |\n|---|{'---|' * len(LONG)}---|")
    rng = np.random.default_rng(0)
    for folder in artefacts:
        artefact = embeddings.read(folder)
        found = encoder.load(artefact)
        assert found is not None
        sessions = [rng.integers(0, len(artefact.vectors), n) for n in (*LONG, ANEW)]
        cells = [f"{_median(found, rows, n < len(LONG)):.0f}" for n, rows in enumerate(sessions)]
        click.echo(f"| {artefact.manifest.kind}, {artefact.vectors.shape[1]} | {' | '.join(cells)} |")


def _median(found: encoder.Encoder, rows: encoder.Rows, kept: bool) -> float:
    times = []
    stepping = isinstance(found, encoder.Stepping) and len(rows) <= min(STEPS, found.length - 1)
    start = found.start() if stepping else None
    new = rows[-1:] if kept else rows
    for row in rows[:-1] if stepping and kept else ():
        start, _ = found.step(start, int(row))
    for _ in range(RUNS):
        began = time.perf_counter()
        memory = start
        if stepping:
            for row in new:
                memory, _ = found.step(memory, int(row))
        else:
            found.encode(rows)
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1e6
