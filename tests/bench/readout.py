"""What a read-out remembers: bytes of a user with so many lists of 20 items each, or purchases, of one who is silent, of a session,
and of a stranger's list."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Sequence

import click
import msgspec

from streams.contracts.events import Source
from streams.readout.fold import Readout
from tests.streams.readout_tape import Tape, definition

DAY = 86_400
Step = tuple[int, str, bool]
"""When (s), the type of the event, and whether its list is of the experiment."""


def steps(n: int, kind: str, start: int = 0) -> list[Step]:
    """All in the experiment, a quarter of an hour apart."""
    return [(start + 900 * step, kind, True) for step in range(n)]


BUYS = steps(120, "purchase")
MOST = [(0, "view", True), *((DAY * day, "view", False) for day in range(1, 16)), *steps(120, "purchase", DAY * 15)]
"""Once exposed, 15 days outside of the experiment, and as many lists and purchases in it as are kept."""


@click.command()
@click.option("--users", default=1_000, show_default=True)
def command(users: int) -> None:
    """Print a Markdown table."""
    measured(10, steps(25, "view"), rest=True)  # what is made once, for whomever
    click.echo("| lists of a user | kB a user |\n|---|---|")
    for lists in (1, 5, 25):
        click.echo(f"| {lists} | {measured(users, steps(lists, 'view')) / 1e3:.1f} |")
    click.echo(f"| 25, shared by two variants | {measured(users, steps(25, 'view'), 'interleave') / 1e3:.1f} |")
    click.echo(f"| 120, each bought from | {measured(users, BUYS) / 1e3:.1f} |")
    click.echo(
        f"| 120, shared and bought from, and 15 days outside | {measured(users, MOST, 'interleave') / 1e3:.1f} |"
    )
    click.echo(f"| 25, silent for long | {measured(users, steps(25, 'view'), rest=True) / 1e3:.2f} |")
    click.echo(f"| 120, each bought from, silent for long | {measured(users, BUYS, rest=True) / 1e3:.2f} |")
    click.echo(f"| one, each in a further session | {further_sessions(users) / 1e3:.2f} |")
    click.echo(f"| one, over HTTP, without an event | {strangers(users) / 1e3:.2f} |")


def measured(users: int, happens: Sequence[Step], method: str = "ab", rest: bool = False) -> float:
    """Bytes a user; after all have been silent for long, if ``rest``."""
    readout, offset = Readout(definition(method=method)), 0
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for at, kind, inside in happens:
            for user in range(users):
                variant = ("control", "new")[user % 2] if method == "ab" else "interleaved"
                event, made = _record(user, at, offset, kind=kind, variant=variant if inside else None)
                readout.take_event(event, Source(0, offset))
                readout.take_list(made)
                offset += 1
        readout.tally()
        if rest:
            for part in readout._partitions.values():
                part.units.users.forget(2**50)
        gc.collect()  # what is garbage is not remembered
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
            event, made = _record(0, 1_000 * (n // 100), n, f"user-0/session-{n}")
            readout.take_event(event, Source(0, n))
            readout.take_list(made)
        readout.tally()
        gc.collect()
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
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / users
    finally:
        tracemalloc.stop()


def _record(
    user: int, at: int, offset: int, unit: str | None = None, kind: str = "view", variant: str | None = "new"
) -> tuple[bytes, bytes]:
    t = Tape()
    items = "abcdefghijklmnopqrst"
    picks = {item: ("control", "new")[n % 2] for n, item in enumerate(items)} if variant == "interleaved" else {}
    value = 19.99 + offset if kind == "purchase" else None
    t.add(at, f"i{at}", kind, user=f"user-{user}", shown=items, variant=variant, unit=unit, picks=picks, value=value)
    [(event, made)] = t.records
    assert made is not None
    assert made.caused_by is not None
    cause = msgspec.structs.replace(made.caused_by, offset=offset)
    made = msgspec.structs.replace(made, request_id=f"r{offset}", caused_by=cause)
    return msgspec.json.encode(msgspec.structs.replace(event, event_id=f"e{offset}")), msgspec.json.encode(made)
