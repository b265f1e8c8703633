"""The losses of the factors on recorded logs: the factors' own list and the blend, as a Markdown table."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from online_models.losses import LOSSES
from tests.bench.quality import replay


@click.command()
@click.argument("logs", nargs=-1, required=True)
def command(logs: tuple[str, ...]) -> None:
    """Replay LOGS under each loss and print HR@20 / NDCG@20 / coverage of the factors' list, and HR@20 / NDCG@20 of the blend."""
    click.echo("| log | loss | factors: HR@20 / NDCG@20 / coverage | blend: HR@20 / NDCG@20 |")
    click.echo("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "headrace.toml")
        for log in logs:
            for loss in LOSSES:
                config.write_text(f'[pipeline.sources.factors]\nloss = "{loss}"\n')
                r = replay(log, Path(folder, "recs.jsonl.gz"), "--config", str(config))
                own = " / ".join(f"{r['by_source']['mf'][m]:.4f}" for m in ("hr@20", "ndcg@20", "coverage@20"))
                blend = " / ".join(f"{r['metrics'][m]:.4f}" for m in ("hr@20", "ndcg@20"))
                click.echo(f"| {Path(log).name.split('.')[0]} | `{loss}` | {own} | {blend} |")
