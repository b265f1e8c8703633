"""Small made-up logs, and a worker without broker: its outputs go to lists, and it can die between any two steps."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streams.config import PipelineConfig
from streams.contracts.events import Event, Source
from streams.contracts.interactions import Interaction
from streams.pipeline import Pipeline

START = 1_400_000_000_000


def shop_log(n: int = 400, users: int = 12, items: int = 60, seed: int = 1, baskets: bool = True) -> list[Event]:
    """Users walk over neighbouring items; now and then a basket of several items has one timestamp."""
    rng = random.Random(seed)
    place = {u: rng.randrange(items) for u in range(users)}
    now, out = START, []
    while len(out) < n:
        now += rng.choice((0, 500, 2_000, 60_000, 2_000_000))
        user = rng.randrange(users)
        for _ in range(rng.choice((1, 1, 1, 4)) if baskets else 1):
            place[user] = (place[user] + rng.choice((1, 1, 1, 2, 7, 0))) % items
            kind = rng.choice(("view", "view", "click", "cart", "purchase", "rating", "odd"))
            value = float(rng.randint(1, 5)) if kind == "rating" else None
            out.append(
                Event(
                    timestamp=now, user_id=f"u{user}", item_id=f"i{place[user]}", event_type=kind,
                    event_id=f"e{len(out)}", value=value, context={"device": rng.choice(("tv", "phone"))},
                )
            )  # fmt: skip
    return out[:n]


@dataclass
class World:
    """What survives a worker: topics, the store, the committed offset and the last snapshot."""

    interactions: list[bytes] = field(default_factory=list)
    store: dict[str, bytes] = field(default_factory=dict)
    published: dict[str, list[str]] = field(default_factory=dict)
    committed: int = 0
    snapshot: tuple[dict[str, Any], int] | None = None


class Killed(Exception):
    """The worker died here."""


@dataclass
class Worker:
    """One worker on one partition, step by step as the stream does it.

    ``die_at`` counts the steps until it dies, ``stop_at`` the batches until it is told to stop.
    """

    world: World
    log: list[Event]
    config: PipelineConfig
    rng: random.Random
    die_at: int = -1
    stop_at: int = -1
    confirm_commits: bool = True
    position: int = 0

    def __post_init__(self) -> None:
        w = self.world
        self.pipeline = Pipeline(self.config, stored=True)
        at = 0
        if w.snapshot is not None:
            self.pipeline.restore(w.snapshot[0])
            at = w.snapshot[1]
        for raw in w.interactions[at:]:
            x = msgspec.msgpack.decode(raw, type=Interaction)
            if x.offset >= w.committed:
                self.pipeline.hold(x)
            else:
                self.pipeline.learn(x)
        self.pipeline.sessions.committed = {0: w.committed}

    def _step(self) -> None:
        self.die_at -= 1
        if self.die_at == 0:
            raise Killed

    def run(self) -> bool:
        """Work through the log; False if it was stopped before the end."""
        at = self.world.committed
        while at < len(self.log) and self.stop_at != 0:
            size = self.rng.randint(1, 9)
            self.batch(at, min(at + size, len(self.log)))
            at = min(at + size, len(self.log))
            self.stop_at -= 1
        self.world.committed = at
        if not self.pipeline.holds:
            state = {name: array.copy() for name, array in self.pipeline.snapshot().items()}
            self.world.snapshot = (state, len(self.world.interactions))
        return at == len(self.log)

    def batch(self, start: int, stop: int) -> None:
        w, p = self.world, self.pipeline
        pairs = [(self.log[i], Source(0, i)) for i in range(start, stop)]
        first = {}
        for event, source in pairs:
            first.setdefault(event.user_id, source)
        for user in p.sessions.missing(first):
            p.sessions.load(user, w.store.get(user), first[user])
        outcomes = p.process(pairs)
        records = [msgspec.msgpack.encode(o.interaction) for o in outcomes if o.interaction is not None]
        for raw in records:  # any part of them may get out, in any order
            self._step()
            w.interactions.append(raw)
        self._step()
        values = p.sessions.dirty()
        self._step()
        w.store.update(values)
        p.sessions.clean()
        for o in outcomes:
            self._step()
            if o.recommendation is not None:
                r = o.recommendation
                w.published.setdefault(r.request_id, []).append(msgspec.json.encode(r).decode())
        safe = p.safe_offset(0)
        w.committed = max(w.committed, stop if safe is None else min(stop, safe))
        self._step()
        if self.confirm_commits:
            p.sessions.committed[0] = w.committed
        state = p.captured({0: w.committed})
        if state is not None:
            self._step()
            w.snapshot = (state, self.position)
        if self.rng.random() < 0.1:
            position = len(w.interactions)
            if p.request_capture():
                self.position = position
