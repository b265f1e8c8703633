"""``headrace offline``: archive, train, gate and publish as a service."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import click

from infra.cli.helps import Command
from infra.cli.parameters import Duration
from infra.cli.publish_model import announcer, default_place, in_use
from infra.cli.signals import until_told
from infra.cli.train import config_of, training_log
from infra.drifts import FIGURES, drifts
from infra.settings import Settings, with_settings
from streams.contracts.models import SLOT


@click.command(
    "offline",
    cls=Command,
    short_help="Archive, train, gate and publish again and again, as a service.",
    examples=[
        "headrace offline --every 15m",
        "headrace offline --every 6h --on-drift",
        "headrace offline --log log.jsonl.gz --once --no-announce  # one round",
    ],
)
@click.option(
    "--log", "log_path", metavar="LOG", type=click.Path(path_type=Path),
    help="Recorded log, or archive folder, read as it is; by default archive/ in the data folder, after archiving what is new.",
)  # fmt: skip
@click.option(
    "--every", type=Duration(), default="15m", show_default=True, help="From the start of a round to the next."
)
@click.option(
    "--on-drift", is_flag=True,
    help="A round comes early, once between two regular ones, when the workers find that a quality has become worse.",
)  # fmt: skip
@click.option(
    "--drift-of", "figures", metavar="FIGURE", multiple=True, default=FIGURES, show_default=True,
    help="With --on-drift: the figures that count; may be given again.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="One round; exit status 1 if it published nothing it should have.")
@click.option("--model", default="sasrec", show_default=True, help="As for `headrace train`.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--items", "catalogue", type=click.Path(path_type=Path), help="Catalogue (JSONL), for two_tower.")
@click.option("--to", metavar="URL", help="Where versions go; by default published/ in the data folder.")
@click.option("--margin", type=click.FloatRange(0, 1), default=0.02, show_default=True, help="For the gate.")
@click.option(
    "--fewest",
    metavar="N",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="New events that are worth a round.",
)
@click.option(
    "--patience", type=Duration(), default="12h", show_default=True,
    help="How long rounds wait for the end of a trial, which another version would end.",
)  # fmt: skip
@click.option("--keep", type=click.IntRange(1), default=5, show_default=True, help="Versions that stay.")
@click.option("--announce/--no-announce", default=True, help="Tell the workers.")
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="A setting of model or trainer.")
@with_settings
def command(
    log_path: Path | None, every: float, on_drift: bool, figures: tuple[str, ...], once: bool, model: str, device: str,
    catalogue: Path | None, to: str | None,
    margin: float, fewest: int, patience: float, keep: int, announce: bool, values: tuple[str, ...], settings: Settings,
) -> None:  # fmt: skip
    """Every so often: archive what has happened, read it, train on from the version published last, and publish what passes the gate.

    Where `headrace archive` runs on the same folder, that one archives. A round that fails is told in one line, and the next
    one comes. SIGTERM and Ctrl-C stop the service; a training that they cut off leaves a checkpoint.
    """
    from offline import schedule
    from offline.gate import GateConfig

    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    logging.getLogger("headrace").setLevel(logging.INFO)
    job = config_of(model, values, {"device": device})
    with until_told() as (stop, interrupted):
        plan = schedule.Plan(
            folder=settings.data_dir / f"{settings.topic_prefix}offline" / SLOT,
            read=lambda excerpt, look: training_log(
                settings, log_path or _archived(settings, stop.is_set), excerpt, look
            ),
            to=to or default_place(settings),
            job=job,
            gate=GateConfig(margin=margin),
            fewest=fewest,
            keep=keep,
            catalogue=catalogue,
            fleet=(lambda: in_use(settings)) if announce else None,
            patience_s=patience,
        )
        tell = (lambda a: announcer(settings)(a)) if announce else (lambda a: None)
        with drifts(settings, figures) if on_drift else nullcontext() as early:
            outcome = schedule.serve(plan, every, tell, stop, 1 if once else None, early=early)
    if interrupted():
        raise KeyboardInterrupt
    if once and outcome.what in ("failed", "refused"):
        raise click.exceptions.Exit(1)


def _archived(settings: Settings, stop: Callable[[], bool]) -> Path:
    """The archive's folder, with what topic ``events`` holds now. Raises as `archive.archive_once`."""
    from infra import archive
    from infra.archive_store import ArchiveBusy

    told = logging.getLogger("headrace")
    folder = archive.default_folder(settings)
    try:
        told.info("%s", archive.archive_once(settings, folder, tell=told.warning, stop=stop))
    except ArchiveBusy as busy:
        told.info("the archive is read as it is: %s", busy)
    return folder
