"""``headrace tail``: watch a topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from infra import topics
from infra.cli.helps import Command
from infra.cli.parameters import Duration
from infra.publishing import user_key
from infra.records import KINDS, json_line, text_line
from infra.settings import Settings, with_settings

_OF_USERS = ("recommendations", "events")


@click.command(
    "tail",
    cls=Command,
    short_help="Watch a topic: recommendations, events, dead letters and more",
    examples=[
        "headrace tail recommendations",
        "headrace tail recommendations --user 42 --from-start --idle-exit 5s",
        "headrace tail events --limit 10 --json",
    ],
)
@click.argument("topic", type=click.Choice(KINDS), metavar="TOPIC")
@click.option("--user", metavar="ID", help="Only this user's records (of recommendations and events).")
@click.option("--from-start", is_flag=True, help="From the first record that is still there, not from now on.")
@click.option(
    "--idle-exit", metavar="DURATION", type=Duration(), help="End when nothing has come for so long: 10s, 500ms."
)
@click.option("--limit", metavar="N", type=click.IntRange(1), help="End after N records.")
@click.option("--json", "as_json", is_flag=True, help="The records as they are, one JSON object a line.")
@with_settings
def command(
    topic: str,
    user: str | None,
    from_start: bool,
    idle_exit: float | None,
    limit: int | None,
    as_json: bool,
    settings: Settings,
) -> None:
    """Print the records of TOPIC as they come: recommendations, events, events.dlq, interactions, items or models.

    No consumer group is used, so nothing is left behind and no worker is disturbed.
    """
    if user is not None and topic not in _OF_USERS:
        raise click.UsageError(f"--user goes with {' and '.join(_OF_USERS)}, not with {topic}")
    out = click.get_binary_stream("stdout")
    printed = 0
    for records in follow(settings, settings.topic_prefix + topic, from_start, idle_exit):
        for record in records:
            if user is not None and not _is_of(user.encode(), record):
                continue
            line = json_line(topic, record) if as_json else text_line(topic, record).encode("utf-8", "replace")
            out.write(line + b"\n")
            printed += 1
            if printed == limit:
                out.flush()
                return
        out.flush()


def _is_of(user: bytes, record: Any) -> bool:
    return bool(record.key == user) or (record.key is None and user_key(record.value or b"") == user)


def follow(
    settings: Settings,
    topic: str,
    from_start: bool,
    idle_exit: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[list[Any]]:
    """The records of all partitions as they come, some at a time; for ever, or until none has come for ``idle_exit`` s.

    Raises ServiceError if there is no such topic, or if silence means that the broker has gone.
    """
    parts = topics.require(settings, topic)
    ends = {} if from_start else topics.end_offsets(settings, parts)
    with topics.consumer(settings) as consumer:
        consumer.assign(parts)
        if from_start:
            consumer.seek_to_beginning(*parts)
        for part, offset in ends.items():
            consumer.seek(part, offset)
        last = clock()
        while idle_exit is None or clock() - last < idle_exit:
            wait = 1.0 if idle_exit is None else min(1.0, max(idle_exit - (clock() - last), 0.01))
            found = consumer.poll(timeout_ms=int(wait * 1000) or 1)
            if found:
                yield [record for records in found.values() for record in records]
                last = clock()
        topics.await_broker(settings)
