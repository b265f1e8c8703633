"""``headrace replay``: a recorded log through the whole path, without broker or Redis."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
from rich.table import Table

from infra import replay_report
from infra.cli.bars import Bars, quiet
from infra.cli.helps import Command
from infra.cli.signals import unwinding
from infra.cli.tables import console
from infra.figures import FIGURES, LISTS, by_list, silent
from infra.settings import Settings, settings_file, with_settings
from infra.whole_files import refuse_inputs
from online_models.errors import InputError
from streams.contracts.experiments import Experiment
from streams.replay import Replay
from streams.warm_up import warm_up


@click.command(
    "replay",
    cls=Command,
    short_help="Play a log without broker or Redis: how good were the lists?",
    examples=[
        "headrace replay log.jsonl.gz --report report.json  # and report.html",
        "headrace replay log.jsonl.gz --limit 20000 --json",
        "headrace replay l.gz --published p.gz --experiment x.yaml",
    ],
)
@click.argument("log")
@click.option("--recs-out", metavar="FILE", help="For every event, the list from just before it (.gz is compressed).")
@click.option("--published", metavar="FILE", help="The records that a worker would publish (.gz is compressed).")
@click.option("--report", "report_out", metavar="FILE", help="The report as JSON, and as a page beside it (.html).")
@click.option(
    "--model", metavar="DIR", type=click.Path(path_type=Path), help="An artefact of `headrace train` that takes part."
)
@click.option(
    "--experiment",
    "definitions",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An experiment (YAML) that runs meanwhile; may be given again.",
)
@click.option("--catalogue", metavar="FILE", help="What is known of the items (JSON Lines), from the start on.")
@click.option("--limit", metavar="N", type=click.IntRange(1), help="Stop after this many events.")
@click.option(
    "--batch",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Events in a micro-batch; changes nothing but speed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON instead of a table.")
@with_settings
def command(
    log: str, recs_out: str | None, published: str | None, report_out: str | None, model: Path | None, definitions: tuple[Path, ...],
    catalogue: str | None, limit: int | None, batch: int, as_json: bool, settings: Settings,
) -> None:  # fmt: skip
    """Play LOG (JSON Lines, .gz or Parquet) and say how good the recommendations were, event by event.

    Each event is predicted first and learned after. The first 20 % of the log are learned and not judged.
    """
    if log == "-":
        raise InputError("a file, because a replay reads it twice", "standard input", "save it to a file first")
    report_files = replay_report.outputs(report_out) if report_out else ()
    refuse_inputs(
        (recs_out, published, *report_files),
        (log, catalogue, settings_file(), *definitions, model),
    )
    experiments = _experiments(definitions, settings)
    with (
        unwinding(),
        quiet(),
        Bars(
            "replaying", BarColumn(), MofNCompleteColumn(), "{task.fields[rate]:,.0f} events/s", TimeRemainingColumn()
        ) as bar,
    ):
        task = bar.add_task("replay", total=None, rate=0.0)
        warm_up(settings.pipeline)
        started = time.monotonic()

        def progress(done: int, total: int) -> None:
            if done % 500 == 0 or done == total:
                rate = done / max(time.monotonic() - started, 1e-3)
                bar.update(task, completed=done, total=total, rate=rate)

        topic = settings.topics.events
        job = Replay(
            log, settings.pipeline, recs_out, published, limit, batch, progress, topic, model, experiments, catalogue
        )
        report = job.run()
    if report["events"] == 0:
        raise replay_report.no_events(report, log)
    report |= replay_report.facts(job)
    if report_out:
        click.echo(replay_report.write(report, report_out), err=True)
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    elif "-" not in (recs_out, published):
        _show(report)


def _experiments(files: tuple[Path, ...], settings: Settings) -> tuple[Experiment, ...]:
    """All from the start of the log on; each is checked against those before it."""
    if not files:
        return ()
    from infra.experiments import lists_of, read_definition
    from streams.experiment_rules import begin

    lists, begun = lists_of(settings), dict[str, Experiment]()
    for number, file in enumerate(files):
        definition = read_definition(file)
        begun[definition.name] = begin(definition, begun, lists, {}, number)
    return tuple(begun.values())


def _show(report: dict[str, Any]) -> None:
    table = Table(title=f"{report['log']}: {report['scored']:,} moments judged", title_justify="left")
    table.add_column("list")
    for name in FIGURES.values():
        table.add_column(name, justify="right")
    for name, m in by_list(report).items():
        table.add_row(LISTS.get(name, name), *(f"{m[key]:.4f}" for key in FIGURES))
    out = console(highlight=True)
    out.print(table)
    if quiet := silent(report):
        out.print(f"{', '.join(quiet)}: never named an item")
    ms = report["latency_ms"]
    out.print(
        f"{report['events']:,} events, {report['events_per_s']:,.0f} events/s; per event p50 {ms['p50']:.2f} ms, "
        f"p95 {ms['p95']:.2f} ms, p99 {ms['p99']:.2f} ms; peak memory {report['peak_rss_mb']:,.0f} MB"
    )
    for note in replay_report.notes(report):
        out.print(note, markup=False, highlight=False)
