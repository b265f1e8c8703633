"""``headrace publish-model``: an artefact to where workers fetch it, and the announcement on topic models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from infra import topics
from infra.cli.helps import Command
from infra.settings import Settings, with_settings
from online_models.errors import InputError

if TYPE_CHECKING:
    from offline.publish import InUse
    from streams.contracts.models import Announcement


@click.command(
    "publish-model",
    cls=Command,
    short_help="Put an artefact where workers fetch it, and announce it.",
    examples=[
        "headrace publish-model model-2",
        "headrace publish-model model-2 --to s3://shop/models --keep 3",
    ],
)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--to", metavar="URL", help="A folder or an fsspec URL (s3://…); by default published/ in the data folder."
)
@click.option("--keep", metavar="N", type=click.IntRange(1), default=5, show_default=True, help="Versions that stay.")
@click.option("--pin", multiple=True, metavar="VERSION", help="A version that stays however old it is.")
@click.option("--announce/--no-announce", default=True, help="Tell the workers.")
@click.option("--json", "as_json", is_flag=True, help="Print the announcement as JSON instead of a line.")
@with_settings
def command(
    folder: Path, to: str | None, keep: int, pin: tuple[str, ...], announce: bool, as_json: bool,
    settings: Settings,
) -> None:  # fmt: skip
    """Copy the artefact DIR to where workers fetch it, and announce it on topic models."""
    from offline.publish import publish

    tell = announcer(settings) if announce else lambda announcement: None
    stay = {*pin, *(in_use(settings).kept if announce else ())}
    announcement = publish(folder, to or default_place(settings), tell, keep, stay)
    if as_json:
        click.echo(msgspec.json.encode(announcement).decode())
        return
    told = f"announced on topic {settings.topics.models}" if announce else "not announced"
    click.echo(f"{announcement.version}: copied to {announcement.uri}, {told}")


def default_place(settings: Settings) -> str:
    """Where versions go if nothing else is said: a folder of its own for each topic prefix."""
    return str(settings.data_dir / f"{settings.topic_prefix}published")


def in_use(settings: Settings) -> InUse:
    """What the workers are at, by topics ``models``, ``models.decisions``, ``models.status`` and ``experiments``."""
    from infra import experiments, models
    from offline.publish import InUse

    known = models.read(settings)
    found, next_in_line = known.overview, known.fleet.after_rollback
    rejected = frozenset(v.version for v in found.versions if v.state == "rolled back")
    kept = {
        found.live,
        found.candidate,
        next_in_line.version if next_in_line is not None else None,
        *(w.live for w in found.workers),
        *(w.candidate for w in found.workers),
        *(name for e in experiments.read(settings).values() if e.state == "running" for name in e.models),
    }
    return InUse(known.fleet.wanted.live, rejected, frozenset(version for version in kept if version), found.comparing)


def announcer(settings: Settings) -> Callable[[Announcement], None]:
    """Sends announcements to topic models and waits until the broker has them; then takes decisions off topic
    models.decisions that say nothing any more.

    Raises InputError for one that is older than what the topic has: running workers leave it alone, but compaction would leave
    only it to those that start later.
    """
    from infra import models
    from streams.contracts.models import SLOT

    topics.require(settings, settings.topics.models)

    def tell(announcement: Announcement) -> None:
        fleet = models.read(settings).fleet
        newest = fleet.announced
        if newest is not None and announcement.created < newest.created:
            remedy = "`headrace models promote` makes an older one live, if it was announced before"
            raise InputError(f"a version newer than {newest.version}", announcement.version, remedy)
        with topics.producer(settings) as client:
            sent = client.send(settings.topics.models, value=msgspec.json.encode(announcement), key=SLOT.encode())
            topics.acknowledged(sent)
        # Each version adds a key to topic models.decisions. As of before this announcement: a worker may read it after
        # what is taken off, and would try what it was to replace.
        if spent := fleet.spent():
            models.forget(settings, spent)

    return tell
