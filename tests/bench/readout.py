"""What a read-out remembers: bytes of a user with so many lists of 20 items each, of one who is silent, of a session, and of a
stranger's list."""

from __future__ import annotations

import tracemalloc

import click
import msgspec

from streams.contracts.events import Source
from streams.readout.fold import Readout
from tests.streams.readout_tape import Tape, definition


@click.command()
@click.option("--users", default=2_000, show_default=True)
def command(users: int) -> None:
    """Print a Markdown table."""
    click.echo("| lists of a user | kB a user |\n|---|---|")
    for lists in (1, 5, 25):
        click.echo(f"| {lists} | {measured(users, lists) / 1e3:.1f} |")
    click.echo(f"| 25, silent for long | {measured(users, 25, rest=True) / 1e3:.2f} |")
    click.echo(f"| one, each in a further session | {further_sessions(users) / 1e3:.2f} |")
    click.echo(f"| one, over HTTP, without an event | {strangers(users) / 1e3:.2f} |")


def measured(users: int, lists: int, rest: bool = False) -> float:
    """Bytes a user; after all have been silent for long, if ``rest``."""
    readout, offset = Readout(definition()), 0
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for step in range(lists):
            for user in range(users):
                event, made = _record(user, step, offset)
                readout.take_event(event, Source(0, offset))
                readout.take_list(made)
                offset += 1
        readout.tally()
        if rest:
            for part in readout._partitions.values():
                part.units.users.forget(2**50)
        return (tracemalloc.get_traced_memory()[0] - before) / users
    finally:
        tracemalloc.stop()


def further_sessions(sessions: int) -> float:
    """Bytes a session of one user, whose lists are as many as are kept of one in any case."""
    readout, before = Readout(definition(unit="session")), 0
    tracemalloc.start()
    try:
        for n in range(sessions + 100):
            if n == 100:
                readout.tally()
                before = tracemalloc.get_traced_memory()[0]
            event, made = _record(0, n // 100, n, f"user-0/session-{n}")
            readout.take_event(event, Source(0, n))
            readout.take_list(made)
        readout.tally()
        return (tracemalloc.get_traced_memory()[0] - before) / sessions
    finally:
        tracemalloc.stop()


def strangers(users: int) -> float:
    """Bytes a list."""
    readout = Readout(definition())
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for user in range(users):
            made = msgspec.json.decode(_record(user, 0, user)[1])
            readout.take_list(msgspec.json.encode(made | {"caused_by": None}))
        return (tracemalloc.get_traced_memory()[0] - before) / users
    finally:
        tracemalloc.stop()


def _record(user: int, step: int, offset: int, unit: str | None = None) -> tuple[bytes, bytes]:
    t = Tape()
    items = "abcdefghijklmnopqrst"
    t.add(1_000 * step, f"i{step}", user=f"user-{user}", shown=items, variant=("control", "new")[user % 2], unit=unit)
    [(event, made)] = t.records
    assert made is not None
    assert made.caused_by is not None
    cause = msgspec.structs.replace(made.caused_by, offset=offset)
    made = msgspec.structs.replace(made, request_id=f"r{offset}", caused_by=cause)
    return msgspec.json.encode(msgspec.structs.replace(event, event_id=f"e{offset}")), msgspec.json.encode(made)
