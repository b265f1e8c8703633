"""``headrace experiment``: begin, ramp, stop and look at experiments; who is in which variant."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import click
import msgspec
from rich.markup import escape

from infra.cli.experiment_off_policy import command as off_policy
from infra.cli.experiment_plan import command as plan
from infra.cli.experiment_readout import command as readout
from infra.cli.helps import Group
from infra.cli.parameters import AS_JSON
from infra.cli.tables import Column, console, print_table
from infra.records import when
from infra.settings import Settings, with_settings
from infra.text import printable
from online_models.errors import InputError, ServiceError

_REASON = click.option("--reason", metavar="TEXT", default="", help="Why, for whoever asks later.")
_NAME = click.argument("name", metavar="NAME")
_CHUNK = 100_000
_SHARE = 24
"""Letters of a variant's share that are never broken; so one line of a list is one variant."""


class Weights(click.ParamType):
    """Variants and their relative weights.

    >>> Weights().convert("control=90,new=10", None, None)
    {'control': 90.0, 'new': 10.0}
    """

    name = "WEIGHTS"

    def convert(
        self, value: str | dict[str, float], param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, float]:
        if isinstance(value, dict):
            return value
        found: dict[str, float] = {}
        for part in value.split(","):
            name, sign, number = part.strip().partition("=")
            try:
                weight = float(number)
            except ValueError:
                weight = -1.0
            if not (name and sign and 0.0 <= weight < float("inf")) or name in found:
                self.fail(
                    f"expected different variants with weights such as control=90,new=10, got {value!r}", param, ctx
                )
            found[name] = weight
        return found


@click.group("experiment", cls=Group, short_help="Live A/B splits: start, ramp, stop, read out.")
def command() -> None:
    """Compare variants live: start, ramp and stop experiments, see who gets which variant, and read the result out."""


@command.command(
    "start",
    short_help="Begin an experiment.",
    examples=[
        "headrace experiment start knn-off.yaml",
        "headrace experiment start knn-off.yaml --dry-run  # only check it",
    ],
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check it against what runs, and begin nothing.")
@with_settings
def start(file: Path, dry_run: bool, settings: Settings) -> None:
    """Begin the experiment that FILE (YAML) defines; workers follow within a second."""
    from infra import experiments
    from infra.experiment_shown import shares

    definition = experiments.read_definition(file)
    try:
        experiment = experiments.begun(settings, definition, experiments.read(settings))
    except ServiceError as error:
        if not dry_run:
            raise
        click.echo(f"{definition.name}: valid by itself; {shares(experiments.by_itself(settings, definition))}")
        click.echo(f"headrace: whether it goes with what runs could not be checked: {error}", err=True)
        return
    if not dry_run:
        experiments.write(settings, experiment)
    click.echo(f"{definition.name}: {'would run' if dry_run else 'runs'}; {shares(experiment)}")


@command.command(
    "ramp",
    short_help="Change weights or traffic.",
    examples=[
        "headrace experiment ramp knn-off --traffic 0.5",
        "headrace experiment ramp knn-off --weights control=50,without=50",
    ],
)
@_NAME
@click.option(
    "--weights",
    type=Weights(),
    default={},
    help="Relative weights; variants not named keep theirs. Begins the read-out anew.",
)
@click.option("--traffic", metavar="SHARE", type=click.FloatRange(0, 1), help="Share of all units that take part.")
@_REASON
@with_settings
def ramp(name: str, weights: dict[str, float], traffic: float | None, reason: str, settings: Settings) -> None:
    """Give the variants of NAME other shares. No unit leaves a variant that grows.

    More traffic keeps what was counted. Other proportions make the read-out begin anew, but a bandit's.
    """
    from infra import experiments
    from infra.experiment_shown import shares
    from streams import experiment_rules
    from streams.readout.shares import changes_of

    if not weights and traffic is None:
        raise click.UsageError("give --weights or --traffic")
    found = experiments.find(experiments.read(settings), name)
    changed = experiment_rules.ramp(found, weights, traffic, experiments.now_ms(), reason=reason)
    holds = experiments.write(settings, changed)
    if holds.state != changed.state:
        raise InputError(f"{name} to run", "that it was stopped meanwhile", "see `headrace experiment show`")
    if changed.ramps[-1] not in holds.ramps:
        raise InputError(f"{name} as it was read", "that somebody ramped it meanwhile", "run the command again")
    click.echo(f"{name}: {shares(changed)}")
    if changes_of(changed) > changes_of(found):
        click.echo(
            "headrace: the proportions are others now: the read-out begins anew, with the units first exposed from now on "
            "(--traffic keeps what was counted)",
            err=True,
        )


@command.command(
    "stop", short_help="End an experiment.", examples=['headrace experiment stop knn-off --reason "decided"']
)
@_NAME
@_REASON
@with_settings
def stop(name: str, reason: str, settings: Settings) -> None:
    """End NAME for good: everybody gets what is usual. What was exposed can still be read out."""
    from infra import experiments
    from streams import experiment_rules

    found = experiments.find(experiments.read(settings), name)
    experiments.write(settings, experiment_rules.stop(found, experiments.now_ms(), reason=reason))
    click.echo(f"{name}: stopped")


@command.command(
    "delete", short_help="Forget an experiment that was stopped.", examples=["headrace experiment delete knn-off"]
)
@_NAME
@with_settings
def delete(name: str, settings: Settings) -> None:
    """Take NAME, which was stopped, off the topic: it cannot be read out any more, and is not listed."""
    from infra import experiments
    from streams import experiment_rules

    experiment_rules.check_over(experiments.find(experiments.read(settings), name))
    experiments.forget(settings, name)
    click.echo(f"{name}: forgotten")


@command.command("list", short_help="Print all experiments.", examples=["headrace experiment list"])
@AS_JSON
@with_settings
def list_experiments(as_json: bool, settings: Settings) -> None:
    """Print all experiments, those that run first."""
    from infra import experiments
    from infra.experiment_shown import shares

    found = sorted(experiments.read(settings).values(), key=lambda e: (e.state != "running", -e.created))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    out = console()
    if not found:
        out.print("no experiment is known: begin one with `headrace experiment start FILE`")
        return
    shown = [shares(e) for e in found]
    longest = max(len(share) for each in shown for share in each.split(", "))
    columns = (
        Column("name", fold=True),
        Column("state"),
        Column("shares", fold=longest > _SHARE),
        Column("unit", wide=True),
        Column("layer", wide=True),
        Column("begun", wide=True),
        Column("changed"),
        Column("by", fold=True),
        Column("reason", fold=True),
    )
    rows = [
        (
            e.definition.name,
            e.state,
            share.replace(", ", ",\n") if out.is_terminal else share,
            e.definition.unit,
            e.definition.layer or "",
            when(e.created),
            when(e.changed),
            *(escape(printable(text)) for text in (e.by, e.reason)),
        )
        for e, share in zip(found, shown, strict=True)
    ]
    print_table(out, "experiments", columns, rows)


@command.command("show", short_help="Print one experiment.", examples=["headrace experiment show knn-off"])
@_NAME
@AS_JSON
@with_settings
def show(name: str, as_json: bool, settings: Settings) -> None:
    """Print how NAME stands, how its shares have changed, and what its definition says. --json has every field."""
    from infra import experiments
    from infra.experiment_shown import as_text

    found = experiments.find(experiments.read(settings), name)
    click.echo(msgspec.json.encode(found).decode() if as_json else as_text(found))


@command.command(
    "assign",
    short_help="Print which variant each unit gets.",
    examples=[
        "headrace experiment assign --salt s1 --weights a=90,b=10 --units ids.txt",
    ],
)
@click.option("--salt", required=True, metavar="TEXT", help="The experiment's salt (its name, unless it gives one).")
@click.option("--weights", required=True, type=Weights(), help="Relative weights of the variants, in their order.")
@click.option(
    "--traffic", metavar="SHARE", type=click.FloatRange(0, 1), default=1.0, help="Share of all units that take part."
)
@click.option("--units", required=True, metavar="FILE", help="A unit a line; - is standard input.")
@with_settings
def assign(salt: str, weights: dict[str, float], traffic: float, units: str, settings: Settings) -> None:
    """Print `unit variant` a line, in the file's order; `-` as variant stands for no part in the experiment.

    It is what a new experiment of this salt and these weights does. (One that was ramped keeps more units where they are.)
    """
    from online_models.experiments.split import Split, allocate, counts

    if len(weights) < 2:
        raise click.UsageError("expected two variants or more in --weights, such as control=90,new=10, got one")
    split = Split(salt, allocate(counts(weights, traffic)))
    with _opened(units) as file:
        lines = _units(file, units)
        while chunk := list(islice(lines, _CHUNK)):
            found = split.variants(chunk)
            click.echo("\n".join(f"{u} {v or '-'}" for u, v in zip(chunk, found, strict=True)))


command.add_command(readout)
command.add_command(off_policy)
command.add_command(plan)


def _opened(path: str) -> IO[bytes]:
    if path == "-":
        return sys.stdin.buffer
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise InputError("a readable file of units", f"{path} ({error.strerror})", "correct --units") from None


def _units(file: IO[bytes], path: str) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        try:
            unit = line.rstrip(b"\r\n").decode()
        except UnicodeDecodeError:
            raise InputError("UTF-8, a unit a line", f"line {number} of {path}", "correct the file") from None
        if not unit.strip():
            raise InputError("a unit a line", f"nothing in line {number} of {path}", "remove the line")
        yield unit
