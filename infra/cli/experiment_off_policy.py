"""``headrace experiment off-policy``: what another configuration would have earned, from lists that explored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import TYPE_CHECKING

import click
import msgspec
from click.core import ParameterSource

from infra.cli.helps import Command
from infra.cli.parameters import AS_JSON, Duration
from infra.cli.tables import Column, console, print_table
from infra.settings import Settings, with_settings

_MOST = 4
"""Variants that are named."""

if TYPE_CHECKING:
    from rich.console import Console

    from online_models.experiments.off_policy.results import Result
    from streams.readout.explored_rows import Joined
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
@click.option("--experiment", metavar="NAME", help="Only lists made under this experiment.")
@click.option("--variant", metavar="NAME", help="Only those of this variant of it.")
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
@AS_JSON
@with_settings
def command(
    log: str | None, published: str | None, candidate: str, experiment: str | None, variant: str | None, clicks: str, attribution: float,
    places: int | None, gate: bool, margin: float, at_least: float | None, as_json: bool, settings: Settings,
) -> None:  # fmt: skip
    """Estimate how often a candidate's first place would have been what users did next, from lists of a variant that explores.

    LOG holds the events (without it: topic `events`), --published the lists with their propensities, --candidate the lists of a replay of
    the same events under the candidate's settings. Lists and events are joined by the event's id.
    """
    from infra.experiment_files import lists_in
    from infra.topic_reading import values
    from streams import recorded_log
    from streams.readout.explored import rows_of
    from streams.readout.off_policy import evaluate

    if (log is None) != (published is None):
        raise click.UsageError("LOG and --published go together; without them the topics are read")
    if variant is not None and experiment is None:
        raise click.UsageError("--variant is one of an experiment: name that with --experiment")
    judged = frozenset(word.strip() for word in clicks.split(",")) - {""}
    given = click.get_current_context().get_parameter_source("clicks") is not ParameterSource.DEFAULT
    if not judged:
        raise click.BadParameter("name at least one event type", param_hint="--clicks")
    other = lists_in(candidate)
    lists = values(settings, settings.topics.recommendations) if published is None else lists_in(published)
    # The lists are read first, so that of each of them the event is there as well.
    events = values(settings, settings.topics.events) if log is None else recorded_log.read(log)
    rows, joined = rows_of(events, lists, other, judged, round(attribution * 1000), experiment, variant)
    found = evaluate(rows, places=places or 1, margin=margin)
    if as_json:
        click.echo(msgspec.json.encode(msgspec.to_builtins(found, enc_hook=float) | {"joined": joined}).decode())
    else:
        _show(found, joined, judged if given else frozenset())
    if at_least is not None and not _sure(found, at_least):
        click.echo(
            f"headrace: expected Switch-DR to be sure of more than {at_least:g}, it is not; log more exploration",
            err=True,
        )
        raise click.exceptions.Exit(1)
    if gate and not found.gate.passed:
        refused = f"refuse, {found.gate.reason}" if as_json else "refuse"  # the screen has said why
        click.echo(
            f"headrace: expected a pass at the gate, found {refused}; log more exploration, or keep what is there",
            err=True,
        )
        raise click.exceptions.Exit(1)


def _sure(found: Evaluated, at_least: float) -> bool:
    from online_models.experiments.off_policy.results import Estimate
    from streams.readout.off_policy import FEW

    [said] = [e for e in found.estimates if e.result.estimator == "switch_dr"]
    enough = isinstance(said.result, Estimate) and said.result.rests_on >= FEW
    return enough and said.worst is not None and said.worst > at_least


def _show(found: Evaluated, joined: Joined, judged: Set[str]) -> None:
    """``judged``: event types that were named, of which each should be there."""
    from streams.readout.explored_rows import left_out, told

    out = console()
    out.print(
        f"{found.rows:,} lists explored; in {found.covered:.1%} of them the candidate's first item could have come first: these are "
        "covered, and judged. Bounds are of all lists: those that are not covered at 0, and at 1."
    )
    if len(joined.variants) > 1:
        most = sorted(joined.variants.items(), key=lambda each: (-each[1], each[0]))
        named = ", ".join(f"{name} {n:,}" for name, n in most[:_MOST]) + (", ..." if len(most) > _MOST else "")
        out.print(f"made under {len(most)} variants, all of which count: {named}", markup=False)
    if none := judged - joined.judged.keys():
        out.print(f"no event was of type {', '.join(sorted(none))}", markup=False)
    if left := told(joined):
        out.print(f"not judged: {left}")
    if left := left_out(joined):
        out.print(f"judged as if nothing had come of them: {left}")
    _table(out, "share of first places that the user's next event was on", found.estimates, found.logged)
    out.print(
        f"what the log itself says of those (true where users did not see these lists, as in a replay): {found.recorded:.4f}"
    )
    if found.recorded_slates is not None:
        _table(out, f"share of lists with the user's next event on one of the first {found.places}", found.slates)
        out.print(f"what the log itself says of all lists: {found.recorded_slates:.4f}")
    verdict = "pass" if found.gate.passed else "refuse"
    out.print(f"gate: {verdict}, candidate less logged lists without exploration: {found.gate.reason}", style="bold")


def _table(out: Console, title: str, estimates: Sequence[Found], logged: Result | None = None) -> None:
    """A row for each estimator, within 80 columns; what is the same for many of them is said once, below."""
    from online_models.experiments.off_policy.results import DEFAULT, Estimate
    from streams.readout.off_policy import FEW

    results = [(found.result.estimator, found.result, _range(found.worst, found.best)) for found in estimates]
    if logged is not None:
        results.insert(0, ("as logged, exploring", logged, ""))
    rows: list[tuple[str, ...]] = []
    why: list[tuple[str, str]] = []
    few: list[str] = []
    for name, result, bounds in results:
        value, interval = "none", ""
        if isinstance(result, Estimate):
            value, interval = f"{result.value:.4f}", _range(result.low, result.high)
            if result.rests_on < FEW:
                few.append(f"{name} ({result.rests_on:.0f})")
        else:
            why.append((name, f"no estimate, {result.reason}"))
        rows.append((name, value, interval, bounds, f"{result.ess:,.0f}"))
    heads = (f"{1 - DEFAULT.alpha:.0%} interval", "bounds", "effective")
    columns = (Column("estimator"), *(Column(head, number=True) for head in ("value", *heads)))
    out.print()
    print_table(out, title, columns, rows)
    if logged is None:  # of first places it has been said above
        for line in _together(
            (found.result.estimator, f"covers {found.covered:.1%} of all lists") for found in estimates
        ):
            out.print(line)
    for line in _together(why):
        out.print(line)
    if few:
        out.print(f"a guess, resting on fewer than {FEW} clicks (about so many): {', '.join(few)}")


def _together(said: Iterable[tuple[str, str]]) -> list[str]:
    """What is said of several, once.

    >>> _together([("ipw", "no estimate"), ("dm", "sure"), ("dr", "no estimate")])
    ['no estimate: ipw, dr', 'sure: dm']
    """
    names: dict[str, list[str]] = {}
    for name, what in said:
        names.setdefault(what, []).append(name)
    return [f"{what}: {', '.join(of)}" for what, of in names.items()]


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.4f} to {high:.4f}"
