"""The demo's experiment: what it changes, and that its table says what was found, or that nothing was."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from infra import demo_experiment, demo_tables
from infra.experiments import definition_of, lists_of
from infra.settings import Settings
from streams.contracts.events import Source
from streams.contracts.experiments import Variant
from streams.experiment_rules import alone, begin
from streams.pipeline import Pipeline
from streams.readout.result import Result, read_out
from tests.streams.readout_tape import Tape, definition
from tests.worlds import shop_log

VARIANTS = (Variant(name="as-usual"), Variant(name="only-new"))


def result(users: int) -> Result:
    """Of users who buy what their list named, those of the second variant half as often."""
    tape = Tape()
    for n in range(users):
        variant = VARIANTS[n % 2].name
        for at in range(4):
            tape.add(
                100 * at,
                "b" if (n // 2 + at) % (2 + 2 * (n % 2)) == 0 else f"z{at}",
                "purchase",
                user=f"u{n}",
                shown="b",
                variant=variant,
            )
    more = {"variants": VARIANTS, "metric": "hr@20", "clicks": ("purchase",)}
    return read_out(alone(definition(**more), 0), tape.play(**more).tally())


def table(found: Result, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    demo_tables.experiment(console, found)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_workers_take_it_and_it_does_what_it_says() -> None:
    d = definition_of(demo_experiment.DEFINITION, "the demo")
    experiment = begin(d, {}, lists_of(Settings()), {}, 0)
    pipeline = Pipeline()
    pipeline.experiments.run([experiment])
    bought: dict[str, set[str]] = {}
    again = {v.name: 0 for v in d.variants}
    log = [e for e in shop_log(600, users=40) if e.event_type == "purchase"]
    for n, event in enumerate(log):
        bought.setdefault(event.user_id, set()).add(event.item_id)
        made = pipeline.on_event(event, Source(0, n))
        assert made is not None
        [exposure] = made.experiments
        if n >= 10:  # of so few items everything may have been bought, and a list is never empty
            again[exposure.variant] += len({i.item_id for i in made.items} & bought[event.user_id])
    assert again["as-usual"] > 0
    assert again["only-new"] == 0


def test_the_table_says_what_was_found() -> None:
    text = table(result(800))
    assert "│ households" in text
    cells = [[c.strip() for c in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    [households] = [row for row in cells if row[0] == "households"]
    assert households[1:] == ["400", "400", "shares", "match"]
    [hits] = [row for row in cells if row[0].startswith("hr@20")]
    assert "hr@20: share of the purchases that were among" in " ".join(row[0] for row in cells)
    assert "share of the baskets" in demo_tables.COMPARED, "the other tables' HR@20 is of another thing"
    assert float(hits[1]) > 1.5 * float(hits[2]) > 0
    assert hits[3].startswith("-")
    assert hits[4].endswith("%")
    told = " ".join(text.split())
    assert "Each counted once: 3,200 events, 3,200 lists. only-new is worse in hr@20" in told
    assert "purchases are recorded" in told


def test_few_households_are_no_result() -> None:
    text = " ".join(table(result(60)).split())
    assert text.count("no result yet") == 2
    assert "No result yet: 30 units, at least 100 are needed." in text


@pytest.mark.parametrize("width", [80, 120, 200])
def test_nothing_is_cut_off(width: int) -> None:
    assert "…" not in table(result(800), width)
