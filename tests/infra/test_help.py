"""The help: readable on a narrow terminal, and every example in it is a command line that is understood."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from infra.cli import cli
from infra.cli.helps import Command
from infra.cli.import_log import FORMATS

WIDTH = 80


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name), found


COMMANDS = dict(commands(cli))
EXAMPLES = [line for command in COMMANDS.values() if isinstance(command, Command) for line in command.examples]
EXAMPLES += [known.example for known in FORMATS.values()]


def help_of(*args: str) -> str:
    result = CliRunner().invoke(cli, [*args, "--help"], prog_name="headrace", terminal_width=WIDTH)
    assert result.exit_code == 0
    return result.output


def test_every_command_fits_on_one_line() -> None:
    text = help_of()
    listed = text.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == cli.list_commands(click.Context(cli))
    assert "..." not in "".join(listed)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_shows_an_example_and_the_settings_apart(path: tuple[str, ...]) -> None:
    text = help_of(*path)
    assert f"headrace {' '.join(path)}" in text.partition("\nExample")[2]
    assert max(map(len, text.splitlines())) <= WIDTH + 2
    if path != ("import",):
        own, _, shared = text.partition("\nSettings, the same for every command:\n")
        assert "  --broker " not in own
        assert all(f"--{name} " in shared for name in ("broker", "redis", "web", "data-dir", "topic-prefix", "config"))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_defaults_stand_in_one_kind_of_brackets(path: tuple[str, ...]) -> None:
    assert "[default: (" not in " ".join(help_of(*path).split())


def test_defaults_that_are_shown_as_text_are_as_one_writes_them() -> None:
    text = " ".join(help_of("experiment", "readout").split())
    assert "[default: 10s]" in text
    assert "[default: 24h]" in text


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_shows_its_example_and_its_options(name: str) -> None:
    text = help_of("import", name)
    known = FORMATS[name]
    assert known.example in text.replace("\n  ", "\n").replace("\n    --map", "\n      --map")
    assert f"{name}: " in text
    for option, flag in (
        ("map", "--map"),
        ("columns", "--columns"),
        ("time_format", "--time-format"),
        ("item", "--item"),
    ):
        assert (f"  {flag} " in text) == (option in known.takes)
    line = next(line for line in help_of("import").splitlines() if line.startswith(f"  {name} "))
    assert " ".join(line.split()) == f"{name} {known.summary}"


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_is_understood(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("model", "model-2"):
        (tmp_path / folder).mkdir()
    (tmp_path / "log.jsonl.gz").touch()
    (tmp_path / "items.jsonl").touch()
    for part in line.split("|")[-1:]:
        program, *args = shlex.split(part.replace("\\\n", " "), comments=True)
        assert program == "headrace"
        path = next(path for path in COMMANDS if tuple(args[: len(path)]) == path)
        context = COMMANDS[path].make_context("headrace", args[len(path) :], parent=click.Context(cli))
        assert context.params
