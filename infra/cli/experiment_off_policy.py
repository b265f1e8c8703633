"""``headrace experiment off-policy``: what another configuration would have earned, from lists that explored."""

from __future__ import annotations

import sys
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
    from streams.readout.explored import Evaluated


FEW = 30
"""Clicks below which an interval is a guess at its own width."""


@click.command(
    "off-policy",
    cls=Command,
    short_help="What would another configuration have earned?",
    examples=[
        "headrace experiment off-policy l.gz --published p.gz --candidate c.gz",
    ],
)
@click.argument("log")
@click.option("--published", metavar="FILE", required=True, help="Lists of the variant that explored.")
@click.option(
    "--candidate", metavar="FILE", required=True, help="Lists of the other configuration for the same events."
)
@click.option("--clicks", default="click,view", show_default=True, help="Event types that are meant.")
@click.option("--attribution", type=Duration(), default=86_400.0, show_default="24h", help="How long a list counts.")
@click.option("--at-least", metavar="VALUE", type=float, help="Fail unless Switch-DR is sure of more: a gate.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@with_settings
def command(
    log: str, published: str, candidate: str, clicks: str, attribution: float, at_least: float | None, as_json: bool,
    settings: Settings,
) -> None:  # fmt: skip
    """Estimate how often a candidate's first place would have been what users did next, from lists of a variant that explores.

    LOG holds the events, --published the lists with their propensities, --candidate the lists of a replay of LOG under the candidate's
    settings.
    """
    from streams import recorded_log
    from streams.readout.explored import evaluate

    found = evaluate(
        recorded_log.read(log), recorded_log.read(published), recorded_log.read(candidate), frozenset(clicks.split(",")),
        round(attribution * 1000),
    )  # fmt: skip
    if as_json:
        click.echo(msgspec.json.encode(msgspec.to_builtins(found, enc_hook=float)).decode())
    else:
        _show(found)
    if at_least is not None and not _sure(found, at_least):
        click.echo(
            f"headrace: expected Switch-DR to be sure of more than {at_least:g}, it is not; log more exploration",
            err=True,
        )
        raise click.exceptions.Exit(1)


def _sure(found: Evaluated, at_least: float) -> bool:
    from online_models.experiments.off_policy.results import Estimate

    said = [e for e in found.estimates if isinstance(e, Estimate) and e.estimator == "switch_dr"]
    return any(e.low > at_least and e.rests_on >= FEW for e in said)


def _show(found: Evaluated) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(
        f"{found.rows:,} lists explored; in {found.covered:.1%} of them the candidate's first item could have come first: these count"
    )
    table = Table(title="share of first places that the user's next event was on", title_justify="left")
    for column in ("estimator", "value", "interval", "effective lists", ""):
        table.add_column(column, justify="left" if column in ("estimator", "") else "right", overflow="fold")
    for result in (found.logged, *found.estimates):
        table.add_row(*_cells(result))
    console.print(table)
    console.print(
        f"what the log itself says (true where users did not see these lists, as in a replay): {found.recorded:.4f}"
    )


def _cells(result: Result) -> tuple[str, str, str, str, str]:
    from online_models.experiments.off_policy.results import Estimate

    if isinstance(result, Estimate):
        few = f"rests on about {result.rests_on:.0f} clicks: a guess" if result.rests_on < FEW else ""
        return (
            result.estimator,
            f"{result.value:.4f}",
            f"{result.low:.4f} to {result.high:.4f}",
            f"{result.ess:,.0f}",
            few,
        )
    return result.estimator, "no estimate", "", f"{result.ess:,.0f}", result.reason
