"""Is a replay the same to the byte, whatever Python's hash seed and however the events are cut into micro-batches?"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

RUNS = ((0, 1), (1, 7), (4242, 512))
"""PYTHONHASHSEED and size of a micro-batch."""


def digests(log: str, seed: int, batch: int, folder: Path) -> tuple[str, str]:
    """SHA-256 of what ``--recs-out`` and ``--published`` hold after one replay."""
    outs = [folder / "recs.jsonl", folder / "published.jsonl"]
    args = ["replay", log, "--batch", str(batch), "--recs-out", str(outs[0]), "--published", str(outs[1]), "--json"]
    subprocess.run(
        [sys.executable, "-m", "infra.cli", *args],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONHASHSEED": str(seed)},
    )
    recs, published = (hashlib.sha256(out.read_bytes()).hexdigest()[:12] for out in outs)
    return recs, published


@click.command()
@click.argument("logs", nargs=-1, required=True)
def command(logs: tuple[str, ...]) -> None:
    """Replay each of LOGS three times, with three hash seeds and sizes of a micro-batch, and compare every byte."""
    click.echo("| log | lists | published | three runs |\n|---|---|---|---|")
    differ = 0
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        for log in logs:
            found = {digests(log, seed, batch, Path(folder)) for seed, batch in RUNS}
            differ += len(found) > 1
            recs, published = min(found)
            verdict = "identical" if len(found) == 1 else f"{len(found)} different outputs"
            click.echo(f"| {Path(log).name.split('.')[0]} | {recs} | {published} | {verdict} |")
    sys.exit(min(differ, 1))
