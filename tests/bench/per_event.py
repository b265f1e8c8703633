"""What an event takes, everything on, one core: the stream of a set with periods, one event at a time, as a Markdown table."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path

import click
import msgspec

from infra.quality import ader
from infra.settings import Settings
from streams.replay import Replay


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--limit", type=int, default=200_000, show_default=True, help="Events from the start.")
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="With an artefact of a deep model, too.")
@click.option("--runs", type=int, default=3, show_default=True)
def command(folder: Path, limit: int, model: Path | None, runs: int) -> None:
    """Play the stream of the set in FOLDER, and print milliseconds an event: scored before and after it, learned and judged."""
    config = Settings().pipeline
    config = msgspec.structs.replace(config, filters=msgspec.structs.replace(config.filters, repeats=True))
    click.echo("| deep model | events | events/s | mean, ms | p50 | p95 | p99 | resident MB |")
    click.echo("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch, "log.jsonl")
        with log.open("wb") as out:
            for event, _ in islice(ader.events(ader.read(folder)), limit):
                out.write(msgspec.json.encode(event) + b"\n")
        for _ in range(runs):
            for deep in (None, model) if model is not None else (None,):
                r = Replay(str(log), config, model=deep).run()
                rate, ms = r["events_per_s"], r["latency_ms"]
                mean, tails = 1000.0 / rate, " | ".join(f"{ms[q]:.2f}" for q in ("p50", "p95", "p99"))
                held = max(r["rss_mb_at_percent"].values())
                click.echo(
                    f"| {'yes' if deep else 'no'} | {r['events']:,} | {rate:,.0f} | {mean:.2f} | {tails} | {held:,.0f} |"
                )
