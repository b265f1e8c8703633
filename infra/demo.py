"""The demo: a real log through broker, Redis and two workers, watched from outside as any consumer would."""

from __future__ import annotations

import gzip
import itertools
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from infra import local, publishing, topics, worker_pages
from infra.importers.engine import import_log
from infra.importers.formats import formats
from infra.importers.formats.completejourney import product_catalogue
from infra.settings import Settings, environment_of
from online_models.errors import ServiceError
from streams import recorded_log
from streams.contracts.catalogue import Item
from streams.contracts.events import Event
from streams.contracts.recommendations import Recommendation

PARTITIONS = 4
WORKERS = 2


class _Cause(msgspec.Struct):
    event_id: str


class _Head(msgspec.Struct):
    caused_by: _Cause | None = None
    latency_ms: float | None = None


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_event = msgspec.json.Decoder(Event).decode
_decode_recommendation = msgspec.json.Decoder(Recommendation).decode


@dataclass
class Shop:
    """The data of the demo: the first events of The Complete Journey, and the products in them."""

    log: Path
    events: int
    catalogue: dict[str, Item]


def fetch_shop(folder: Path, events: int) -> Shop:
    """Import the log, keep its first ``events``, and look up the products that occur. Files go to ``folder``."""
    whole, log = folder / "whole.jsonl", folder / "events.jsonl.gz"
    import_log(formats()["completejourney"], [], whole)
    wanted: set[str] = set()
    count = 0
    with gzip.open(log, "wb", compresslevel=1) as out:
        for raw in itertools.islice(recorded_log.read(str(whole)), events):
            wanted.add(_decode_event(raw).item_id)
            out.write(raw + b"\n")
            count += 1
    whole.unlink()
    return Shop(log, count, {item.item_id: item for item in product_catalogue() if item.item_id in wanted})


@contextmanager
def services(
    stack: ExitStack, settings: Settings, folder: Path, own_broker: bool, own_redis: bool
) -> Iterator[Settings]:
    """Settings that point at a running broker and Redis, started here unless they are the user's own."""
    values = {name: getattr(settings, name) for name in settings.__struct_fields__}
    if own_broker:
        values["broker"] = stack.enter_context(local.start_broker(folder)).address
    if own_redis:
        values["redis"] = f"redis://{stack.enter_context(local.start_redis(folder)).address}/0"
    yield Settings(**(values | {"data_dir": folder / "data"}))


def start_worker(settings: Settings, folder: Path, number: int, config: Path | None = None) -> local.Service:
    """A worker in a process of its own, ready to take events. ``config``: a settings file with its tables."""

    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "infra.cli", "worker", "--web", f"127.0.0.1:{port}"]

    log = folder / f"worker-{number}.log"
    return local.start_service(f"worker {number}", command, log, is_up, environ=environment_of(settings, config))


def is_up(address: str) -> bool:
    """Whether the worker's HTTP answers at all."""
    return worker_pages.get(f"http://{address}/healthz") is not None


def is_ready(address: str) -> bool:
    """Whether the worker has its partitions and its state."""
    return worker_pages.get(f"http://{address}/readyz") is not None


def await_ready(workers: list[local.Service], patience_s: float = 90.0) -> None:
    """Wait until all are ready. Raises ServiceError if one ends or none of it happens in time."""
    deadline = time.monotonic() + patience_s
    while not all(is_ready(w.address) for w in workers):
        for w in workers:
            if not w.alive():
                raise ServiceError(f"{w.name} to run", last_line(w.log), f"see {w.log}")
        if time.monotonic() > deadline:
            raise ServiceError(f"workers ready within {patience_s:.0f} s", "they are not", f"see {workers[0].log}")
        time.sleep(0.1)


def last_line(log: Path) -> str:
    """The last thing that a service said."""
    lines = log.read_text("utf-8", "replace").strip().splitlines() if log.is_file() else []
    return lines[-1][-200:] if lines else "an empty log"


@dataclass
class Watch:
    """What has come out of topic ``recommendations`` so far, read by a thread of its own."""

    settings: Settings
    published: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    latencies: list[float] = field(default_factory=list)
    latest: dict[str, bytes] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    """Events that a list has come out for; a list that is published twice counts once."""
    last: Recommendation | None = None

    def _take(self, records: list[Any]) -> None:
        now = time.monotonic()
        self.first_s = self.first_s or now
        self.last_s = now
        self.published += len(records)
        for record in records:
            self.latest[record.key.decode()] = record.value
            head = _decode_head(record.value)
            self.latencies.append(head.latency_ms or 0.0)
            if head.caused_by is not None:
                self.answered.add(head.caused_by.event_id)
        self.last = _decode_recommendation(records[-1].value)

    def lap(self) -> None:
        """Begin to measure rate and latency anew."""
        self.latencies.clear()
        self.first_s, self._counted = time.monotonic(), self.published

    _counted: int = 0

    @contextmanager
    def running(self) -> Iterator[Watch]:
        """Watch in the background."""
        with topics.followed(self.settings, self._take, self.settings.topics.recommendations):
            yield self

    @property
    def measured_s(self) -> float:
        """How long `rate` has been measured."""
        return self.last_s - self.first_s if self.published > self._counted else 0.0

    @property
    def rate(self) -> float:
        """Lists a second since the first one, or since `lap`."""
        count = self.published - self._counted
        return count / max(self.last_s - self.first_s, 1e-9) if count else 0.0

    def latency(self, quantile: float) -> float:
        """Milliseconds from reading an event to handing its list to the producer."""
        return float(np.quantile(list(self.latencies), quantile)) if self.latencies else 0.0

    def recommendation(self, user_id: str) -> Recommendation | None:
        """The user's latest list."""
        raw = self.latest.get(user_id)
        return _decode_recommendation(raw) if raw else None


def title_of(item_id: str, catalogue: dict[str, Item]) -> str:
    """The name that a person knows an item by."""
    item = catalogue.get(item_id)
    return item.title if item is not None and item.title else item_id


def names_of(item_ids: Iterable[str], catalogue: dict[str, Item]) -> dict[str, str]:
    """Item → its name, with the id where two of the items have the same one.

    >>> catalogue = {n: Item(item_id=n, title="Milk") for n in ("1", "2")} | {"3": Item(item_id="3", title="Eggs")}
    >>> names_of(["1", "2", "3", "1"], catalogue)
    {'1': 'Milk #1', '2': 'Milk #2', '3': 'Eggs'}
    """
    titles = {item_id: title_of(item_id, catalogue) for item_id in item_ids}
    shared = Counter(titles.values())
    return {item_id: f"{title} #{item_id}" if shared[title] > 1 else title for item_id, title in titles.items()}


def typical_users(shop: Shop, count: int = 3) -> dict[str, list[Event]]:
    """Users with a fair number of events late in the log, with their last events (the latest last)."""
    seen: dict[str, deque[Event]] = {}
    counts: Counter[str] = Counter()
    for raw in recorded_log.read(str(shop.log)):
        event = _decode_event(raw)
        counts[event.user_id] += 1
        seen.setdefault(event.user_id, deque(maxlen=5)).append(event)
    ranked = sorted(counts, key=lambda u: (abs(counts[u] - 60), u))
    return {user: list(seen[user]) for user in ranked[:count]}


@dataclass(frozen=True)
class Part:
    """Of a log that is played: up to event number ``until``, each event at the ``rate`` (events/s) that is asked for before it.

    The first time, ``rate`` may wait for what the workers reach. None: as fast as the broker takes it.
    """

    until: int
    rate: Callable[[int], float] | None = None


class _Stopped(Exception):
    pass


class Player:
    """Publishes catalogue and log from a thread, part after part. ``stopped`` is set when nothing more is wanted of it."""

    def __init__(self, settings: Settings, shop: Shop, parts: Sequence[Part]) -> None:
        self._settings, self._shop, self._parts = settings, shop, parts
        self.sent = 0
        self.rates = [0.0] * len(parts)
        """Events a second that each part has reached: the rate that was asked for, if there was time to keep it."""
        self.failure: BaseException | None = None
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="publish")

    @contextmanager
    def running(self) -> Iterator[Player]:
        """Publish in the background. At the end of the block nothing is published any more, and the producer is closed."""
        self._thread.start()
        try:
            yield self
        finally:
            self.stopped.set()
            self._thread.join(timeout=5)

    def _run(self) -> None:
        encode = msgspec.json.Encoder().encode
        try:
            publishing.publish_catalogue(self._settings, map(encode, self._shop.catalogue.values()), "products")
            publishing.publish_log(self._settings, self._lines(), publishing.Pace(None), linger_ms=5)
        except _Stopped:
            pass
        except BaseException as error:
            self.failure = error

    def _lines(self) -> Iterator[bytes]:
        lines = iter(recorded_log.read(str(self._shop.log)))
        for number, part in enumerate(self._parts):
            began = due = 0.0
            start = self.sent
            for raw in itertools.islice(lines, max(part.until - start, 0)):
                gap = 1.0 / part.rate(self.sent) if part.rate is not None else 0.0
                began = began or time.monotonic()
                due = due or began
                if part.rate is not None and (wait := due - time.monotonic()) > 0.002:
                    self.stopped.wait(wait)
                if self.stopped.is_set():
                    raise _Stopped
                due += gap
                if self.sent > start:
                    self.rates[number] = (self.sent - start) / max(time.monotonic() - began, 1e-9)
                self.sent += 1
                yield raw
