"""Versions in the pipeline: who gets which, what is compared, flips that lose nothing, and the good and the bad one's way."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from online_models.deep import Version
from online_models.newcomers import Newcomers
from streams.config import PipelineConfig
from streams.contracts.events import Event, Source
from streams.experiments import NO_MODEL
from streams.hotswap import NONE
from streams.pipeline import Pipeline
from streams.trial import Phase, Trial, TrialConfig
from tests.versions import artefact, vectors_of, version
from tests.worlds import START

ITEMS, TOPICS = 120, 12
IDS = [f"i{n}" for n in range(ITEMS)]
GROUPS = [n % TOPICS for n in range(ITEMS)]
CONFIG = PipelineConfig(trial=TrialConfig(compared=1.0, users=0.5, shadow=60, most=1_500, watch=2_000, margin=0.01))


def walk(n: int, seed: int = 1, users: int = 40) -> list[Event]:
    """Users look at items of one topic, then of another: what only somebody who knows the topics can foresee."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, TOPICS, users)
    events = []
    for i in range(n):
        user = int(rng.integers(users))
        if rng.random() < 0.1:
            topic[user] = rng.integers(TOPICS)
        item = int(topic[user] + TOPICS * rng.integers(ITEMS // TOPICS))
        events.append(
            Event(
                timestamp=START + 1000 * i, user_id=f"u{user}", item_id=f"i{item}", event_type="view", event_id=f"{seed}/{i}"
            )
        )  # fmt: skip
    return events


def good(pipeline: Pipeline, folder: Path, seed: int = 1) -> Version:
    return version(folder, pipeline.knowledge.items, IDS, vectors_of(GROUPS, seed=seed))


def bad(pipeline: Pipeline, folder: Path) -> Version:
    """Honest, and of no use: its vectors say nothing of the topics."""
    shuffled = np.random.default_rng(8).permutation(GROUPS).tolist()
    return version(folder, pipeline.knowledge.items, IDS, vectors_of(shuffled, seed=3))


def play(pipeline: Pipeline, log: list[Event], start: int = 0) -> list[str]:
    """The versions that the lists name."""
    outcomes = pipeline.process([(event, Source(0, start + n)) for n, event in enumerate(log)])
    assert all(len(o.recommendation.items) == 20 for o in outcomes[40:] if o.recommendation is not None)
    return [o.recommendation.model.version for o in outcomes if o.recommendation is not None]


def test_a_live_version_names_candidates_and_stands_in_the_record(tmp_path: Path) -> None:
    pipeline = Pipeline(CONFIG)
    assert set(play(pipeline, walk(200))) == {"1"}
    v = good(pipeline, tmp_path / "a")
    pipeline.versions.install(v)
    assert set(play(pipeline, walk(1_500, seed=2), 200)) == {f"1+{v.name}"}
    quality = pipeline.metrics()["ndcg_at_20"]
    assert isinstance(quality, dict)
    assert quality["deep"] > quality["knn"] * 0.8 > 0.0
    weights = pipeline.knowledge.blend_report()["weights"]
    assert weights["deep.log_rank"] > 0.4, "worth more than it was trusted at first"
    assert pipeline.versions.metrics()["live"] == {v.name: 1.0}


def test_without_a_version_nothing_of_it_is_in_any_list() -> None:
    pipeline = Pipeline(CONFIG)
    play(pipeline, walk(300))
    quality = pipeline.metrics()["ndcg_at_20"]
    assert isinstance(quality, dict)
    assert quality["deep"] == 0.0


def test_a_good_version_is_tried_and_promoted_and_a_bad_one_sent_back(tmp_path: Path) -> None:
    pipeline = Pipeline(CONFIG)
    told: list[tuple[str, Phase]] = []
    pipeline.versions.changed = lambda trial: told.append((trial.candidate, trial.phase))
    play(pipeline, walk(200))
    first = good(pipeline, tmp_path / "a")
    pipeline.versions.begin(first)
    named = play(pipeline, walk(3_000, seed=2), 200)
    assert told == [(first.name, phase) for phase in (Phase.CANARY, Phase.PROMOTED, Phase.KEPT)]
    assert named[:50] == ["1"] * 50, "nobody sees a shadow"
    assert set(named[-50:]) == {f"1+{first.name}"}
    some = named.index(f"1+{first.name}")
    assert "1" in named[some:], "a canary is seen by some"
    told.clear()
    worse = bad(pipeline, tmp_path / "b")
    pipeline.versions.begin(worse)
    named = play(pipeline, walk(2_000, seed=3), 3_200)
    assert told[-1] == (worse.name, Phase.ROLLED_BACK)
    assert pipeline.versions.live is first
    assert pipeline.versions.candidate is None
    assert set(named[-50:]) == {f"1+{first.name}"}


def test_a_user_sees_one_version_as_long_as_the_phase_stays(tmp_path: Path) -> None:
    pipeline = Pipeline(CONFIG)
    play(pipeline, walk(100))
    versions = pipeline.versions
    versions.install(good(pipeline, tmp_path / "a"))
    versions.begin(bad(pipeline, tmp_path / "b"))
    assert versions.trial is not None
    assert all(versions.version_for(f"u{n}") is versions.live for n in range(50))
    versions.trial.phase = Phase.CANARY
    seen = {n: versions.version_for(f"u{n}") for n in range(200)}
    assert {v.name for v in seen.values() if v is not None} == {versions.live.name, versions.candidate.name}  # type: ignore[union-attr]
    assert seen == {n: versions.version_for(f"u{n}") for n in range(200)}
    for n, answering in list(seen.items())[:40]:
        compared, rival = versions.rival_for(f"u{n}", f"e{n}")
        assert compared
        assert {answering, rival} == {versions.live, versions.candidate}


def test_comparing_changes_no_list_and_nothing_that_is_learned(tmp_path: Path) -> None:
    log = walk(400)
    plain, shadowed = Pipeline(CONFIG), Pipeline(CONFIG)
    for pipeline in (plain, shadowed):
        play(pipeline, log[:100])
    shadowed.versions._config = TrialConfig(compared=1.0, shadow=10_000)
    shadowed.versions.begin(bad(shadowed, tmp_path / "a"))
    records = [
        [msgspec.json.encode(o.recommendation) for o in p.process([(e, Source(0, 100 + n)) for n, e in enumerate(log[100:])])]
        for p in (plain, shadowed)
    ]  # fmt: skip
    assert records[0] == records[1]
    ours, theirs = plain.knowledge.snapshot(), shadowed.knowledge.snapshot()
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)


def test_one_that_turns_harmful_after_its_promotion_gives_way_to_the_one_before(tmp_path: Path) -> None:
    pipeline = Pipeline(CONFIG)
    play(pipeline, walk(300))
    before = good(pipeline, tmp_path / "a")
    pipeline.versions.install(before)
    play(pipeline, walk(1_000, seed=2), 300)
    worse = bad(pipeline, tmp_path / "b")
    pipeline.versions.begin(worse)
    pipeline.versions.promote()
    assert pipeline.versions.live is worse
    play(pipeline, walk(1_500, seed=3), 1_300)
    assert pipeline.versions.live is before
    assert pipeline.versions.trial is None


def test_what_the_stream_learns_while_a_version_is_aligned_does_not_get_into_it(tmp_path: Path) -> None:
    """Its rows and means would be those of different moments: a slot may hold another item by then."""
    pipeline, known = Pipeline(CONFIG), IDS[:60]
    play(pipeline, walk(200))
    table, vectors = pipeline.knowledge.items, vectors_of(GROUPS)[:60]
    live = version(tmp_path / "a", table, known, vectors)
    live.newcomers = Newcomers(16, 1.0, capacity=20)
    live.newcomers.know(len(table))
    pipeline.versions.install(live)
    play(pipeline, walk(400, seed=2), 200)
    one, two = (version(tmp_path / name, table, known, vectors, created=n) for n, name in enumerate("bc"))
    pipeline.versions.aligning(one)()
    later = pipeline.versions.aligning(two)
    play(pipeline, walk(400, seed=3), 600)
    later()
    assert 0 < one.newcomers.used <= 20
    for name in ("item", "means", "centre", "vectors", "count"):
        assert np.array_equal(getattr(one.newcomers, name), getattr(two.newcomers, name)), name


def test_metrics_are_kept_by_version_for_those_that_are_there(tmp_path: Path) -> None:
    pipeline = Pipeline(CONFIG)
    play(pipeline, walk(200))
    assert set(pipeline.versions.recent) == {NONE}
    first = good(pipeline, tmp_path / "a")
    pipeline.versions.install(first)
    play(pipeline, walk(200, seed=2), 200)
    second = good(pipeline, tmp_path / "b", seed=5)
    pipeline.versions.install(second)
    play(pipeline, walk(200, seed=3), 400)
    assert set(pipeline.versions.recent) >= {first.name, second.name}
    play(pipeline, walk(200, seed=4), 600)
    third = good(pipeline, tmp_path / "c", seed=6)
    pipeline.versions.install(third)
    play(pipeline, walk(50, seed=7), 800)
    assert first.name not in pipeline.versions.recent, "nobody gets it any more"


def test_a_compaction_in_the_middle_of_a_trial(tmp_path: Path) -> None:
    config = msgspec.structs.replace(CONFIG, max_items=64)
    pipeline = Pipeline(config)
    play(pipeline, walk(300))
    pipeline.versions.begin(good(pipeline, tmp_path / "a"))
    play(pipeline, walk(1_500, seed=2), 300)
    assert pipeline.knowledge.items.generation > 5
    live = pipeline.versions.live
    assert live is not None
    rows = live.row_of[: len(pipeline.knowledge.items)]
    assert [IDS[row] for row in rows.tolist()] == pipeline.knowledge.items.ids


@pytest.mark.parametrize("how", ["installed", "promoted", "kept"])
def test_the_one_before_comes_back_after_compactions_whoever_made_the_other_live(tmp_path: Path, how: str) -> None:
    """Nothing compares it any more, but a rollback may want it at any time: with the rows of the item table as it is."""
    pipeline = Pipeline(msgspec.structs.replace(CONFIG, max_items=64))
    versions, table = pipeline.versions, pipeline.knowledge.items
    play(pipeline, walk(300))
    before = good(pipeline, tmp_path / "a")
    versions.install(before)
    play(pipeline, walk(300, seed=5), 300)
    other = good(pipeline, tmp_path / "b", seed=9)
    if how == "installed":
        versions.install(other)
    else:
        versions.begin(other)
        versions.promote()
    if how == "kept":
        assert versions.trial is not None
        versions.trial.phase = Phase.KEPT
        versions._move(versions.trial)
    assert (versions.live, versions.previous) == (other, before)
    learned = before.newcomers.queries
    compacted = table.generation
    play(pipeline, walk(700, seed=2), 600)
    assert table.generation > compacted + 5
    assert (before.newcomers.queries == learned) == (how != "promoted"), "it learns only while it is compared"
    versions.install(versions.previous)
    assert [IDS[row] for row in before.row_of[: len(table)].tolist()] == table.ids
    assert set(play(pipeline, walk(100, seed=7), 1_300)) == {f"1+{before.name}"}


def test_a_version_whose_rows_are_those_of_an_older_item_table_is_not_taken_in(tmp_path: Path) -> None:
    pipeline = Pipeline(CONFIG)
    play(pipeline, walk(200))
    stale, versions = good(pipeline, tmp_path / "a"), pipeline.versions
    pipeline.knowledge.compact()
    for take in (versions.install, versions.begin, versions.aligning, lambda v: versions.hold({v.name: v})):
        with pytest.raises(ValueError, match="make the version anew"):
            take(stale)
    assert (versions.live, versions.candidate, dict(versions.held)) == (None, None, {NO_MODEL: None})


def test_an_experiments_copy_of_the_version_on_trial_leaves_both_their_rows(tmp_path: Path) -> None:
    pipeline = Pipeline(CONFIG)
    play(pipeline, walk(200))
    ours, theirs = good(pipeline, tmp_path / "a"), good(pipeline, tmp_path / "copy")
    assert ours.name == theirs.name
    pipeline.versions.hold({theirs.name: theirs})
    pipeline.versions.begin(ours)
    pipeline.knowledge.compact()
    table = pipeline.knowledge.items
    for v in (ours, theirs):
        assert [IDS[row] for row in v.row_of[: len(table)].tolist()] == table.ids


def test_a_replaced_candidate_leaves_no_trace(tmp_path: Path) -> None:
    pipeline = Pipeline(CONFIG)
    play(pipeline, walk(200))
    pipeline.versions.begin(bad(pipeline, tmp_path / "a"))
    play(pipeline, walk(30, seed=2), 200)
    second = good(pipeline, tmp_path / "b")
    pipeline.versions.begin(second)
    assert isinstance(pipeline.versions.trial, Trial)
    assert pipeline.versions.trial.difference.n == 0
    play(pipeline, walk(100, seed=4), 230)
    assert pipeline.versions.candidate is second
    assert len(pipeline.knowledge.deep.following) == 1


@pytest.mark.parametrize("to", ["install", "begin"])
def test_items_that_came_while_a_version_was_on_its_way_are_known(tmp_path: Path, to: str) -> None:
    pipeline = Pipeline(CONFIG)
    play(pipeline, walk(3))
    v = good(pipeline, tmp_path / "a")
    play(pipeline, walk(400, seed=2), 3)
    getattr(pipeline.versions, to)(v)
    n = len(pipeline.knowledge.items)
    assert n > 50
    assert (v.row_of[:n] >= 0).all()


def test_a_replay_with_a_version_is_the_same_every_time(tmp_path: Path) -> None:
    artefact(tmp_path / "a", IDS, vectors_of(GROUPS))
    lists = []
    for _ in range(2):
        pipeline = Pipeline(CONFIG)
        pipeline.versions.install(good(pipeline, tmp_path / f"copy{len(lists)}"))
        outcomes = pipeline.process([(event, Source(0, n)) for n, event in enumerate(walk(300))])
        lists.append([msgspec.json.encode(o.recommendation) for o in outcomes])
    assert lists[0] == lists[1]
