"""``headrace models``: which version is live, how those on trial do, and what an operator decides of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click
import msgspec
from rich.markup import escape
from rich.table import Table

from infra.cli.helps import Group
from infra.cli.tables import console
from infra.records import when
from infra.settings import Settings, with_settings
from infra.text import printable

if TYPE_CHECKING:
    from infra.models import Known, Models
    from streams.contracts.models import WorkerStatus

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
_REASON = click.option("--reason", metavar="TEXT", default="", help="Why, for whoever asks later.")
_VERSION = click.argument("version", metavar="VERSION")


@click.group("models", cls=Group, short_help="Show model versions; promote, pin, roll back.")
def command() -> None:
    """Show the versions of the deep model and where the workers are with them; promote, pin or roll back one."""


@command.command(
    "list",
    short_help="Print the versions known, and where each worker is.",
    examples=[
        "headrace models list",
        "headrace models list --json",
    ],
)
@_JSON
@with_settings
def list_versions(as_json: bool, settings: Settings) -> None:
    """Print the versions known, the newest first, and below them where each worker is."""
    overview = _read(settings).overview
    if as_json:
        click.echo(msgspec.json.encode(overview).decode())
        return
    out = console(highlight=True)
    if not overview.versions:
        out.print("no version is known: announce one with `headrace publish-model`")
    else:
        out.print(_versions(overview.versions))
    out.print(_workers(overview.workers) if overview.workers else "no worker has said where it is")


@command.command(
    "show",
    short_help="Print all that is known of one version.",
    examples=[
        "headrace models show gru4rec-7",
    ],
)
@_VERSION
@_JSON
@with_settings
def show(version: str, as_json: bool, settings: Settings) -> None:
    """Print all that is known of one version: the announcement, what was decided, and the workers that have it."""
    models = _read(settings)
    found = models.find(version)
    workers = [w for w in models.overview.workers if version in (w.live, w.candidate)]
    if as_json:
        click.echo(msgspec.json.encode({"version": found, "workers": workers}).decode())
        return
    click.echo(f"{found.version}: {found.state}")
    for name, text in [*_facts(found), *((f"worker {w.worker}", _step(w, version)) for w in workers)]:
        click.echo(f"  {name:<16} {printable(text)}")


@command.command(
    "promote",
    short_help="Make a version live, without a trial.",
    examples=[
        'headrace models promote gru4rec-7 --reason "the trial was long enough"',
    ],
)
@_VERSION
@_REASON
@with_settings
def promote(version: str, reason: str, settings: Settings) -> None:
    """Make VERSION live at every worker, without a trial or before its end. It also lifts a pin."""
    _decide(settings, version, "promoted", reason)


@command.command(
    "pin",
    short_help="Make a version live, and try no other.",
    examples=[
        'headrace models pin gru4rec-7 --reason "the week of the sale"',
    ],
)
@_VERSION
@_REASON
@with_settings
def pin(version: str, reason: str, settings: Settings) -> None:
    """Make VERSION live at every worker, and try no other one until a version is promoted or this one is rolled back."""
    _decide(settings, version, "pinned", reason)


@command.command(
    "rollback",
    short_help="Take a version back; the one before is live.",
    examples=[
        "headrace models rollback  # the live one",
        'headrace models rollback gru4rec-7 --reason "old prices"',
    ],
)
@click.argument("version", metavar="[VERSION]", required=False)
@_REASON
@with_settings
def rollback(version: str | None, reason: str, settings: Settings) -> None:
    """Take VERSION back, by default the live one: whatever was promoted or pinned before it is live again.

    A version that is on trial leaves it. Neither is tried again; to have it back, promote it.
    """
    _decide(settings, version, "rolled_back", reason)


def _read(settings: Settings) -> Models:
    from infra import models

    found = models.read(settings)
    if found.left_out:
        click.echo(f"headrace: warning: {found.left_out} records that cannot be read were left out", err=True)
    return found


def _decide(
    settings: Settings, version: str | None, state: Literal["promoted", "pinned", "rolled_back"], reason: str
) -> None:
    from infra import models

    found = _read(settings)
    decision = found.decision(version, state, reason)
    models.write(settings, decision)
    found.fleet.decide(decision)
    live = found.overview.live or "none"
    click.echo(f"{decision.announcement.version}: {state.replace('_', ' ')}; live from now on: {live}")


def _versions(versions: list[Known]) -> Table:
    table = Table(title="versions", title_justify="left")
    for name in ("version", "created", "state", "by", "moments", "NDCG@20 difference"):
        table.add_column(name, justify="right" if name == "moments" else "left", overflow="fold")
    for known in versions:
        by = known.decision.by if known.decision else ""
        moments = "" if known.moments is None else f"{known.moments:,}"
        cells = (known.version, when(known.announcement.created), known.state, by, moments, _difference(known))
        table.add_row(*(escape(printable(cell)) for cell in cells))
    return table


def _workers(workers: list[WorkerStatus]) -> Table:
    table = Table(title="workers", title_justify="left")
    for name in ("worker", "live", "candidate", "step", "moments", "since", "error"):
        table.add_column(name, justify="right" if name == "moments" else "left", overflow="fold")
    for w in workers:
        moments = f"{w.moments:,}" if w.moments else ""
        cells = (w.worker, w.live or "none", w.candidate or "", w.step, moments, when(w.created), w.error)
        table.add_row(*(escape(printable(cell)) for cell in cells))
    return table


def _difference(known: Known) -> str:
    """To the version that was live then, with the interval in which it certainly lies."""
    d = known.decision
    if d is None or d.difference is None:
        return ""
    return f"{d.difference:+.4f}" + ("" if d.low is None or d.high is None else f" ({d.low:+.4f} to {d.high:+.4f})")


def _facts(known: Known) -> list[tuple[str, str]]:
    a, d = known.announcement, known.decision
    t = a.trained
    facts = [
        ("created", when(a.created)),
        ("uri", a.uri),
        ("sha256", a.sha256),
        ("trained on", f"{t.events:,} events, {when(t.from_ms)} to {when(t.to_ms)}"),
        ("metrics", ", ".join(f"{name} {value:.4f}" for name, value in a.metrics.items()) or "none"),
    ]
    if d is not None:
        why = f": {d.reason}" if d.reason else ""
        facts.append(("decision", f"{d.state.replace('_', ' ')} by {d.by}, {when(d.created)}{why}"))
    if known.moments is not None:
        difference = _difference(known)
        facts.append(("compared at", f"{known.moments:,} moments" + (f", NDCG@20 {difference}" if difference else "")))
    return facts


def _step(worker: WorkerStatus, version: str) -> str:
    parts = ["live" if worker.live == version else "", worker.step if worker.candidate == version else ""]
    if worker.candidate == version:
        parts += [f"{worker.moments:,} moments" if worker.moments else "", worker.error]
    return ", ".join(part for part in parts if part)
