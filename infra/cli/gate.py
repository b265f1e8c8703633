"""``headrace gate``: may this version replace the live one?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.table import Table

from infra.cli.helps import Command
from infra.settings import Settings, with_settings

if TYPE_CHECKING:
    from offline.gate import Verdict

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    "gate",
    cls=Command,
    short_help="Compare an artefact with the live one: may it be published?",
    examples=[
        "headrace gate model-2 --live model --log log.jsonl.gz",
        "headrace gate model --log log.jsonl.gz  # the first one",
    ],
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--live", type=FOLDER, help="The artefact that is live; without one, the candidate has to beat popularity."
)
@click.option(
    "--log", "log_path", type=click.Path(path_type=Path), required=True, help="Recorded log, or archive folder."
)
@click.option(
    "--margin",
    metavar="SHARE",
    type=click.FloatRange(0, 1),
    default=0.02,
    show_default=True,
    help="Share that it may be worse.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON instead of a table.")
@with_settings
def command(
    folder: Path, live: Path | None, log_path: Path, margin: float, as_json: bool, settings: Settings
) -> None:  # fmt: skip
    """Score the artefact DIR beside the live one on the newest events of LOG: those that neither has learned from or was chosen by.

    Exit status 1, with the numbers, when it must not be published.
    """
    from offline import gate, log
    from online_models import embeddings

    weights = settings.pipeline.weights
    found = log.read(log_path, [k for k, w in weights.items() if w > 0], settings.pipeline.sessions.gap_s * 1000)
    beside = embeddings.verify(live) if live is not None else None
    verdict = gate.judge(embeddings.verify(folder), found, beside, gate.GateConfig(margin=margin))
    if as_json:
        click.echo(msgspec.json.encode(verdict).decode())
    else:
        _show(verdict)
    verdict.require()


def _show(verdict: Verdict) -> None:
    title = f"{verdict.version} against {verdict.against}, {verdict.queries:,} queries"
    table = Table(title=title, title_justify="left")
    for name in ("metric", "candidate", "other", "difference", "interval"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for name, d in verdict.differences.items():
        table.add_row(name, f"{d.candidate:.4f}", f"{d.other:.4f}", f"{d.mean:+.4f}", f"{d.low:+.4f} … {d.high:+.4f}")
    console = Console()
    console.print(table)
    console.print(", ".join(f"{name} {value:.3g}" for name, value in verdict.sanity.items()))
