"""Versions of the deep model that experiments name: brought beside the live one, kept as long as they are named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streams.contracts.experiments import Definition, Experiment, Variant
from streams.contracts.models import Announcement
from streams.experiment_rules import begin, stop
from tests.streams.model_bench import Bench, following
from tests.streams.test_model_feed import GROUPS
from tests.versions import vectors_of


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with following(tmp_path) as found:
        yield found


def experiment(bench: Bench, *versions: Announcement) -> Experiment:
    variants = (
        Variant(name="none", model="none"),
        *(Variant(name=f"v{n}", model=a.version) for n, a in enumerate(versions)),
    )
    known = {a.version: a for a in versions}
    return begin(Definition(name="x", variants=variants), {}, bench.pipeline.knowledge.lists, known, 1)


def answering(bench: Bench) -> set[tuple[str | None, str]]:
    """Variant, and version that answers."""
    made = [bench.pipeline.recommend(f"u{n}", 5) for n in range(60)]
    return {(r.experiment.variant if r.experiment else None, r.model.version) for r in made}


async def test_versions_are_brought_and_kept_as_long_as_they_are_named(bench: Bench) -> None:
    one, two = (bench.made(name, vectors_of(GROUPS, seed=n), created=n) for n, name in enumerate("ab"))
    running = experiment(bench, one, two)
    bench.pipeline.experiments.run([running])
    assert answering(bench) == {(None, "1")}  # nobody takes part before both are here
    held = bench.pipeline.versions.held
    await bench.until(lambda: held.keys() == {"none", one.version, two.version})
    assert answering(bench) == {("none", "1"), ("v0", f"1+{one.version}"), ("v1", f"1+{two.version}")}
    assert bench.pipeline.versions.live is None
    bench.pipeline.experiments.run([stop(running, 2)])
    await bench.until(lambda: held.keys() == {"none"})
    assert answering(bench) == {(None, "1")}


async def test_a_version_that_is_live_already_is_not_brought_again(bench: Bench) -> None:
    a = bench.announce("a", vectors_of(GROUPS))
    await bench.until(lambda: bench.pipeline.versions.candidate is not None)
    bench.pipeline.experiments.run([experiment(bench, a)])
    await bench.until(lambda: a.version in bench.pipeline.versions.held)
    assert bench.pipeline.versions.held[a.version] is bench.pipeline.versions.candidate
    bench.events(200, seed=3)
    assert {version for _, version in answering(bench)} == {"1", f"1+{a.version}"}


async def test_a_version_that_cannot_be_had_keeps_no_other_from_being_tried(bench: Bench) -> None:
    gone = bench.made("gone", vectors_of(GROUPS, seed=4), created=3)
    for file in (bench.folder / "store" / "gone").iterdir():
        file.unlink()
    bench.pipeline.experiments.run([experiment(bench, gone)])
    a = bench.announce("a", vectors_of(GROUPS))
    await bench.until(lambda: bench.pipeline.versions.candidate is not None)
    assert bench.pipeline.versions.candidate.name == a.version
    assert {variant for variant, _ in answering(bench)} == {None}
