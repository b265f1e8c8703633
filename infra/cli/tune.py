"""``headrace tune``: settings of sources and blend that suit a log, searched on its first part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn
from rich.table import Table

from infra.cli.bars import Bars
from infra.cli.helps import Command
from infra.cli.parameters import Duration
from infra.cli.signals import unwinding
from infra.cli.tables import console
from infra.settings import Settings, settings_file, with_settings
from infra.tuning.run import Found, Plan, as_json, figures, tune
from infra.tuning.search import Result
from infra.tuning.space import Space
from infra.tuning.toml import written
from infra.whole_files import write_whole
from online_models.errors import InputError
from online_models.metrics import NAMES

SLICES = ("searched", "validation")
HEAD = "written by headrace tune"
BUDGET_S = 600.0
SHOWN = 10
"""Of the trials, the best; and that of the settings as they are."""


@click.command(
    "tune",
    cls=Command,
    short_help="Search settings that suit a log, on its first part.",
    examples=[
        "headrace tune log.jsonl.gz --budget 10m",
        "headrace tune log.jsonl.gz --trials 40 --jobs 2 --out shop.toml",
    ],
)
@click.argument("log")
@click.option("--budget", type=Duration(), help="Time for all trials; 10m unless --trials is given.")
@click.option("--trials", metavar="N", type=click.IntRange(1), help="Trials besides that of the settings as they are.")
@click.option(
    "--share", type=click.FloatRange(0, 1, min_open=True), default=0.2, show_default=True, help="Of the log: its start."
)
@click.option("--metric", type=click.Choice(NAMES), default="ndcg@20", show_default=True, help="What is to be large.")
@click.option("--catalogue", metavar="FILE", help="What is known of the items (JSON Lines), from the start on.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--jobs", metavar="N", type=click.IntRange(1, 64), default=1, show_default=True, help="Trials at a time.")
@click.option(
    "--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), default=Path("tuned.toml"), show_default=True,
    help="The settings file to write; FILE.tuning beside it keeps what has been tried.",
)  # fmt: skip
@click.option("--json", "json_", is_flag=True, help="Print what was tried as JSON instead of tables.")
@with_settings
def command(
    log: str, budget: float | None, trials: int | None, share: float, metric: str, catalogue: str | None, seed: int, jobs: int, out: Path,
    json_: bool, settings: Settings,
) -> None:  # fmt: skip
    """Replay the first part of LOG under other settings of sources and blend, again and again, and write those that are best.

    The search looks at most of what is judged there; its end decides which of the best ones is taken. The settings as they are (the
    defaults, or --config) are trial 0 and stay where nothing is better. A search that was cut off goes on with the same command.
    """
    if log == "-":
        raise InputError("a file, because it is replayed again and again", "standard input", "save it to a file first")
    _check(out)
    if budget is None and trials is None:
        budget = BUDGET_S
    state = out.with_name(f"{out.name}.tuning")
    plan = Plan(log, settings.pipeline, state, share, metric, seed, budget, trials, jobs, catalogue=catalogue)
    with _resumable(state), unwinding(), Bars("tuning", BarColumn(), "{task.fields[told]}") as bar:
        task = bar.add_task("tune", total=1.0, told="the settings as they are")

        def progress(results: list[Result], seconds: float) -> None:
            shares = [seconds / budget] if budget else []
            shares += [len(results) / (trials + 1)] if trials else []
            bar.update(task, completed=min(max(shares), 1.0), told=_told(results, metric, seconds))

        found = tune(plan, progress)
    write_whole(out, written(found.space.config(found.chosen.point), _comments(found, log, metric)).encode())
    if json_:
        click.echo(as_json(found).decode())
    else:
        show(found, metric)
    if found.before:
        click.echo(
            f"{found.before} of the trials are of an earlier run, kept in {state}; their time counts. Remove it to search anew",
            err=True,
        )
    if found.space.changes(found.chosen.point):
        click.echo(f"{out}: settings for `headrace replay {log} --config {out}`", err=True)
    else:
        click.echo(f"{out}: the settings as they were, and in comments what was tried", err=True)


@contextmanager
def _resumable(state: Path) -> Iterator[None]:
    """Say that the same command goes on, where what has been tried is kept."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if state.exists():
            click.echo(
                f"headrace: the trials that are done are kept in {state}: the same command goes on there", err=True
            )
        raise


def _check(out: Path) -> None:
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError("an existing folder for the settings", str(out.parent), "create it first, or choose another")
    base = settings_file()
    if base is not None and out.exists() and base.exists() and out.samefile(base):
        raise InputError("another file to write than the one to start from", str(out), "set --out")
    if out.exists() and HEAD not in out.read_text("utf-8", "replace")[:200]:
        raise InputError("a file that headrace tune has written, or none", str(out), "set --out, or remove it")


def _told(results: list[Result], metric: str, seconds: float) -> str:
    ended = [means[0][metric] for result in results if (means := figures(result))]
    if not ended:
        return f"the settings as they are, {seconds:.0f} s"
    first = next((m[0][metric] for r in results if r.number == 0 and (m := figures(r))), ended[0])
    gain = max(ended) / first - 1.0 if first else 0.0
    return f"{len(results)} trials, {metric.upper()} {max(ended):.4f} ({gain:+.1%}), {seconds:.0f} s"


def _comments(found: Found, log: str, metric: str) -> list[str]:
    lines = [f"{HEAD}: {Path(log).name!r}, its first {found.part.events:,} events, {len(found.results)} trials"]
    means, start = figures(found.chosen), figures(found.results[0])
    if means and start:
        for name, old, new in (("searched", start[0], means[0]), ("validation", start[1], means[1])):
            lines.append(f"{metric} of the fresh list, {name} slice: {old[metric]:.4f} → {new[metric]:.4f}")
    return lines


def _short(space: Space, result: Result) -> str:
    changes = space.changes(result.point)
    return ", ".join(f"{path.removeprefix('sources.')} {_value(value)}" for path, value in changes.items()) or "none"


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(_value, value)) if isinstance(value, tuple) else str(value)


def show(found: Found, metric: str) -> None:
    """What was tried, what is different now, and what that is worth, for a person; what is to be concluded stands last."""
    out = console(highlight=True)
    results = _notable(found, metric)
    left_out = len(found.results) - len(results)
    title = f"{len(found.results)} trials on {found.part.events:,} events, {found.seconds:.0f} s"
    table = Table(title=title, title_justify="left")
    table.add_column("trial", justify="right")
    table.add_column("changes against the default")
    for name in (f"{metric.upper()} searched", "validation", "outcome"):
        table.add_column(name, justify="right")
    for r in results:
        means = figures(r)
        told = "chosen" if r.number == found.chosen.number else ""
        cells = (f"{means[0][metric]:.4f}", f"{means[1][metric]:.4f}") if means else (f"{r.judged.rungs[-1]:.4f} …", "")
        table.add_row(str(r.number), _short(found.space, r), *cells, told or ("" if means else "given up"))
    out.print(table)
    if left_out:
        out.print(f"the best trials, best first, below the settings as they are; {left_out:,} more in --json")
    _compare(out, found, metric)


def _notable(found: Found, metric: str) -> list[Result]:
    ended = sorted((r for r in found.results if figures(r)), key=lambda r: -_fit(r, metric))
    best = [r for r in ended if r.number != 0]
    chosen = [r for r in best[SHOWN:] if r.number == found.chosen.number]
    return [found.results[0], *best[:SHOWN], *chosen]


def _fit(result: Result, metric: str) -> float:
    means = figures(result)
    return means[0][metric] if means else -1.0


def _compare(out: Console, found: Found, metric: str) -> None:
    changes = found.space.changes(found.chosen.point)
    if not changes:
        out.print(
            "nothing was better on both slices, in one metric and worse in none: the settings stay as they are",
            style="bold",
        )
        return
    table = Table(title="what is different", title_justify="left")
    for name in ("setting", "default", "tuned"):
        table.add_column(name)
    for knob, start in zip(found.space.knobs, found.space.start, strict=True):
        if knob.path in changes:
            table.add_row(f"pipeline.{knob.path}", _value(knob.values[start]), _value(changes[knob.path]))
    out.print(table)
    old, new = figures(found.results[0]), figures(found.chosen)
    if old and new:
        table = Table(title="what it is worth there", title_justify="left")
        table.add_column("slice")
        for name in NAMES:
            table.add_column(name.upper(), justify="right")
        for n, which in enumerate(SLICES):
            cells = [f"{old[n][m]:.4f} → {new[n][m]:.4f} ({_gain(old[n][m], new[n][m])})" for m in NAMES]
            table.add_row(which, *cells)
        out.print(table)
        gains = ", ".join(f"{_gain(old[n][metric], new[n][metric])} {which}" for n, which in enumerate(SLICES))
        out.print(f"trial {found.chosen.number} is the best: {metric.upper()} {gains}", style="bold", soft_wrap=True)


def _gain(old: float, new: float) -> str:
    return f"{new / max(old, 1e-9) - 1:+.1%}"
