"""``headrace explain``: what makes the score of an item for a user, from a log or from a running worker."""

from __future__ import annotations

import contextlib
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.cli.bars import quiet
from infra.cli.helps import Command
from infra.cli.tables import console
from infra.settings import Settings, with_settings
from online_models.errors import InputError, ServiceError
from streams.contracts.events import MAX_ID
from streams.contracts.explanations import Explanation
from streams.explain import explain
from streams.replay import Replay

PATIENCE_S = 10.0
TOGETHER = "in combination"
"""Head of what comes through the hidden units."""


@click.command(
    "explain",
    cls=Command,
    short_help="What makes an item's score for a user, part by part.",
    examples=[
        "headrace explain 42 sku-7  # asks a worker",
        "headrace explain 42 sku-7 --log log.jsonl.gz --limit 20000",
        "headrace explain 42 sku-7 --url worker-2:6066 --json",
    ],
)
@click.argument("user")
@click.argument("item")
@click.option("--log", metavar="LOG", help="Play this log and explain what would be listed after it.")
@click.option("--limit", metavar="N", type=click.IntRange(1), help="Of the log, only this many events.")
@click.option(
    "--model", metavar="DIR", type=click.Path(path_type=Path), help="With --log: an artefact of `headrace train`."
)
@click.option("--catalogue", metavar="FILE", help="With --log: what is known of the items (JSON Lines).")
@click.option("--url", metavar="URL", help="Ask this worker; without --log and --url the one of --web is asked.")
@click.option(
    "--top", metavar="N", type=click.IntRange(0), default=12, show_default=True, help="Features that are shown."
)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON instead of tables.")
@with_settings
def command(
    user: str, item: str, log: str | None, limit: int | None, model: Path | None, catalogue: str | None, url: str | None, top: int,
    as_json: bool, settings: Settings,
) -> None:  # fmt: skip
    """Show what each source, feature and context adds to the score of ITEM for USER, and the place that this gives it.

    What a group of features adds is compared with what it adds to the candidates on average: that is what moves an item up.
    """
    if log is not None and url is not None:
        raise click.UsageError("--log and --url are two ways to ask: give one of them")
    if log is None and (limit, model, catalogue) != (None, None, None):
        raise click.UsageError("--limit, --model and --catalogue go with --log")
    if not (1 <= len(user) <= MAX_ID and 1 <= len(item) <= MAX_ID):
        raise click.UsageError(f"USER and ITEM are ids of 1 to {MAX_ID} characters")
    if log is not None:
        found = _after(log, limit, model, catalogue, user, item, settings)
    else:
        found = asked(url or f"http://{settings.web}", user, item)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        show(found, top)


def _after(
    log: str, limit: int | None, model: Path | None, catalogue: str | None, user: str, item: str, settings: Settings
) -> Explanation:
    if log == "-":
        raise InputError("a file, because a replay reads it twice", "standard input", "save it to a file first")
    with quiet(), Console(stderr=True).status("replaying") if sys.stderr.isatty() else contextlib.nullcontext():
        topic = settings.topics.events
        job = Replay(log, settings.pipeline, limit=limit, topic=topic, model=model, catalogue=catalogue)
        if job.run()["events"] == 0:
            raise InputError("a log with events", f"none in {log}", "`headrace replay` says what is wrong with it")
    return explain(job.pipeline, user, item)


def asked(url: str, user: str, item: str) -> Explanation:
    """What a worker says. Raises InputError where it refuses, ServiceError where none answers."""
    base = url if "://" in url else f"http://{url}"
    if not base.startswith(("http://", "https://")):
        raise InputError("the address of a worker such as http://127.0.0.1:6066", url, "correct --url")
    path = f"{base.rstrip('/')}/explain/{urllib.parse.quote(user, safe='')}?item={urllib.parse.quote(item, safe='')}"
    try:
        with urllib.request.urlopen(path, timeout=PATIENCE_S) as answer:  # noqa: S310 - http and https only
            return msgspec.json.decode(answer.read(), type=Explanation)
    except urllib.error.HTTPError as error:
        raise ServiceError(f"a worker at {base} that explains", _said(error), "see its /healthz") from None
    except (OSError, msgspec.DecodeError) as error:
        remedy = "start a worker, or name its address with --url; --log explains without one"
        raise ServiceError(f"a worker at {base}", str(error), remedy) from None


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return f"{error.code}: {msgspec.json.decode(error.read())['error']}"
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return f"status {error.code}"


def show(found: Explanation, top: int) -> None:
    """Tables for a person."""
    out = console(highlight=True)
    who = f"{escape(found.item_id)} for {escape(found.user_id)}"
    if found.rank is None or found.score is None or found.mean is None:
        out.print(f"[bold]{who}[/]: not among the {found.candidates:,} candidates; {escape(found.note or '')}")
        return
    out.print(
        f"[bold]{who}[/]: place {found.rank:,} of {found.candidates:,} candidates, score {found.score:.4f} "
        f"(the candidates' mean is {found.mean:.4f})"
    )
    out.print(f"{escape(found.source or '')}: {escape(found.reason or '')}", highlight=False)
    for exposure in found.experiments:
        out.print(f"under {escape(exposure.name)}/{escape(exposure.variant)}", highlight=False)
    out.print(_groups(found))
    out.print(_features(found, top) if top else "", end="\n" if top else "")
    out.print(
        f"{TOGETHER}: the part of what a feature adds that depends on other features too (the blend's hidden units); the rest is its "
        "value times its weight",
        highlight=False,
        soft_wrap=True,
    )
    contexts = ", ".join(f"{each.name} {each.contribution:+.3f}" for each in found.contexts)
    out.print(f"contexts: {contexts}", highlight=False, soft_wrap=True)


def _groups(found: Explanation) -> Table:
    table = Table()
    table.add_column("group")
    for name in ("place", "adds", TOGETHER, "share", "above the mean"):
        table.add_column(name, justify="right")
    for g in found.groups:
        if g.contribution or g.place:
            place = "" if g.place is None else str(g.place)
            table.add_row(
                g.name, place, f"{g.contribution:+.4f}", f"{g.hidden:+.4f}", f"{g.share:+.1%}", f"{g.above:+.4f}"
            )
    table.add_section()
    whole, hidden = sum(g.contribution for g in found.groups), sum(g.hidden for g in found.groups)
    table.add_row("score", "", f"{whole:+.4f}", f"{hidden:+.4f}", "", f"{sum(g.above for g in found.groups):+.4f}")
    return table


def _features(found: Explanation, top: int) -> Table:
    table = Table()
    table.add_column("feature")
    for name in ("value", "adds", TOGETHER):
        table.add_column(name, justify="right")
    features = sorted((f for g in found.groups for f in g.features), key=lambda f: -abs(f.contribution))
    for f in features[:top]:
        table.add_row(f.name, f"{f.value:.4f}", f"{f.contribution:+.4f}", f"{f.hidden:+.4f}")
    return table
