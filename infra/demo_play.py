"""How the demo plays its log: at full speed, at half of it, and then, where a model can be trained, on while that happens."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from infra import demo, worker_pages
from infra.demo_retrain import ModelWatch, Retrain
from infra.local import Service
from infra.settings import Settings
from infra.worker_pages import Comparison, Page, Served
from online_models.errors import ServiceError

STALLED_S = 60
TRICKLE_S, TRICKLE_LEAST = 25.0, 5.0
"""Time constant and least rate (events/s) of the stream while a version is on its way."""


@dataclass(frozen=True)
class Plan:
    """Event numbers: up to ``full`` as fast as it goes, up to ``half`` at half of what that reached, up to ``trickle`` while a
    version is trained, and whatever is left at a quarter while it is tried: each moment then costs a second list."""

    full: int
    half: int
    trickle: int

    @classmethod
    def of(cls, events: int, retrain: bool) -> Plan:
        """
        >>> Plan.of(40_000, retrain=True)
        Plan(full=15000, half=20000, trickle=25000)
        >>> Plan.of(40_000, retrain=False)
        Plan(full=30000, half=40000, trickle=40000)
        """
        if not retrain:
            return cls(events * 3 // 4, events, events)
        return cls(events * 3 // 8, events // 2, events * 5 // 8)


@dataclass(frozen=True)
class Measured:
    """Lists a second, and milliseconds from reading an event to handing over its list."""

    rate: float
    p50: float
    p99: float


def trickle(left: int, most: float) -> float:
    """Events/s while a version is on its way: the slower, the fewer events are ``left`` for that time, but never none.

    >>> trickle(5_000, 500.0), trickle(1_000, 500.0), trickle(-3, 500.0)
    (200.0, 40.0, 5.0)
    """
    return min(most, max(left / TRICKLE_S, TRICKLE_LEAST))


class Play:
    """Plays the log; `step` is called until it says that every event has been answered."""

    def __init__(
        self,
        settings: Settings,
        shop: demo.Shop,
        workers: list[Service],
        watch: demo.Watch,
        models: ModelWatch,
        retrain: Retrain | None,
    ) -> None:
        self._shop, self._workers, self._watch, self._models, self._retrain = shop, workers, watch, models, retrain
        self.plan = plan = Plan.of(shop.events, retrain is not None)
        self.speed: float | None = None
        """Events/s at full speed, once that is known."""
        self.steady: Measured | None = None
        """At half of that speed, once the part has been answered."""
        self.pages: list[Page] = []
        self.served: dict[str, Served] = {}
        """Quality by version, with the last figures of those that the workers have dropped since."""
        self.compared: Comparison | None = None
        self.waited_s = 0.0
        """From the start of the round until the version was on trial."""
        self._first = threading.Event()
        self._coming = retrain is not None
        self._moved = self._asked = time.monotonic()
        self._seen = 0
        parts = [demo.Part(plan.full), demo.Part(plan.half, self._half), demo.Part(shop.events, self._on)]
        self.player = demo.Player(settings, shop, parts)

    def _half(self, number: int) -> float:
        while not self._first.wait(0.1) and not self.player.stopped.is_set():
            pass
        return max((self.speed or 0.0) / 2, 10.0)

    def _on(self, number: int) -> float:
        most = max(self._half(number) / 2, 10.0)
        return trickle(self.plan.trickle - number, most) if self._coming else most

    @property
    def coming(self) -> bool:
        """Whether the stream waits for a version."""
        return self._coming

    def step(self) -> bool:
        """Look at what has come out. Raises what went wrong with publisher, workers or broker."""
        self._require()
        answered = len(self._watch.answered)
        if self.speed is None and answered >= self.plan.full:
            self.speed = self._watch.rate
            self._watch.lap()
            self._first.set()
        if self.speed is not None and self.steady is None and answered >= self.plan.half:
            self.steady = self._measured(1)
            if self._retrain is not None:
                self._watch.lap()
                self._retrain.start()
        if self._coming and self._retrain is not None:
            self._coming = self._retrain.coming(self._models.overview.workers)
            self.waited_s = time.monotonic() - (self._retrain.began or time.monotonic())
        done = answered >= self._shop.events
        if done or time.monotonic() - self._asked > 1.0:  # more often would slow down what it measures
            self.look()
        return done

    def look(self) -> None:
        """Read the workers' pages."""
        self._asked = time.monotonic()
        self.pages = worker_pages.scrape(worker.address for worker in self._workers)
        self.served |= worker_pages.by_version(self.pages)
        if self._retrain is not None and self._retrain.announcement is not None:
            found = worker_pages.comparison(self.pages, self._retrain.announcement.version)
            self.compared = found or self.compared

    @property
    def latest(self) -> Measured:
        """Of the last part."""
        return self._measured(2)

    def _measured(self, part: int) -> Measured:
        return Measured(self.player.rates[part], self._watch.latency(0.5), self._watch.latency(0.99))

    def _require(self) -> None:
        if self.player.failure is not None:
            raise self.player.failure
        for worker in self._workers:
            if not worker.alive():
                raise ServiceError(f"{worker.name} to run", demo.last_line(worker.log), "run the demo again")
        if self._watch.published > self._seen:
            self._moved, self._seen = time.monotonic(), self._watch.published
        elif time.monotonic() - self._moved > STALLED_S:
            raise ServiceError(
                "lists to keep coming", f"none for {STALLED_S} s after {self._seen:,}", "run the demo again"
            )
