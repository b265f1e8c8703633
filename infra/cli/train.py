"""``headrace train``: a deep model from a recorded log or the archive."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.progress import BarColumn, TimeRemainingColumn

from infra.cli.bars import Bars
from infra.cli.helps import Command
from infra.settings import Settings, with_settings
from online_models.errors import InputError

if TYPE_CHECKING:
    from offline.excerpt import Excerpt
    from offline.log import Log
    from offline.train import Progress

FOLDER = click.Path(file_okay=False, path_type=Path)
THERE = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    "train",
    cls=Command,
    short_help="Train a deep model on a log; the result is an artefact.",
    examples=[
        "headrace train --log log.jsonl.gz --out model",
        "headrace train --log log.jsonl.gz --live model --out model-2  # goes on from it",
        "headrace train --log log.jsonl.gz --set dims=64 --epochs 5",
    ],
)
@click.option(
    "--log", "log_path", type=click.Path(path_type=Path), required=True, help="Recorded log, or archive folder."
)
@click.option(
    "--model", default="gru4rec", show_default=True, help="gru4rec, sasrec, two_tower, bprmf, ials, neumf, caser."
)
@click.option(
    "--epochs", metavar="N", type=click.IntRange(1), help="At most so many; fewer when validation no longer gains."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--out", type=FOLDER, help="The artefact's folder; by default one in the data folder, under models/.")
@click.option("--live", type=THERE, help="Go on from this version: learn what came since, repeat some of the past.")
@click.option(
    "--items",
    "catalogue",
    type=click.Path(path_type=Path),
    help="Catalogue (JSONL), for models that read it: two_tower.",
)
@click.option("--resume", is_flag=True, help="Go on where a killed run of the same data and settings was.")
@click.option(
    "--set", "values", multiple=True, metavar="NAME=VALUE", help="A setting of model or trainer, e.g. dims=64."
)
@with_settings
def command(
    log_path: Path, model: str, epochs: int | None, device: str, out: Path | None, live: Path | None,
    catalogue: Path | None, resume: bool, values: tuple[str, ...], settings: Settings,
) -> None:  # fmt: skip
    """Train a model on LOG and write it as an artefact folder.

    The newest tenth of the events is left for `headrace gate`, the tenth before it decides when to stop.
    """
    from offline import job

    config = config_of(model, values, {"device": device} | ({"epochs": epochs} if epochs else {}))
    if out is not None:
        job.refuse_existing(out)
    found = training_log(settings, log_path)
    folder = out or settings.data_dir / "models" / f"{model}-{found.times[-1]}"
    with _told(), _interruptible(job.checkpoint_of(folder), resume), progress_bar() as progress:
        result = job.train(found, folder, config, live, resume, progress, catalogue=catalogue)
    if not result.first:
        return
    m, run = result.manifest, result.run
    click.echo(f"{log_path}: {found}", err=True)
    click.echo(f"{folder}: {m.version}, {m.items:,} items × {m.dims}, {m.trained.events:,} events", err=True)
    click.echo(
        f"best of {len(run.losses)} epochs: {run.best + 1}; validation "
        + ", ".join(f"{name} {value:.4f}" for name, value in m.metrics.items())
        + f"; {run.events / max(run.seconds, 1e-9):,.0f} events/s",
        err=True,
    )
    click.echo(str(folder))


def config_of(model: str, values: tuple[str, ...], trainer: dict[str, Any]) -> Any:
    """The job's configuration: ``NAME=VALUE`` goes to the trainer if it has that setting, else to the model.

    Raises InputError for a model or a setting that is not there.
    """
    from offline.job import JobConfig
    from offline.model import model_class, settings_of
    from offline.train import TrainConfig

    of_job = ("holdout", "validation", "min_count", "exemplars")
    of_trainer, theirs = TrainConfig.__struct_fields__, model_class(model).config_type.__struct_fields__
    own: dict[str, Any] = {"model": model}
    of_model: dict[str, Any] = {}
    for text in values:
        name, mark, value = text.partition("=")
        if not mark:
            raise click.UsageError(f"expected NAME=VALUE, got {text!r}")
        if name not in (*of_job, *of_trainer, *theirs):
            names = f"{', '.join(theirs)} (of {model}), {', '.join((*of_trainer, *of_job))}"
            raise InputError(f"one of the settings {names}", repr(name), "correct --set")
        try:
            parsed = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            parsed = value
        to = trainer if name in of_trainer else of_model
        (own if name in of_job else to)[name] = parsed
    settings_of(model, of_model)
    try:
        return msgspec.convert(own | {"train": trainer, "settings": of_model}, JobConfig)
    except msgspec.ValidationError as error:
        raise InputError("settings as documented in docs/offline.md", str(error), "correct --set") from error


def training_log(
    settings: Settings, path: Path, excerpt: Excerpt | None = None, look: Callable[[], None] = lambda: None
) -> Log:
    """The log at ``path`` as workers of these settings learn it: the same types teach, the same sessions are asked with."""
    from offline import log

    pipeline = settings.pipeline
    teaching = [kind for kind, weight in pipeline.weights.items() if weight > 0]
    return log.read(path, teaching, pipeline.sessions.gap_s * 1000, excerpt, look, pipeline.filters.repeats)


class _Echo(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"headrace: {record.getMessage()}", err=True)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What the training has to say besides its progress goes to stderr, a line each."""
    told, handler = logging.getLogger("headrace"), _Echo()
    level = told.level
    told.addHandler(handler)
    told.setLevel(logging.INFO)
    try:
        yield
    finally:
        told.removeHandler(handler)
        told.setLevel(level)


@contextlib.contextmanager
def _interruptible(checkpoint: Path, resume: bool) -> Iterator[None]:
    """Say where the run begins, and after Ctrl-C how it can go on."""
    before = _written(checkpoint)
    if resume and not before:
        click.echo(f"headrace: no checkpoint at {checkpoint}: the training begins at the beginning", err=True)
    try:
        yield
    except KeyboardInterrupt:
        now = _written(checkpoint)
        if now and (resume or now != before):
            click.echo(f"\nheadrace: the same command with --resume goes on from {checkpoint}", err=True)
        raise


def _written(file: Path) -> int:
    """When the file was written (ns), 0 if it is not there."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None]]:
    """On stderr: epoch, loss, events/s and time left."""
    columns = ("loss {task.fields[loss]:.4f}", "{task.fields[rate]:,.0f} events/s", TimeRemainingColumn())
    with Bars("epoch {task.fields[epoch]}", BarColumn(), *columns) as bar:
        task = bar.add_task("train", total=None, epoch=1, loss=0.0, rate=0.0)
        yield lambda p: bar.update(
            task, completed=p.step, total=p.steps, epoch=p.epoch + 1, loss=p.loss, rate=p.events_per_s
        )
