"""``headrace import``: public logs into our log format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, TaskProgressColumn, TimeRemainingColumn

from infra.cli.bars import Bars
from infra.cli.helps import write_examples
from infra.importers import times
from infra.importers.column_map import FIELDS, is_field, nearest_field
from infra.importers.engine import Progress, Window, import_log
from infra.importers.formats import formats
from infra.importers.layout import Format, Options
from infra.importers.rows import BadRow

FORMATS = formats()
_FIELDS = f"Fields: {', '.join(FIELDS)}."


class _Import(click.Command):
    """The command; its help shows what belongs to a format, if one is named: every option, or those that it takes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.obj = next((FORMATS[arg] for arg in args if arg in FORMATS), None)
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        known: Format | None = ctx.obj
        words = f"{known.name}{'' if known.locate else ' PATH...'}" if known else "FORMAT PATH..."
        formatter.write_usage(ctx.command_path, f"{words} -o LOG [OPTIONS]")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for option in self.get_params(ctx):
            takers = _takers(option.name or "")
            record = option.get_help_record(ctx)
            if record is None or (ctx.obj is not None and takers and ctx.obj.name not in takers):
                continue
            only = f"  [{', '.join(takers)}]" if takers and ctx.obj is None else ""
            rows.append((record[0], record[1] + only))
        with formatter.section("Options"):
            formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if ctx.obj is None:
            with formatter.section("Formats"):
                formatter.write_dl([(format.name, format.summary) for format in FORMATS.values()])
            write_examples(formatter, [FORMATS["yoochoose"].example, FORMATS["csv"].example])
            formatter.write_paragraph()
            formatter.write_text("What holds for one format alone: headrace import FORMAT --help")
        else:
            formatter.write_paragraph()
            formatter.write_text(f"{ctx.obj.name}: {ctx.obj.summary}")
            write_examples(formatter, [ctx.obj.example])


def _takers(parameter: str) -> Sequence[str]:
    """The formats to which an option belongs; none if it belongs to all."""
    name = {"pairs": "map"}.get(parameter, parameter)
    return [format.name for format in FORMATS.values() if name in format.takes]


@click.command("import", cls=_Import, short_help="Make a log of CSV, JSON Lines, Parquet or a public data set.")
@click.argument("format", type=click.Choice(list(FORMATS)), metavar="FORMAT")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="PATH...")
@click.option(
    "-o",
    "--output",
    "log",
    required=True,
    type=click.Path(path_type=Path),
    metavar="LOG",
    help="Where the log goes: JSON Lines, packed if it ends in .gz.",
)
@click.option(
    "--map",
    "pairs",
    multiple=True,
    metavar="FIELD=COLUMN",
    help=f"Which column stands for a field (repeat); one of the field's own name needs none. {_FIELDS}",
)
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
            raise click.BadParameter(_what_is_wrong(pair, field, column, columns), param_hint="--map")
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


def _what_is_wrong(pair: str, field: str, column: str, columns: dict[str, str]) -> str:
    if field in columns:
        return f"{field} is mapped twice, to {columns[field]} and to {column or 'nothing'}; leave one out"
    if is_field(field):
        return f"{pair!r} names no column; say {field}=COLUMN"
    near = nearest_field(field)
    guess = f"did you mean {near}={column or 'COLUMN'}? " if near else ""
    return f"{pair!r} is not FIELD=COLUMN, because {field!r} is no field; {guess}{_FIELDS}"


def _time(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else times.parser()(text)
    except BadRow as bad:
        raise click.BadParameter(f"{text!r} is not a time such as 2017-11-25", param_hint=option) from bad


@contextmanager
def _progress() -> Iterator[Progress]:
    """On stderr: what is being done, and how much of it is."""
    with Bars("{task.description}", BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("read", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total or None)
