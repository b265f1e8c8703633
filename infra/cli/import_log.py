"""``headrace import``: public logs into our log format."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress as Bar

from infra.importers import times
from infra.importers.column_map import is_field
from infra.importers.engine import Progress, Window, import_log
from infra.importers.formats import formats
from infra.importers.layout import Format, Options
from infra.importers.rows import BadRow

FORMATS = formats()
_SUMMARIES = "\b\nFormats:\n" + "\n".join(f"  {f.name:<16} {f.summary}" for f in FORMATS.values())


@click.command("import", epilog=_SUMMARIES)
@click.argument("format", type=click.Choice(list(FORMATS)), metavar="FORMAT")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="PATH...")
@click.option(
    "-o",
    "--output",
    "log",
    required=True,
    type=click.Path(path_type=Path),
    metavar="LOG",
    help="JSON Lines; .gz is packed.",
)
@click.option("--map", "pairs", multiple=True, metavar="FIELD=COLUMN", help="Which column stands for a field (repeat).")
@click.option("--columns", metavar="NAME,...", help="The columns of a file that has no header.")
@click.option("--delimiter", metavar="TEXT", help="What separates columns; found out when not given.")
@click.option("--time-format", metavar="FORMAT", help="auto, seconds, ms, iso or a pattern such as '%d.%m.%Y %H:%M'.")
@click.option("--event-type", metavar="WORD", help="Event type of rows that have none.")
@click.option(
    "--item", type=click.Choice(["track", "artist"]), help="What is recommended: a track (default) or an artist."
)
@click.option("--since", metavar="TIME", help="Keep events from this time on (default 1990-01-01).")
@click.option("--until", metavar="TIME", help="Keep events before this time (default: tomorrow).")
def command(
    format: str,
    paths: tuple[Path, ...],
    log: Path,
    pairs: tuple[str, ...],
    since: str | None,
    until: str | None,
    **given: str | None,
) -> None:
    """Turn a public log into a recorded log at LOG, sorted by time.

    PATHs are files, folders or .zip archives (.gz as well); several are one data set. Rows that are no events do not
    stop the import; the closing count says how many there were and why.
    """
    chosen = FORMATS[format]
    _check_usage(chosen, paths, {"map": pairs, **given})
    window = Window.up_to_now(_time("--since", since), _time("--until", until))
    with _progress() as progress:
        tally = import_log(chosen, paths, log, _options(pairs, given), window=window, progress=progress)
    click.echo(tally.report(str(log)), err=True)


def _check_usage(format: Format, paths: tuple[Path, ...], given: dict[str, object]) -> None:
    if format.locate and paths:
        raise click.UsageError(f"{format.name} takes no PATH: it is {format.summary.removeprefix('no PATH: ')}")
    if not format.locate and not paths:
        raise click.UsageError(f"{format.name} needs a PATH: {format.summary}")
    for name, value in given.items():
        if value and name not in format.takes:
            raise click.UsageError(f"--{name.replace('_', '-')} says nothing about {format.name}")


def _options(pairs: tuple[str, ...], given: dict[str, str | None]) -> Options:
    columns: dict[str, str] = {}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not equals or not column or not is_field(field) or field in columns:
            raise click.BadParameter(
                f"{pair!r} is not FIELD=COLUMN with a field of the log, each once", param_hint="--map"
            )
        columns[field] = column
    time_format = given["time_format"]
    if time_format is not None and not times.is_time_format(time_format):
        raise click.BadParameter(
            f"{time_format!r}: auto, seconds, ms, iso or a pattern with %", param_hint="--time-format"
        )
    if len(given["event_type"] or "") > 64:
        raise click.BadParameter("longer than 64 characters", param_hint="--event-type")
    delimiter, names = given["delimiter"], given["columns"]
    return Options(
        columns=columns,
        names=tuple(name.strip() for name in names.split(",")) if names else None,
        delimiter={"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter) if delimiter else None,
        time_format=time_format,
        event_type=given["event_type"],
        item=given["item"] or "track",
    )


def _time(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else times.parser()(text)
    except BadRow as bad:
        raise click.BadParameter(f"{text!r} is not a time such as 2017-11-25", param_hint=option) from bad


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr while it is a terminal, else nothing."""
    with Bar(console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("read", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total or None)
