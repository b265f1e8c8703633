"""``headrace topics``: make the topics, look at them."""

from __future__ import annotations

import click
import msgspec

from infra import topics
from infra.cli.helps import Group
from infra.settings import Settings, with_settings


@click.group("topics", cls=Group, short_help="Create and describe the topics.")
def command() -> None:
    """Create and describe the topics."""


@command.command(
    "create",
    short_help="Create the topics that are missing.",
    examples=[
        "headrace topics create --partitions 4",
    ],
)
@click.option(
    "--partitions",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=4,
    show_default=True,
    help="Of each topic; topics that exist stay as they are.",
)
@with_settings
def create(partitions: int, settings: Settings) -> None:
    """Create the topics that are missing, with N partitions each; as many workers can share the work."""
    for topic in topics.create(settings, partitions):
        outcome = "created" if topic.created else "exists"
        count = f"{topic.partitions} partition{'s' if topic.partitions != 1 else ''}"
        click.echo(f"{topic.name}: {outcome}, {count}")
        for difference in topic.differences:
            click.echo(f"headrace: warning: {topic.name} was left as it is: {difference}", err=True)


@command.command(
    "describe",
    short_help="Show partitions, offsets and lag.",
    examples=[
        "headrace topics describe",
    ],
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each topic.")
@with_settings
def describe(as_json: bool, settings: Settings) -> None:
    """Show partitions, offsets, settings and the lag of consumer groups."""
    for topic in topics.describe(settings):
        if as_json:
            click.echo(msgspec.json.encode(topic).decode())
        else:
            _show(topic)


def _show(topic: topics.TopicDescription) -> None:
    if not topic.partitions:
        click.echo(f"{topic.name}: missing (run `headrace topics create`)")
        return
    records = sum(partition.end - partition.start for partition in topic.partitions)
    config = ", ".join(f"{key}={value}" for key, value in topic.config.items())
    click.echo(
        f"{topic.name}: {len(topic.partitions)} partitions, {records:,} records" + (f" ({config})" if config else "")
    )
    for partition in topic.partitions:
        lag = "".join(f"  {group}: {count:,} behind" for group, count in partition.lag.items())
        click.echo(f"  {partition.partition}: offsets {partition.start} to {partition.end}{lag}")
