"""What the demo shows: no figure before there is one, what it waits for, names that can be told apart."""

from __future__ import annotations

import contextlib
import io
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from infra import demo, demo_tables, local
from infra.cli import demo as shown
from infra.demo_play import Measured, Plan
from infra.settings import Settings
from streams.contracts.catalogue import Item
from streams.contracts.events import Event
from streams.contracts.recommendations import RecommendedItem

LONG = "Soft Drinks 12/18&15Pk Can Car"


def text_of(*renderables: Any, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    for each in renderables:
        console.print(each)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture
def shop(tmp_path: Path) -> demo.Shop:
    titles = {"1": f"{LONG} 12 oz", "2": f"{LONG} 2 l", "3": "Milk", "4": "Milk", "5": "[red]Eggs"}
    log = tmp_path / "log.jsonl"
    events = [
        Event(timestamp=n, user_id="7", item_id=str(n % 5 + 1), event_type="purchase", event_id=str(n))
        for n in range(100)
    ]
    log.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
    return demo.Shop(log, 100, {key: Item(item_id=key, title=title) for key, title in titles.items()})


def test_no_figure_before_there_is_one(shop: demo.Shop) -> None:
    watch = demo.Watch(Settings())
    lines = text_of(shown._now("x", {}, shop, watch, False)).splitlines()
    assert ["–" in line for line in lines] == [False, True, True, True]
    assert not any(letter.isdigit() for line in lines for letter in line.replace("@20", ""))
    watch.published, watch.first_s, watch.last_s = 500, 10.0, 12.0
    text = text_of(shown._now("x", {"blend": {"hr_at_20": 0.25}}, shop, watch, False))
    assert "250 (at full speed)" in text
    told = " ".join(text.split())
    assert "0.250 lately, of the list made at the moment of the purchase" in told
    assert "HR@20: share of the baskets of which an item was among the first 20 of the list" in told


class Played:
    """As far as a `Play` has come."""

    def __init__(
        self, retrain: bool, sent: int, speed: float | None, steady: bool = False, coming: bool = False
    ) -> None:
        self.plan, self.speed, self.coming = Plan.of(80, retrain), speed, coming
        self.steady = Measured(1.0, 1.0, 1.0) if steady else None
        self.player = type("P", (), {"sent": sent})


@pytest.mark.parametrize(
    ("played", "told"),
    [
        (Played(False, 10, None), "three quarters of the log as fast as it goes"),
        (Played(False, 60, None), "waiting until the workers have caught up"),
        (Played(False, 70, 3200.0), "the last quarter at half of the full speed (1,600 events/s)"),
        (Played(True, 10, None), "three eighths of the log as fast as it goes"),
        (Played(True, 35, 3200.0), "an eighth at half of the full speed (1,600 events/s), to measure latency"),
        (Played(True, 45, 3200.0, steady=True, coming=True), "a trickle, until a model has been trained"),
        (Played(True, 70, 3200.0, steady=True), "the rest at a quarter of the full speed (800 events/s)"),
    ],
)
def test_says_what_it_waits_for(played: Any, told: str) -> None:
    assert told in shown._doing(played)


class Steps(Played):
    """One that is over after so many steps."""

    compared = None

    def __init__(self, steps: int) -> None:
        super().__init__(False, 10, None)
        self.left = steps
        found = {("headrace_pipeline_moments", ""): 7.0, ("headrace_pipeline_hr_at_20", "blend"): 0.25}
        self.pages = [found] if steps > 2 else []
        self.player = type("P", (), {"sent": 12, "running": contextlib.nullcontext})

    def step(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("steps", [2, 3])
def test_a_file_is_told_how_far_it_is(shop: demo.Shop, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(shown, "SAY_EVERY_S", 0.0)
    said: list[str] = []
    file = io.StringIO()
    console = Console(file=file)
    watch = demo.Watch(Settings(), answered={"1", "2"})
    shown._play(console, shop, watch, None, Steps(steps), None, said.append)  # type: ignore[arg-type]
    figure = ", HR@20 fresh (blend) 0.250" if steps == 3 else ""
    doing = "publishing three quarters of the log as fast as it goes"
    line = f"12 of 100 events published, 2 lists received{figure}; {doing}"
    assert said == [line] * steps
    assert file.getvalue() == ""
    monkeypatch.setattr(shown, "SAY_EVERY_S", 60.0)
    said.clear()
    shown._play(console, shop, watch, None, Steps(2), None, said.append)  # type: ignore[arg-type]
    assert said == []


@pytest.mark.parametrize("width", [80, 120, 200])
def test_names_can_be_told_apart(shop: demo.Shop, width: int) -> None:
    items = [RecommendedItem(item_id=key, score=1.0, source="far", reason="seen with [x]") for key in "12345"]
    latest = type("Made", (), {"items": items})
    watch = type("W", (), {"recommendation": lambda self, user: latest})()
    console = Console(file=io.StringIO(), width=width)
    demo_tables.people(console, shop, watch)  # type: ignore[arg-type]
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    recommended = " ".join(" ".join(cell[1] for cell in cells).split())
    assert recommended == f"{LONG} 12 oz {LONG} 2 l Milk #3 Milk #4 [red]Eggs"
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 120, 200])
def test_columns_hold_however_long_a_name_is(shop: demo.Shop, width: int) -> None:
    word = "Donaudampfschifffahrtsgesellschaftskapitaensmuetze" * 3
    item = RecommendedItem(item_id="9", score=1.0, source="far", reason=f"bought after {word}")
    shop.catalogue["9"] = Item(item_id="9", title=word)
    watch = type("W", (), {"recommendation": lambda self, user: type("Made", (), {"items": [item] * 5})})()
    console = Console(file=io.StringIO(), width=width)
    demo_tables.people(console, shop, watch)  # type: ignore[arg-type]
    text = console.file.getvalue()  # type: ignore[attr-defined]
    rows = [line for line in text.splitlines() if line.startswith("│")]
    edges = {tuple(n for n, letter in enumerate(row) if letter == "│") for row in rows}
    assert len(edges) == 1, "the columns stand in line"
    [(first, *_, last)] = edges
    assert (first, last) <= (0, width - 1)
    widths = [b - a for a, b in itertools.pairwise(next(iter(edges)))]
    assert min(widths) > width // 6, "no column is squeezed by its neighbours"
    assert "".join(row.split("│")[2].strip() for row in rows) == word * 5, "nothing is cut off"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_figure_takes_one_line(shop: demo.Shop, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    demo_tables.figures(console, shop, 1_234_567.0, Measured(617_283.5, 3.21, 45_678.9))
    rows = [line for line in console.file.getvalue().splitlines() if line.startswith("│")]  # type: ignore[attr-defined]
    assert [row.split("│")[2].strip() for row in rows] == ["100", "1,234,567", "617,284", "3.2 ms", "45,678.9 ms"]
    assert "(50% of that)" in rows[2]


def test_each_part_has_the_rate_that_was_asked_for(shop: demo.Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[float] = []
    asked: list[int] = []

    def slower(number: int) -> float:
        asked.append(number)
        return 50.0

    def publish_log(settings: Settings, lines: Iterator[bytes], *rest: Any, **options: Any) -> None:
        for _ in lines:
            sent.append(time.monotonic())

    monkeypatch.setattr(demo.publishing, "publish_log", publish_log)
    monkeypatch.setattr(demo.publishing, "publish_catalogue", lambda *arguments: 0)
    player = demo.Player(Settings(), shop, [demo.Part(60), demo.Part(80, lambda number: 100.0), demo.Part(100, slower)])
    with player.running():
        player._thread.join(20)
    assert player.failure is None
    assert len(sent) == 100
    assert player.rates[1:] == pytest.approx([19 / (sent[79] - sent[60]), 19 / (sent[99] - sent[80])], rel=0.05)
    assert player.rates[1] <= 101
    assert player.rates[2] <= 51
    assert asked == list(range(80, 100))


def test_what_is_still_to_be_published_does_not_outlive_the_demo(
    shop: demo.Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The producer is closed while there is a broker; later kafka-python would wait for one, and complain."""
    closed: list[int] = []

    def publish_log(settings: Settings, lines: Iterator[bytes], *rest: Any, **options: Any) -> None:
        try:
            for _ in lines:
                pass
        finally:
            closed.append(1)

    monkeypatch.setattr(demo.publishing, "publish_log", publish_log)
    monkeypatch.setattr(demo.publishing, "publish_catalogue", lambda *arguments: 0)
    player = demo.Player(Settings(), shop, [demo.Part(100, lambda number: 0.001)])
    with pytest.raises(KeyboardInterrupt), player.running():
        raise KeyboardInterrupt
    assert (closed, player.failure, player._thread.is_alive()) == ([1], None, False)
    assert player.sent < 100


@pytest.mark.parametrize(
    ("arguments", "own"),
    [
        ([], (True, True)),
        (["--broker", Settings().broker], (False, True)),
        (["--redis", Settings().redis], (True, False)),
        (["--broker", "kafka:1", "--redis", "redis://cache:2/0"], (False, False)),
    ],
)
def test_a_service_that_is_named_is_not_started(
    arguments: list[str], own: tuple[bool, bool], shop: demo.Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[bool, bool]] = []

    def services(_: Any, settings: Settings, __: Path, own_broker: bool, own_redis: bool) -> Any:
        asked.append((own_broker, own_redis))
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "fetch_shop", lambda folder, events: shop)
    monkeypatch.setattr(shown, "warm_up", lambda config: None)
    monkeypatch.setattr(demo, "services", services)
    CliRunner().invoke(shown.command, arguments)
    assert asked == [own]


def test_a_password_stands_in_no_command_line_and_on_no_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: dict[str, Any] = {}

    def start_service(name: str, command: Any, log: Path, answers: Any, **options: Any) -> None:
        started.update(options, command=command(6066))

    monkeypatch.setattr(local, "start_service", start_service)
    settings = Settings(redis="redis://user:s3cr3t@cache:6379/0", broker="kafka:1")
    demo.start_worker(settings, tmp_path, 1)
    assert "s3cr3t" not in " ".join(started["command"])
    assert started["environ"]["HEADRACE_REDIS"] == settings.redis
    assert started["environ"]["HEADRACE_BROKER"] == "kafka:1"
    assert "PATH" in started["environ"]

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        shown._stay(Console(), settings, [], tmp_path / "repeats.html", "7")
    said = capsys.readouterr().out
    assert "redis://***@cache:6379/0" in said
    assert "s3cr3t" not in said
