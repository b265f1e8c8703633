"""``headrace dlq``: look at the dead letters, send them again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import click

from infra import dead_letters
from infra.cli.helps import Group
from infra.cli.parameters import Instant
from infra.records import json_line, text_line
from infra.settings import Settings, with_settings
from online_models.errors import ServiceError
from streams.contracts.dead_letters import DeadLetter, Reason

_REASON = click.option(
    "--reason",
    "reasons",
    multiple=True,
    metavar="REASON",
    type=click.Choice([reason.value for reason in Reason]),
    help="Only letters with this reason (may be repeated).",
)
_SINCE = click.option("--since", type=Instant(), help="Only letters of this time or later: ISO date or ms.")


@click.group("dlq", cls=Group, short_help="List what was refused, or send it again.")
def command() -> None:
    """List the dead letters, or send them to topic events again."""


@command.command(
    "list",
    short_help="Print the dead letters, one a line.",
    examples=[
        "headrace dlq list --since 2024-03-01",
        "headrace dlq list --reason not_json --json",
    ],
)
@_REASON
@_SINCE
@click.option("--limit", metavar="N", type=click.IntRange(1), help="End after N letters.")
@click.option("--json", "as_json", is_flag=True, help="The records as they are, one JSON object a line.")
@with_settings
def list_letters(
    reasons: tuple[str, ...], since: int | None, limit: int | None, as_json: bool, settings: Settings
) -> None:
    """Print the dead letters, one a line. Those that redrive has sent again stay, and are marked so (not with --json)."""
    letters = ((record, dead_letters.letter(record.value)) for record in dead_letters.records(settings))
    found = ((record, each) for record, each in letters if each and dead_letters.chosen(each, reasons, since))
    out = click.get_binary_stream("stdout")
    for record, again in _with_marks(settings, itertools.islice(found, limit), as_json):
        line = json_line("events.dlq", record) if as_json else text_line("events.dlq", record).encode()
        out.write(line + b" (sent again)" * again + b"\n")
    out.flush()


def _with_marks(
    settings: Settings, found: Iterator[tuple[Any, DeadLetter]], as_json: bool
) -> Iterator[tuple[Any, bool]]:
    """Records, and whether to mark them; without Redis, which alone knows it, none is marked."""
    ask = not as_json
    for chunk in dead_letters.chunks(found):
        again = [False] * len(chunk)
        if ask:
            try:
                again = dead_letters.sent_again(settings, (letter for _, letter in chunk))
            except ServiceError as error:
                ask = False
                click.echo(f"letters that were sent again are not marked: {error}", err=True)
        yield from ((record, mark) for (record, _), mark in zip(chunk, again, strict=True))


@command.command(
    "redrive",
    short_help="Send dead letters to topic events again.",
    examples=[
        "headrace dlq redrive --dry-run  # what would be sent",
        "headrace dlq redrive --reason timestamp_in_future",
    ],
)
@_REASON
@_SINCE
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@with_settings
def redrive(reasons: tuple[str, ...], since: int | None, dry_run: bool, settings: Settings) -> None:
    """Send dead letters to topic events again, each once, with the user as key where one can be read.

    What is still wrong comes back as a new dead letter. Redis keeps what was sent.
    """
    result = dead_letters.redrive(settings, reasons, since, dry_run)
    for reason, count in sorted(result.sent.items()):
        click.echo(f"{reason}: {count:,}")
    total = sum(result.sent.values())
    verb = "would be sent again" if dry_run else "sent again"
    notes = [f"{result.mended:,} with another key"]
    notes += [f"{result.done_before:,} were sent before"] if result.done_before else []
    notes += [f"{result.too_large:,} are too large"] if result.too_large else []
    click.echo(f"{total:,} {verb} ({', '.join(notes)})")
