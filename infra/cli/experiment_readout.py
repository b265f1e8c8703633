"""``headrace experiment readout``: what an experiment has shown so far."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from infra.cli.helps import Command
from infra.cli.parameters import TUNING, Duration
from infra.settings import Settings, with_settings
from infra.whole_files import write_whole
from online_models.errors import InputError

if TYPE_CHECKING:
    from online_models.experiments.multiple import Correction
    from streams.contracts.experiments import Experiment
    from streams.readout.result import Compared, Preferred, Result
    from streams.readout.shares import Split
    from streams.readout.tally import Tally

_WIDTH = 140
RECORDED = "recorded"
"""State of an experiment that is read out of files: it neither runs nor was stopped."""


@click.command(
    "readout",
    cls=Command,
    short_help="What has it shown? May be looked at always.",
    examples=[
        "headrace experiment readout knn-off",
        "headrace experiment readout knn-off --watch --act  # stop harm",
        "headrace experiment readout knn-off --html page.html --json",
        "headrace experiment readout --file x.yaml --log l --published p",
    ],
)
@click.argument("name", metavar="[NAME]", required=False)
@click.option(
    "--file",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The definition (YAML), with --log and --published.",
)
@click.option("--log", metavar="LOG", help="A recorded log instead of topic `events`.")
@click.option("--published", metavar="FILE", help="The lists of its replay instead of topic `recommendations`.")
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option("--every", type=Duration(1.0), default=10.0, show_default="10s", help="Time between two looks.")
@click.option(
    "--act", is_flag=True, help="Stop the experiment where it does harm or shares do not match; move a bandit's shares."
)
@click.option("--period", type=Duration(1.0), default=86_400.0, show_default="24h", help="Of the interval over time.")
@click.option(
    "--units",
    "min_units",
    metavar="N",
    type=click.IntRange(2),
    default=100,
    show_default=True,
    help="Fewest of a variant for a result.",
)
@TUNING
@click.option(
    "--correction",
    type=click.Choice(["holm", "bh"]),
    default="holm",
    show_default=True,
    help="Of p-values, for several variants.",
)
@click.option(
    "--partition",
    "partitions",
    metavar="N",
    type=click.IntRange(0),
    multiple=True,
    help="Of `events`, to count only these.",
)
@click.option("--save", "save_to", metavar="FILE", type=click.Path(path_type=Path), help="Write the sums, for --merge.")
@click.option(
    "--merge", metavar="FILE", multiple=True, type=click.Path(path_type=Path), help="Sums to add, instead of counting."
)
@click.option(
    "--max-users",
    metavar="N",
    type=click.IntRange(1),
    default=300_000,
    show_default=True,
    help="Remembered at a time, 9 kB each at most.",
)
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="Write a page.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a look.")
@with_settings
def command(
    name: str | None, file: Path | None, log: str | None, published: str | None, watch: bool, every: float, act: bool, period: float,
    min_units: int, tuning: float, correction: Correction,
    partitions: tuple[int, ...], save_to: Path | None, merge: tuple[Path, ...], max_users: int, html: Path | None,
    as_json: bool, settings: Settings,
) -> None:  # fmt: skip
    """Read out experiment NAME: effects with intervals that may be looked at always, shares, guardrails, and what may be concluded."""
    from infra import experiment_readout
    from streams.readout.result import read_out

    recorded = file is not None or log is not None or published is not None
    if recorded and (file is None or log is None or published is None or watch or act):
        raise click.UsageError("--file, --log and --published go together, without --watch and --act")
    if merge and (watch or act or partitions):
        raise click.UsageError("--merge adds sums that were saved: it goes without --watch, --act and --partition")
    if act and partitions:
        raise click.UsageError("--act goes by all partitions: leave --partition out")
    if (name is None) != recorded:
        raise click.UsageError("name an experiment, or give --file, --log and --published")
    seconds = round(period)
    for experiment, tally in _looks(
        settings, name, file, log, published, seconds, partitions, merge, every if watch else None, max_users
    ):
        if save_to is not None:
            experiment_readout.save(tally, save_to)
        result = read_out(experiment, tally, tuning, min_units, correction)
        if recorded:
            result = replace(result, state=RECORDED)
        changed = experiment_readout.act(settings, experiment, result, tally) if act else None
        if html is not None:
            from infra.web.readout_page import page

            write_whole(html, page(result).encode())
        if as_json:
            click.echo(experiment_readout.as_json(result))
        else:
            _show(result, watch)
        if changed is not None:
            what = "stopped" if changed.state == "stopped" else "ramped"
            click.echo(f"headrace: {changed.definition.name} was {what}: {changed.reason}", err=True)


def _looks(
    settings: Settings, name: str | None, file: Path | None, log: str | None, published: str | None, period_s: int,
    partitions: tuple[int, ...], merge: tuple[Path, ...], every_s: float | None, max_users: int,
) -> Iterable[tuple[Experiment, Tally]]:  # fmt: skip
    from infra import experiment_readout, experiments

    if file is not None and log is not None and published is not None:
        from streams.experiment_rules import alone

        experiment = alone(experiments.read_definition(file), 0)
        return [(experiment, experiment_readout.of_files(experiment, log, published, period_s, max_users))]
    if name is None:
        raise InputError("the name of an experiment", "none", "see `headrace experiment list`")
    experiment = experiments.find(experiments.read(settings), name)
    if merge:
        return [(experiment, experiment_readout.merged(experiment, merge))]
    return experiment_readout.looks(settings, experiment, period_s, frozenset(partitions) or None, every_s, max_users)


def _show(result: Result, watched: bool) -> None:
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    if watched:
        console.print(f"\n{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} UTC")
    units = ", ".join(f"{v} {n:,}" for v, n in result.units.items())
    until = f" until {_when(result.until_ms)}" if result.events else ""
    console.print(
        f"[bold]{result.experiment}[/] ({result.state}): {units} units; {result.lists:,} lists, {result.events:,} events{until}"
    )
    if result.lost:
        console.print(
            f"[bold]{result.lost:,} lists are not counted[/]: they, or what came of them, came too late, or for too many strangers"
        )
    if result.mixed:
        console.print(f"{result.mixed:,} units saw several variants and are left out")
    if result.preference is not None:
        p = result.preference
        console.print(f"of {p.lists:,} lists with a click, {p.variant} against {p.control}: {_preference(p)}")
        console.print(f"[bold]{result.verdict}[/]")
        return
    if result.since:
        console.print(
            f"compared are units first exposed since ramp {result.since}: before, proportions were others, or are not known any more"
        )
    if result.changes:
        console.print(
            f"proportions were changed {result.changes} times: what was found since then is judged at {result.alpha:.2g}, so that all the "
            "stretches together are wrong hardly more often than one"
        )
    table = Table(title=f"against {result.control}", title_justify="left")
    for column in (
        "metric",
        "variant",
        f"value of {result.control}",
        "value of variant",
        "relative effect",
        f"{100 * (1 - result.alpha):.4g}% interval, always valid",
        f"{100 * (1 - result.alpha):.4g}% interval, fixed horizon",
        f"p, always valid ({result.correction})",
    ):
        table.add_column(column, justify="left" if column in ("metric", "variant") else "right", overflow="fold")
    for m in result.metrics:
        for c in m.variants:
            star = " *" if m.metric == result.primary else ""
            table.add_row(f"{m.metric}{star}", c.variant, _number(c.control), _number(c.value), *_cells(c))
    console.print(table)
    for m in result.metrics:
        for c in m.variants:
            if why := _no_result(c):
                console.print(f"no result yet for {m.metric} of {c.variant}: {why}")
    for s in result.splits:
        console.print(f"shares, ramp {s.ramp}: {_share_words(s)}")
    for g in result.guardrails:
        console.print(f"guardrail {g.metric} of {g.variant} (margin {g.margin:.1%}): {g.found.verdict.value}")
    if result.guard_alpha is not None and len(result.guardrails) > 1:
        console.print(
            f"guardrails are judged at {result.guard_alpha:.2g} each, so that all {len(result.guardrails)} together are at {result.alpha:g}"
        )
    console.print(f"[bold]{result.verdict}[/]")


def _cells(c: Compared) -> tuple[str, str, str, str]:
    from online_models.experiments.effects import NoResult

    if isinstance(c.effect, NoResult) or c.always is None or c.fixed is None or c.adjusted_p is None:
        return "no result yet", "", "", ""
    always, once = (f"{i.low:+.1%} to {i.high:+.1%}" for i in (c.always, c.fixed))
    return f"{c.effect.estimate:+.2%}", always, once, f"{c.adjusted_p:.3g}"


def _no_result(c: Compared) -> str:
    from online_models.experiments.effects import NoResult

    return c.effect.message if isinstance(c.effect, NoResult) else ""


def _preference(p: Preferred) -> str:
    from online_models.experiments.effects import NoResult

    if isinstance(p.effect, NoResult) or p.always is None:
        return f"no result yet: {p.effect.message}" if isinstance(p.effect, NoResult) else "no result yet"
    return f"{p.effect.estimate:+.1%} ({p.always.low:+.1%} to {p.always.high:+.1%} at any look)"


def _share_words(split: Split) -> str:
    from online_models.experiments.effects import NoResult

    if isinstance(split.always, NoResult):
        return f"not judged ({split.always.message})"
    words = "do NOT match" if split.always.alarm else "match"
    return f"{words} (p = {split.always.p_value:.3g} at any look)"


def _when(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
