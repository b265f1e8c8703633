"""``headrace experiment readout``: what an experiment has shown so far."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from infra.cli.helps import Command
from infra.cli.parameters import TUNING, Duration
from infra.settings import Settings, settings_file, with_settings
from infra.whole_files import refuse_inputs, write_whole
from online_models.errors import InputError

if TYPE_CHECKING:
    from online_models.experiments.multiple import Correction
    from streams.contracts.experiments import Experiment
    from streams.readout.result import Result
    from streams.readout.tally import Tally

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
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C; print what has changed.")
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
    help="Remembered at a time, as a rule 2 to 9 kB each (docs/experiments.md).",
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
    from infra.cli.readout_text import show, time_now
    from streams.readout.result import read_out

    recorded = file is not None or log is not None or published is not None
    if recorded and (file is None or log is None or published is None or watch or act or merge or partitions):
        raise click.UsageError(
            "--file, --log and --published go together, without --watch, --act, --merge and --partition"
        )
    if merge and (watch or act or partitions or _given("period", "max_users")):
        raise click.UsageError(
            "--merge adds sums that were saved: it goes without --watch, --act, --partition, --period and --max-users"
        )
    if act and partitions:
        raise click.UsageError("--act goes by all partitions: leave --partition out")
    if (name is None) != recorded:
        raise click.UsageError("name an experiment, or give --file, --log and --published")
    refuse_inputs((save_to, html), (file, log, published, settings_file(), *merge))
    seconds = round(period)
    before: Result | None = None
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
        elif result != before or changed is not None:
            show(result, watch)
        elif sys.stderr.isatty():
            click.echo(f"\r{time_now()}: nothing has changed ", err=True, nl=False)
        before = result
        if changed is not None:
            what = "stopped" if changed.state == "stopped" else "ramped"
            click.echo(f"headrace: {changed.definition.name} was {what}: {changed.reason}", err=True)


def _given(*options: str) -> bool:
    """Whether one of them was named, on the command line or in the environment."""
    context = click.get_current_context()
    return any(context.get_parameter_source(option) is not ParameterSource.DEFAULT for option in options)


def _looks(
    settings: Settings, name: str | None, file: Path | None, log: str | None, published: str | None, period_s: int,
    partitions: tuple[int, ...], merge: tuple[Path, ...], every_s: float | None, max_users: int,
) -> Iterable[tuple[Experiment, Tally]]:  # fmt: skip
    from infra import experiment_files, experiment_readout, experiments

    if file is not None and log is not None and published is not None:
        from streams.experiment_rules import alone

        experiment = alone(experiments.read_definition(file), 0)
        return [(experiment, experiment_files.of_files(experiment, log, published, period_s, max_users))]
    if name is None:
        raise InputError("the name of an experiment", "none", "see `headrace experiment list`")
    experiment = experiments.find(experiments.read(settings), name)
    if merge:
        tally = experiment_readout.merged(experiment, merge)
        if left := experiment_readout.not_counted(settings, tally):
            told = ", ".join(map(str, left))
            click.echo(
                f"headrace: nothing was counted of partitions {told} of events, which hold records: a part of it all",
                err=True,
            )
        return [(experiment, tally)]
    return experiment_readout.looks(settings, experiment, period_s, frozenset(partitions) or None, every_s, max_users)
