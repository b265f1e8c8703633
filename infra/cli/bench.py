"""``headrace bench``: figures that settle arguments, by published protocols."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

from infra.cli.bars import Bars, quiet
from infra.cli.helps import Group
from infra.cli.parameters import Duration
from infra.cli.signals import unwinding
from infra.quality import ader, bench, logs, plot, tables
from infra.quality.plan import Plan
from infra.quality.runs import Setup
from infra.settings import Settings, settings_file, with_settings
from infra.whole_files import refuse_inputs, write_whole
from online_models.errors import InputError
from streams import recorded_catalogue
from streams.config import PipelineConfig
from streams.warm_up import warm_up


class Lags(click.ParamType):
    """Lengths of time, comma separated: as given, and in ms.

    >>> Lags().convert("0s,1m,1d", None, None)
    (('0s', 0), ('1m', 60000), ('1d', 86400000))
    """

    name = "LAGS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        return tuple((part, self._ms(part, param, ctx)) for part in parts)

    def _ms(self, part: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        days = part[:-1] if part.endswith("d") else None
        seconds = Duration().convert(f"{days}h" if days is not None else part, param, ctx)
        return round(seconds * 1000) * (24 if days is not None else 1)


@click.group("bench", cls=Group, short_help="How good are the lists, by published protocols?")
def command() -> None:
    """Measure quality by published protocols, with intervals."""


@command.command(
    "quality",
    short_help="Run sets and logs, print tables, write JSON, Markdown and a plot.",
    examples=[
        "headrace bench quality --set log.jsonl.gz --ablate --json out.json",
        "headrace bench quality --set log.jsonl.gz --lag 0s,1s,1m,1h,1d",
        "headrace bench quality --set ader-diginetica --data DIR",
    ],
)
@click.argument("logs_", metavar="[LOG]...", nargs=-1)
@click.option(
    "--set",
    "sets",
    metavar="SET",
    multiple=True,
    help=f"{', '.join(ader.SETS)}, or a recorded LOG; may be given again.",
)
@click.option("--data", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="Where the sets lie.")
@click.option(
    "--track",
    type=click.Choice([bench.FROZEN, bench.PREQUENTIAL]),
    help="Of a set with periods: learn nothing of a period before all of it is tested, or each event at once. [default: both]",
)
@click.option("--ablate", is_flag=True, help="Run again without each part, and say what it is worth.")
@click.option(
    "--part",
    "parts",
    metavar="NAME",
    multiple=True,
    help="Of --ablate only this part, such as deep; may be given again.",
)
@click.option(
    "--lag", "lags", type=Lags(), metavar="LAGS", default=(), help="Learn so much later, such as 0s,1s,1m,1h,1d."
)
@click.option(
    "--model",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="An artefact that takes part; of a set with periods, a folder of one for each period: DIR/1, DIR/2 ...",
)
@click.option(
    "--catalogue", metavar="FILE", help="What is known of the items of the logs (JSON Lines), from the start on."
)
@click.option(
    "--periods", metavar="N", type=click.IntRange(1), help="Of a set with periods, test 1 to N. [default: all]"
)
@click.option(
    "--limit", metavar="N", type=click.IntRange(2), help="Only so many events of each log, or of each period."
)
@click.option(
    "--json", "out", metavar="OUT", type=click.Path(path_type=Path), help="Results as JSON; OUT.md, OUT.svg beside it."
)
@with_settings
def quality(
    logs_: tuple[str, ...], sets: tuple[str, ...], data: Path | None, track: str | None, ablate: bool, parts: tuple[str, ...],
    lags: tuple[tuple[str, int], ...], model: Path | None, catalogue: str | None, periods: int | None, limit: int | None, out: Path | None,
    settings: Settings,
) -> None:  # fmt: skip
    """Put the queries of published protocols to the pipeline, and say what its lists are worth.

    Sets with periods: the protocol of ADER. Recorded logs: every moment is asked about before it is learned, the first 20 % are learned
    only. Intervals are 95 %, of a bootstrap over sessions.
    """
    names = (*sets, *logs_)
    if not names:
        raise InputError("a set or a log", "none", f"give --set with one of {', '.join(ader.SETS)}, or a recorded log")
    if out is not None and not out.absolute().parent.is_dir():
        raise InputError("an existing folder for --json", str(out.parent), "create it first, or choose another")
    refuse_inputs(
        (out, *(out.with_suffix(s) for s in (".md", ".svg"))) if out is not None else (),
        (*_read(names, data, model), catalogue, settings_file()),
    )
    items = tuple(recorded_catalogue.read(catalogue)) if catalogue is not None else ()
    results = []
    with unwinding(), quiet(), _Bars() as bars:
        warm_up(settings.pipeline)
        for name in names:
            plan, config = _plan(name, data, periods, limit, settings.pipeline)
            tracks = (track,) if track else (bench.FROZEN, bench.PREQUENTIAL)[len(plan.bounds) < 3 :]
            wish = bench.Wish(tracks, ablate or bool(parts), parts, lags)
            setup = Setup(config, model=_models(model, len(plan.bounds) > 2), catalogue=items)
            results.append(bench.run(plan, setup, wish, bars.watch(plan)))
            if out is not None:
                _write(out, results)
    if out is not None:
        click.echo(f"{out}, {out.with_suffix('.md')}, {out.with_suffix('.svg')}: written", err=True)
    if sys.stdout.isatty():
        Console().print(Markdown(tables.page(results)))
    else:
        click.echo(tables.page(results), nl=False)


def _write(out: Path, results: list[dict[str, Any]]) -> None:
    """JSON, tables and plot of the sets that are done: the next one may take hours."""
    write_whole(out, msgspec.json.format(msgspec.json.encode({"v": 1, "results": results}), indent=1) + b"\n")
    write_whole(out.with_suffix(".md"), tables.page(results).encode())
    write_whole(out.with_suffix(".svg"), plot.svg(plot.panels(results)).encode())


def _read(names: tuple[str, ...], data: Path | None, model: Path | None) -> list[Path | None]:
    """Files and folders that may be meant."""
    files = [Path(folder, name) for name in names for folder in ((".", data) if data is not None else (".",))]
    return [*files, model, *(ader.folder_of(name, data) for name in names if name in ader.SETS)]


def _plan(
    name: str, data: Path | None, periods: int | None, limit: int | None, config: PipelineConfig
) -> tuple[Plan, PipelineConfig]:
    """What is asked of a set or log, and the settings under which: the protocol of ADER counts an item that comes twice in a row."""
    if name in ader.SETS:
        filters = msgspec.structs.replace(config.filters, repeats=True)
        config = msgspec.structs.replace(config, filters=filters)
        return ader.plan(name, ader.read(ader.folder_of(name, data), periods, limit), config), config
    beside = data / name if data is not None else None
    path = str(beside) if beside is not None and not Path(name).exists() and beside.exists() else name
    if not Path(path).exists():
        raise InputError(
            f"a set ({', '.join(ader.SETS)}) or a recorded log", f"{name!r}, which is neither, nor a file",
            "name one of the sets, or check the path; `headrace import csv` makes a log of a CSV",
        )  # fmt: skip
    return logs.plan(path, config, limit), config


def _models(model: Path | None, periods: bool) -> Callable[[int], Path | None]:
    """Which artefact takes part from the start of a period on. Only period 0 of several, which is not tested, may do without."""

    def found(period: int) -> Path | None:
        if model is None:
            return None
        folder = model / str(period) if periods else model
        return folder if period or not periods or folder.is_dir() else None

    return found


class _Bars:
    """A bar for each run."""

    def __init__(self) -> None:
        rate = "{task.fields[rate]:,.0f} events/s"
        self._bar = Bars("{task.description}", BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())

    def __enter__(self) -> _Bars:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def watch(self, plan: Plan) -> bench.Watch:
        """Bars for the runs of a plan."""

        def begin(name: str) -> Callable[[int, int], None]:
            task = self._bar.add_task(f"{plan.name}: {name}", total=plan.events, rate=0.0)
            started = time.monotonic()

            def progress(done: int, total: int) -> None:
                if done % 500 == 0 or done == total:
                    self._bar.update(task, completed=done, rate=done / max(time.monotonic() - started, 1e-3))
                if done == total:
                    self._bar.remove_task(task)

            return progress

        return begin
