"""``headrace experiment off-policy``: what another configuration would have earned, from lists that explored."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.table import Table

from infra.cli.helps import Command
from infra.cli.parameters import Duration
from infra.settings import Settings, with_settings

if TYPE_CHECKING:
    from online_models.experiments.off_policy.results import Result
    from streams.readout.explored import Joined
    from streams.readout.off_policy import Evaluated, Found


@click.command(
    "off-policy",
    cls=Command,
    short_help="What would another configuration have earned?",
    examples=[
        "headrace experiment off-policy --candidate c.gz",
        "headrace experiment off-policy l.gz --published p.gz --candidate c.gz",
        "headrace experiment off-policy l --published p --candidate c --gate",
    ],
)
@click.argument("log", required=False)
@click.option("--published", metavar="FILE", help="LOG's lists instead of topic `recommendations`.")
@click.option(
    "--candidate", metavar="FILE", required=True, help="Lists of the other configuration for the same events."
)
@click.option("--clicks", default="click,view", show_default=True, help="Event types that are meant.")
@click.option("--attribution", type=Duration(), default=86_400.0, show_default="24h", help="How long a list counts.")
@click.option(
    "--slate",
    "places",
    metavar="N",
    type=click.IntRange(2, 20),
    help="Judge the first N places together, too.",
)
@click.option("--gate", is_flag=True, help="Fail unless the candidate is surely better than what was logged.")
@click.option(
    "--margin",
    metavar="SHARE",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="How much less it may earn at the gate.",
)
@click.option("--at-least", metavar="VALUE", type=float, help="Fail unless Switch-DR is sure of more.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@with_settings
def command(
    log: str | None, published: str | None, candidate: str, clicks: str, attribution: float, places: int | None, gate: bool, margin: float,
    at_least: float | None, as_json: bool, settings: Settings,
) -> None:  # fmt: skip
    """Estimate how often a candidate's first place would have been what users did next, from lists of a variant that explores.

    LOG holds the events (without it: topic `events`), --published the lists with their propensities, --candidate the lists of a replay of
    the same events under the candidate's settings. Lists and events are joined by the event's id.
    """
    from infra.topic_reading import values
    from streams import recorded_log
    from streams.readout.explored import rows_of
    from streams.readout.off_policy import evaluate

    if (log is None) != (published is None):
        raise click.UsageError("LOG and --published go together; without them the topics are read")
    read, other = recorded_log.read, recorded_log.read(candidate)
    lists = values(settings, settings.topics.recommendations) if published is None else read(published)
    # The lists are read first, so that of each of them the event is there as well.
    events = values(settings, settings.topics.events) if log is None else read(log)
    rows, joined = rows_of(events, lists, other, frozenset(clicks.split(",")), round(attribution * 1000))
    found = evaluate(rows, places=places or 1, margin=margin)
    if as_json:
        click.echo(msgspec.json.encode(msgspec.to_builtins(found, enc_hook=float) | {"joined": joined}).decode())
    else:
        _show(found, joined)
    if at_least is not None and not _sure(found, at_least):
        click.echo(
            f"headrace: expected Switch-DR to be sure of more than {at_least:g}, it is not; log more exploration",
            err=True,
        )
        raise click.exceptions.Exit(1)
    if gate and not found.gate.passed:
        click.echo(
            f"headrace: expected a candidate that surely loses at most {margin:g}, found {found.gate.reason}; "
            "log more exploration, or keep what is there",
            err=True,
        )
        raise click.exceptions.Exit(1)


def _sure(found: Evaluated, at_least: float) -> bool:
    from online_models.experiments.off_policy.results import Estimate
    from streams.readout.off_policy import FEW

    [said] = [e for e in found.estimates if e.result.estimator == "switch_dr"]
    enough = isinstance(said.result, Estimate) and said.result.rests_on >= FEW
    return enough and said.worst is not None and said.worst > at_least


def _show(found: Evaluated, joined: Joined) -> None:
    from streams.readout.explored import told

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(
        f"{found.rows:,} lists explored; in {found.covered:.1%} of them the candidate's first item could have come first: these are "
        "covered, and judged. Bounds are of all lists: those that are not covered at 0, and at 1."
    )
    if left := told(joined):
        console.print(f"not judged: {left}")
    _table(console, "share of first places that the user's next event was on", found.estimates, found.logged)
    console.print(
        f"what the log itself says of those (true where users did not see these lists, as in a replay): {found.recorded:.4f}"
    )
    if found.recorded_slates is not None:
        _table(console, f"share of lists with the user's next event on one of the first {found.places}", found.slates)
        console.print(f"what the log itself says of all lists: {found.recorded_slates:.4f}")
    verdict = "pass" if found.gate.passed else "refuse"
    console.print(f"[bold]gate: {verdict}[/], candidate less logged lists without exploration: {found.gate.reason}")


def _table(console: Console, title: str, estimates: Sequence[Found], logged: Result | None = None) -> None:
    table = Table(title=title, title_justify="left")
    heads = ("estimator", "covered", "value", "interval", "bounds", "effective lists")
    for column in heads:
        table.add_column(column, justify="left" if column == "estimator" else "right", overflow="fold")
    notes = []
    if logged is not None:
        table.add_row("as logged, with exploration", "", *_cells(logged), "", f"{logged.ess:,.0f}")
    for found in estimates:
        result, name = found.result, found.result.estimator
        bounds = "" if found.worst is None else f"{found.worst:.4f} to {found.best:.4f}"
        table.add_row(name, f"{found.covered:.1%}", *_cells(result), bounds, f"{result.ess:,.0f}")
        if note := _note(result):
            notes.append(f"{name}: {note}")
    console.print(table)
    for note in notes:
        console.print(note)


def _cells(result: Result) -> tuple[str, str]:
    from online_models.experiments.off_policy.results import Estimate

    if isinstance(result, Estimate):
        return f"{result.value:.4f}", f"{result.low:.4f} to {result.high:.4f}"
    return "no estimate", ""


def _note(result: Result) -> str:
    """What to be careful about."""
    from online_models.experiments.off_policy.results import Estimate
    from streams.readout.off_policy import FEW

    if not isinstance(result, Estimate):
        return f"no estimate, {result.reason}"
    return f"rests on about {result.rests_on:.0f} clicks: a guess" if result.rests_on < FEW else ""
