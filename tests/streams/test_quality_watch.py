"""The watch over every list and variant: planted changes are found and told once, by the worker whose events they are in."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import pytest

from online_models.errors import InputError
from streams.config import PipelineConfig
from streams.contracts.drifts import QualityDrift
from streams.contracts.events import Event, Source
from streams.contracts.experiments import Definition, Variant
from streams.experiment_rules import begin
from streams.knowledge import BLOCK, Knowledge
from streams.pipeline import Pipeline
from streams.quality_watch import ARMS, KEPT, SILENT, QualityWatch, drift_id
from tests.worlds import START

LISTS = ("blend", "served", "knn", "near")
EVENT = Event(timestamp=START, user_id="u", item_id="i", event_type="view", event_id="e")


def watch() -> QualityWatch:
    made = QualityWatch(Knowledge(PipelineConfig()), LISTS)
    made.looks_at(EVENT, Source(1, 7))
    return made


def coins(shares: tuple[float, ...], n: int, seed: int) -> npt.NDArray[np.float64]:
    """Hits [n, lists], each list's with its own share."""
    return (np.random.default_rng(seed).random((n, len(shares))) < shares).astype(np.float64)


def fed(made: QualityWatch, hits: npt.NDArray[np.float64], arm: str = "") -> list[QualityDrift]:
    for row in hits:
        made.judged(arm, row)
    return made.take()


@pytest.mark.parametrize("changed", range(4))
def test_a_change_of_one_list_is_found_for_this_list_alone(changed: int) -> None:
    before, after = [0.4] * 4, [0.4] * 4
    after[changed] = 0.2
    made = watch()
    assert fed(made, coins(tuple(before), 4_000, seed=1)) == []
    [found] = fed(made, coins(tuple(after), 800, seed=2))
    assert (found.figure, found.worse) == (f"hr@20 {LISTS[changed]}", True)
    assert found.before == pytest.approx(0.4, abs=0.05)
    assert found.after == pytest.approx(0.2, abs=0.1)
    assert 4_000 < found.moments <= 4_800
    assert (found.timestamp, found.partition, found.offset) == (START, 1, 7)
    assert found.drift_id == drift_id(found.figure, 1, 7)
    assert made.take() == []


def test_a_change_of_one_variant_is_found_beside_a_steady_one() -> None:
    """Half of the moments are of each variant; what all users get changes half as much."""
    made = watch()
    found = []
    for share in (0.4, 0.1):
        steady, changing = coins((0.4,) * 4, 3_000, seed=3), coins((share, 0.4, 0.4, 0.4), 3_000, seed=4)
        for one, other in zip(steady, changing, strict=True):
            made.judged("x/control", one)
            made.judged("x/new", other)
        found.append({drift.figure for drift in made.take()})
    assert found[0] == set()
    assert {"hr@20 arm x/new", "hr@20 blend"} <= found[1]
    assert "hr@20 arm x/control" not in found[1]


def test_no_alarm_on_a_still_stream() -> None:
    """The level: of 40 streams with 4 figures of 10,000 moments each, 1.6 million moments, one figure at most may be wrong. ADWIN's
    delta (0.002) bounds it from above, by far."""
    alarms = sum(
        len(fed(watch(), coins((0.05, 0.2, 0.5, 0.3), 10_000, seed), arm="x/new" if seed % 2 else ""))
        for seed in range(40)
    )
    assert alarms <= 1


def test_a_change_for_the_better_is_told_as_such() -> None:
    made = watch()
    fed(made, coins((0.2,) * 4, 3_000, seed=5))
    found = fed(made, coins((0.6,) * 4, 600, seed=6))
    assert {drift.figure for drift in found} == {f"hr@20 {name}" for name in LISTS}
    assert not any(drift.worse for drift in found)


def test_what_users_get_is_warned_of_and_a_single_source_is_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "headrace")
    made = watch()
    fed(made, np.concatenate([coins((0.5,) * 4, 2_000, 1), coins((0.1,) * 4, 400, 2)]))
    levels = {record.getMessage().split()[2]: record.levelname for record in caplog.records}
    assert levels == {"blend": "WARNING", "served": "WARNING", "knn": "INFO", "near": "INFO"}


def test_the_variants_that_are_watched_are_bounded_and_change_with_the_experiments() -> None:
    made = watch()
    for n in range(ARMS + 5):
        made.judged(f"x/{n}", np.ones(4))
    watched = made._knowledge.drift.counts
    assert sum(name.startswith("hr@20 arm ") for name in watched) == ARMS
    for _ in range(SILENT):
        made.judged("", np.ones(4))
    made.judged("y/0", np.ones(4))
    assert "hr@20 arm y/0" in made._knowledge.drift.counts


def test_what_nobody_takes_is_bounded() -> None:
    made = watch()
    made._found.extend([QualityDrift(**dict.fromkeys(QualityDrift.__struct_fields__, 0))] * (KEPT + 10))  # type: ignore[arg-type]
    assert len(made.take()) == KEPT


def walk(n: int, users: int = 10) -> list[Event]:
    """Users walk round a ring of items, the first half of the log; then each goes wherever it likes."""
    rng = np.random.default_rng(0)
    at, out = rng.integers(0, 300, users), []
    for i in range(n):
        user = i % users
        at[user] = (at[user] + 1) % 300 if i < n // 2 else rng.integers(0, 300)
        event = Event(
            timestamp=START + 1_000 * i, user_id=f"u{user}", item_id=f"i{at[user]}", event_type="view", event_id=f"e{i}"
        )
        out.append(event)
    return out


WALK = walk(3_000)
PAIRS = [(event, Source(0, n)) for n, event in enumerate(WALK)]


@pytest.fixture(scope="module")
def told() -> list[QualityDrift]:
    pipeline = Pipeline()
    pipeline.process(PAIRS)
    alarms = pipeline.metrics()["drift_alarms"]
    assert isinstance(alarms, dict)
    found = pipeline.watch.take()
    assert sum(alarms.values()) == len(found)
    return found


def test_users_who_change_their_ways_are_seen_in_the_path(told: list[QualityDrift]) -> None:
    change = WALK[1_500].timestamp
    early = [drift for drift in told if drift.worse and drift.timestamp < change]
    assert early == []
    worse = {drift.figure: drift for drift in told if drift.worse}
    assert {"hr@20 blend", "hr@20 following"} <= worse.keys()
    assert all(drift.offset < 1_500 + 700 for drift in worse.values())
    for drift in told:
        assert WALK[drift.offset].timestamp == drift.timestamp


def test_the_cut_into_batches_changes_no_drift(told: list[QualityDrift]) -> None:
    pipeline, found = Pipeline(), []
    for start in range(0, len(PAIRS), 37):
        pipeline.process(PAIRS[start : start + 37])
        found += pipeline.watch.take()
    assert found == told


def test_a_worker_tells_of_its_own_events_only(told: list[QualityDrift]) -> None:
    """One that reads what another has learned says nothing, and what it finds later is of its own events."""
    owner, other = Pipeline(), Pipeline()
    for outcome in owner.process(PAIRS):
        assert outcome.interaction is not None
        other.learn(outcome.interaction)
    assert other.watch.take() == []
    other.watch.looks_at(None)
    for value in coins((0.9,), 500, 1)[:, 0].tolist() + coins((0.1,), 500, 1)[:, 0].tolist():
        other.knowledge.note("intent log loss", value)
    assert other.metrics()["drift_alarms"] == {"intent log loss": 1}
    assert other.watch.take() == []


def test_events_that_come_again_lead_to_the_same_ids(told: list[QualityDrift]) -> None:
    """After a crash the snapshot's detectors meet the same events again."""
    first = Pipeline()
    first.process(PAIRS[:1_400])
    first.finish()
    state = {name: array.copy() for name, array in first.snapshot().items()}
    runs = []
    for _ in range(2):
        again = Pipeline()
        again.restore(state)
        again.process(PAIRS[1_400:])
        runs.append(again.watch.take())
    assert runs[0] == runs[1]
    assert {drift.drift_id for drift in runs[0]}


def test_variants_are_watched_in_the_path() -> None:
    pipeline = Pipeline()
    definition = Definition(name="x", variants=(Variant(name="control"), Variant(name="new", sources=("newest",))))
    pipeline.run_experiments([begin(definition, {}, pipeline.knowledge.lists, {}, now_ms=1)])
    pipeline.process(PAIRS[:400])
    counts = pipeline.knowledge.drift.counts
    by_arm = {arm: figures["moments"] for arm, figures in pipeline.prequential.arms().items()}
    assert {f"hr@20 arm {arm}": n for arm, n in by_arm.items()} == {n: c for n, c in counts.items() if " arm " in n}
    assert len(by_arm) == 2


def test_sources_are_watched_in_blocks() -> None:
    pipeline = Pipeline()
    pipeline.process(PAIRS[:101])
    counts = pipeline.knowledge.source_drift.counts
    assert counts == {f"hr@20 {name}": pipeline.prequential.scored // BLOCK for name in pipeline.knowledge.lists}


def test_a_hit_that_is_no_number_is_our_fault() -> None:
    with pytest.raises(InputError, match="finite"):
        watch().judged("", np.full(4, np.nan))
