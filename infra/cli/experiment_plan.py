"""``headrace experiment plan``: how many units and days an effect needs, or how small an effect so many units can show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click
import msgspec

from infra.cli.helps import Command
from infra.cli.parameters import AS_JSON, TUNING
from infra.settings import Settings, with_settings

if TYPE_CHECKING:
    from online_models.experiments.planner import Design


WORTH = 0.99
"""Of the units, or of the effect: a plan that is at least so much of another is no other plan."""


@click.command(
    "plan",
    cls=Command,
    short_help="How long must it run, for which effect?",
    examples=[
        "headrace experiment plan --rate 0.05 --effect 0.1 --daily 2000",
        "headrace experiment plan --rate 0.05 --units 40000",
        "headrace experiment plan --mean 3.2 --sd 11 --effect 0.05",
    ],
)
@click.option(
    "--rate",
    metavar="SHARE",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of units that convert now.",
)
@click.option(
    "--mean", metavar="VALUE", type=click.FloatRange(0, min_open=True), help="Of the metric a unit now, with --sd."
)
@click.option(
    "--sd",
    metavar="VALUE",
    type=click.FloatRange(0, min_open=True),
    help="Standard deviation of the metric between units.",
)
@click.option(
    "--correlation",
    metavar="R",
    type=click.FloatRange(-1, 1),
    default=0.0,
    show_default=True,
    help="With the same before.",
)
@click.option(
    "--effect", metavar="SHARE", type=click.FloatRange(0, min_open=True), help="Relative effect that is to be found."
)
@click.option(
    "--units", metavar="N", type=click.IntRange(1), help="In all variants: how small an effect can they show?"
)
@click.option("--daily", metavar="N", type=click.FloatRange(0, min_open=True), help="New units a day.")
@click.option(
    "--share",
    metavar="SHARE",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Of the new variant.",
)
@click.option("--alpha", type=click.FloatRange(0, 0.5, min_open=True), default=0.05, show_default=True)
@click.option("--power", type=click.FloatRange(0.5, 1, max_open=True), default=0.8, show_default=True)
@TUNING
@click.option("--once", is_flag=True, help="It will be looked at only once, at its end.")
@AS_JSON
@with_settings
def command(
    rate: float | None, mean: float | None, sd: float | None, correlation: float, effect: float | None, units: int | None,
    daily: float | None, share: float, alpha: float, power: float, tuning: float, once: bool, as_json: bool,
    settings: Settings,
) -> None:  # fmt: skip
    """Plan an experiment before it begins: of two variants, for a relative effect on a rate or a mean.

    Unless --once, for intervals that may be looked at always, which are narrowest at --tuning units: plan with the number that comes out.
    """
    from online_models.experiments.effects import NoResult
    from online_models.experiments.planner import Design, days_needed, detectable, units_needed

    if (rate is None) == (mean is None) or (mean is None) != (sd is None):
        raise click.UsageError("give --rate, or --mean with --sd")
    if (effect is None) == (units is None):
        raise click.UsageError("give --effect or --units")
    variance = (rate * (1.0 - rate) if rate is not None else (sd or 0.0) ** 2) * (1.0 - correlation**2)
    design = Design(
        variance=variance, baseline=rate or mean, control=1.0 - share, treated=share, alpha=alpha, power=power,
        tuning=None if once else tuning,
    )  # fmt: skip
    found: dict[str, float | str | None]
    needed = units or 0
    if effect is not None:
        needed = units_needed(design, effect)
        found = {
            "effect": effect,
            "units": needed,
            "days": None if daily is None else days_needed(design, effect, daily),
        }
        text = f"{needed:,} units in all" + (
            "" if daily is None else f", {found['days']:,} days at {daily:,.0f} new ones a day"
        )
    else:
        smallest = detectable(design, needed)
        said = smallest.message if isinstance(smallest, NoResult) else None
        found = {"units": units, "effect": None if isinstance(smallest, NoResult) else smallest, "reason": said}
        text = said or f"an effect of {found['effect']:.2%}, relative, or more"
    found["tuning"] = None if once else tuning
    if not once:
        text += f"; read out with --tuning {tuning:g}{_better(design, effect, needed)}"
    click.echo(msgspec.json.encode(found).decode() if as_json else text)


def _better(design: Design, effect: float | None, units: int) -> str:
    """What --tuning with about the number that comes out would make of it, where that is another answer."""
    from online_models.experiments.effects import NoResult
    from online_models.experiments.planner import detectable, units_needed

    tuning = float(f"{units:.2g}")
    tuned = replace(design, tuning=tuning)
    if effect is not None:
        again = units_needed(tuned, effect)
        return f". Plan again with --tuning {tuning:.0f}: {again:,} units" if again < WORTH * units else ""
    now, then = detectable(design, units), detectable(tuned, units)
    if isinstance(then, NoResult) or (not isinstance(now, NoResult) and then >= WORTH * now):
        return ""
    return f". Plan again with --tuning {tuning:.0f}: an effect of {then:.2%}"
