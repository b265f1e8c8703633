"""The ``headrace`` command: one file a command, each imported only when it is called."""

from __future__ import annotations

import importlib
import sys

import click

from online_models.errors import HeadraceError

COMMANDS = {
    "import": "infra.cli.import_log",
    "replay": "infra.cli.replay",
    "explain": "infra.cli.explain",
    "tune": "infra.cli.tune",
    "topics": "infra.cli.topics",
    "worker": "infra.cli.worker",
    "publish": "infra.cli.publish",
    "tail": "infra.cli.tail",
    "dlq": "infra.cli.dlq",
    "archive": "infra.cli.archive",
    "train": "infra.cli.train",
    "gate": "infra.cli.gate",
    "publish-model": "infra.cli.publish_model",
    "models": "infra.cli.models",
    "offline": "infra.cli.offline",
    "experiment": "infra.cli.experiment",
    "bench": "infra.cli.bench",
    "demo": "infra.cli.demo",
}
"""Command name → module that holds it, as ``command``."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)  # noqa: S101
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="headrace")
def cli() -> None:
    """Headrace: recommendations that already know the click that has just happened."""


def main() -> None:
    """Entry point. Exit status: 0 done, 1 the work failed, 2 wrong usage, 130 after Ctrl-C."""
    try:
        status = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except HeadraceError as error:
        click.echo(f"headrace: {error}", err=True)
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        click.echo("headrace: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    sys.exit(status if isinstance(status, int) else 0)
