"""Prequential quality and replay speed on recorded logs, one default configuration for all, as a Markdown table."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click

METRICS = ("hr@20", "mrr@20", "ndcg@20")


def replay(log: str, recs: Path, *more: str) -> dict:
    """The report of a replay in a process of its own, with ``more`` arguments."""
    args = [sys.executable, "-m", "infra.cli", "replay", log, "--recs-out", str(recs), "--json", *more]
    done = subprocess.run(args, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def score(scorer: str, log: str, recs: Path) -> dict[str, float]:
    """What an independent scorer says of the lists."""
    done = subprocess.run([sys.executable, scorer, log, str(recs)], check=True, capture_output=True, text=True)
    return {k.lower(): v for k, v in json.loads(done.stdout).items()}


@click.command()
@click.argument("logs", nargs=-1, required=True)
@click.option("--scorer", help="A script that scores LOG RECS independently; its figures must agree to 4 digits.")
def command(logs: tuple[str, ...], scorer: str | None) -> None:
    """Replay LOGS and print HR@20 / MRR@20 / NDCG@20 of fresh and served lists, speed and memory."""
    click.echo(
        "| log | events | judged | fresh | served | events/s | p50 / p99 ms | RSS MB at 25/50/75/100 % | scorer |"
    )
    click.echo("|---|---|---|---|---|---|---|---|---|")
    wrong = False
    with tempfile.TemporaryDirectory() as folder:
        for log in logs:
            recs = Path(folder, "recs.jsonl.gz")
            r = replay(log, recs)
            agrees = "–"
            if scorer:
                theirs = score(scorer, log, recs)
                same = all(abs(theirs[m] - r["metrics"][m]) < 5e-5 for m in (*METRICS, "recall@20"))
                wrong |= not same
                agrees = "agrees" if same else "DIFFERS"
            fresh, served = (" / ".join(f"{r[part][m]:.4f}" for m in METRICS) for part in ("metrics", "served"))
            rss = " / ".join(f"{mb:.0f}" for mb in r["rss_mb_at_percent"].values())
            ms = r["latency_ms"]
            click.echo(
                f"| {Path(log).name.split('.')[0]} | {r['events']:,} | {r['scored']:,} | {fresh} | {served} | "
                f"{r['events_per_s']:,.0f} | {ms['p50']:.2f} / {ms['p99']:.2f} | {rss} | {agrees} |"
            )
    if wrong:
        raise click.ClickException("expected the scorer to agree with the report, got other figures; see the table")
