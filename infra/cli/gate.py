"""``headrace gate``: may this version replace the live one?"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from infra.cli.helps import Command
from infra.cli.publish_model import in_use
from infra.cli.tables import console
from infra.cli.train import training_log
from infra.records import when
from infra.settings import Settings, with_settings
from online_models import embeddings
from online_models.errors import ServiceError

if TYPE_CHECKING:
    from offline.gate import GateConfig, Verdict
    from online_models.embeddings import Artefact


FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    "gate",
    cls=Command,
    short_help="Compare an artefact with the live one: may it be published?",
    examples=[
        "headrace gate model-2  # beside what is live",
        "headrace gate model-2 --live model --log log.jsonl.gz",
        "headrace gate model --popularity --log log.jsonl.gz  # the first one",
    ],
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--live", type=FOLDER, help="The artefact to compare with; by default the one that the workers have live."
)
@click.option("--popularity", is_flag=True, help="Compare with popularity, as where nothing is live.")
@click.option(
    "--log",
    "log_path",
    type=click.Path(path_type=Path),
    help="Recorded log, or archive folder; by default archive/ in the data folder.",
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
    folder: Path, live: Path | None, popularity: bool, log_path: Path | None, margin: float, as_json: bool,
    settings: Settings,
) -> None:  # fmt: skip
    """Score the artefact DIR beside the live one on the newest events of LOG: those that neither has learned from or was chosen by.

    Where nothing is live, or no broker answers who would know, it has to beat popularity.

    Exit status 1, with the numbers, when it must not be published.
    """
    from infra import archive
    from offline import gate

    if live is not None and popularity:
        raise click.UsageError("--live and --popularity exclude one another")
    events = training_log(settings, log_path or archive.default_folder(settings))
    config = gate.GateConfig(margin=margin)
    with _beside(live, popularity, settings) as other:
        verdict = gate.judge(embeddings.verify(folder), events, other, config)
    if as_json:
        click.echo(msgspec.json.encode({**msgspec.to_builtins(verdict), "accepted": verdict.passed}).decode())
    else:
        _show(console(), verdict, config)
    verdict.require()


@contextlib.contextmanager
def _beside(live: Path | None, popularity: bool, settings: Settings) -> Iterator[Artefact | None]:
    """What to compare with, None for popularity; what is not told is looked up, and said."""
    if live is not None or popularity:
        yield embeddings.verify(live) if live is not None else None
        return
    from offline.fetch import fetched

    try:
        announced = in_use(settings).live
    except ServiceError as error:
        click.echo(f"headrace: what is live is not known, popularity stands in: {error}", err=True)
        yield None
        return
    told = "nothing is live: beside popularity" if announced is None else f"beside {announced.version}, which is live"
    click.echo(f"headrace: {told}", err=True)
    with tempfile.TemporaryDirectory() as copies:
        yield None if announced is None else embeddings.verify(fetched(announced, Path(copies)))


def _show(out: Console, verdict: Verdict, config: GateConfig) -> None:
    asked = f"{verdict.queries:,} next-item queries since {when(verdict.since_ms)}"
    out.print(f"{verdict.version} beside {verdict.against}: {asked}", soft_wrap=True)
    quality = _table("metric", "candidate", "the other", "difference", f"{config.confidence:.0%} interval", "allowed")
    for name, d in verdict.differences.items():
        interval = f"{d.low:+.4f} … {d.high:+.4f}"
        allowed = f"{-config.margin * d.other:+.4f}"
        quality.add_row(name, f"{d.candidate:.4f}", f"{d.other:.4f}", f"{d.mean:+.4f}", interval, allowed)
    if verdict.differences:
        out.print(quality)
    sanity = _table("of the candidate alone", "found", "allowed")
    for row in _checks(verdict.sanity, config):
        sanity.add_row(*row)
    out.print(sanity)
    out.print(_told(verdict, config), soft_wrap=True)


def _told(verdict: Verdict, config: GateConfig) -> str:
    """The verdict in a line.

    >>> from offline.gate import GateConfig, Verdict
    >>> _told(Verdict("b-2", "a-1", 0, 300, {}, {}, []), GateConfig())
    'accepted: b-2 is sane, and less than 2% worse than a-1 (margin), with 95% confidence'
    >>> _told(Verdict("b-2", "a-1", 0, 300, {}, {}, ["x", "y"]), GateConfig())
    'refused with a margin of 2%, for 2 reasons'
    """
    if verdict.faults:
        reasons = f"{len(verdict.faults)} reason{'s' * (len(verdict.faults) > 1)}"
        return f"refused with a margin of {100 * config.margin:g}%, for {reasons}"
    worse = f"less than {100 * config.margin:g}% worse than {verdict.against} (margin)"
    return f"accepted: {verdict.version} is sane, and {worse}, with {config.confidence:.0%} confidence"


def _checks(found: dict[str, float], config: GateConfig) -> Iterator[tuple[str, str, str]]:
    """What was looked at besides quality, in words: what it is, what was found, what is allowed."""
    yield "vectors without NaN or infinity", f"{found['finite']:.2%}", "100%"
    times = found["norm_max"] / found["norm_median"] if found["norm_median"] else math.inf
    yield "largest norm of a vector, in medians", f"{times:.3g}", f"at most {config.norm:g}"
    lowest, highest = config.norms
    most = max(found["norm_max"], found["bias_max"])
    yield "median norm; largest norm or bias", f"{found['norm_median']:.3g}; {most:.3g}", f"{lowest:g} to {highest:g}"
    yield "mean cosine of two items (1: all alike)", f"{found['cosine']:.3f}", f"at most {config.cosine:g}"
    yield "directions that the vectors use", f"{found['directions']:.1f}", f"at least {config.directions:g}"
    yield "newest events on items that it knows", f"{found['known']:.1%}", f"at least {config.known:.0%}"
    if "coverage" in found:
        yield (
            "items of the other that it knows, by events",
            f"{found['coverage']:.1%}",
            f"at least {config.coverage:.0%}",
        )


def _table(first: str, *others: str) -> Table:
    table = Table(first, box=box.SIMPLE_HEAD, pad_edge=False)
    for name in others:
        table.add_column(name, justify="right")
    return table
