"""How a command's help is laid out: its own options, then those that all commands share, then examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from infra.settings import SharedOption


class Command(click.Command):
    """A click command with ``examples``: whole command lines, shown as they stand, comments after ``#`` in line."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                (shared if isinstance(parameter, SharedOption) else own).append(
                    (record[0], _plain(parameter, record[1]))
                )
        for name, rows in (("Options", own), ("Settings, the same for every command", shared)):
            if rows:
                with formatter.section(name):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        write_examples(formatter, self.examples)


class Group(click.Group):
    """A group whose commands are `Command`."""

    command_class = Command


def _plain(parameter: click.Parameter, text: str) -> str:
    """Without the round brackets in which click puts a default that is shown as text."""
    shown = getattr(parameter, "show_default", None)
    return text.replace(f"[default: ({shown})", f"[default: {shown}") if isinstance(shown, str) else text


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """A section of command lines, none of them wrapped: they can be copied."""
    if not examples:
        return
    with formatter.section("Examples" if len(examples) > 1 else "Example"):
        width = max(len(line.partition("#")[0].rstrip()) for line in examples)
        for line in examples:
            command, hash_, comment = line.partition("#")
            formatter.write(f"  {command.rstrip():<{width}}  # {comment.strip()}\n" if hash_ else f"  {command}\n")
