"""Runs: they give what a replay gives, nothing of the future gets into them, and models that are late are late."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from infra.quality import bench
from infra.quality.judge import Verdict
from infra.quality.plan import Plan
from infra.quality.runs import Setup, by_tracks, late
from infra.quality.variants import variants
from online_models.expected import NAMES
from streams.config import BlendConfig, PipelineConfig
from streams.replay import Replay
from tests.infra.quality.worlds import REPEATS, Pairs, ader_plan, log_plan, nothing, walk
from tests.worlds import shop_log

CONFIG = PipelineConfig(blend=BlendConfig(units=4))


def same(one: Verdict, other: Verdict, queries: slice) -> bool:
    return bool(np.array_equal(one.values[queries], other.values[queries], equal_nan=True))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return log_plan(tmp_path_factory.mktemp("shop") / "log.jsonl", shop_log(600), CONFIG)


@pytest.fixture(scope="module")
def prequential(shop: Plan) -> Verdict:
    return by_tracks(shop, Setup(CONFIG), False, nothing)[0]


def test_a_log_gives_what_a_replay_gives(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    plan = log_plan(path, shop_log(600), CONFIG)
    verdict, still = by_tracks(plan, Setup(CONFIG), False, nothing)
    report = Replay(str(path), CONFIG).run()
    assert still is None
    assert len(plan) == report["scored"] == verdict.asked.sum()
    for name in ("hr@20", "recall@20", "mrr@20", "ndcg@20"):
        assert verdict.values[:, NAMES.index(name)].mean() == pytest.approx(report["metrics"][name], abs=1e-6)
    assert verdict.coverage == pytest.approx(report["metrics"]["coverage@20"])
    unseen = float(np.mean(np.isnan(verdict.known[:, 0])))
    assert unseen == pytest.approx(report["unseen_target_share"])


def test_nothing_of_the_future_of_a_log_gets_in(tmp_path: Path) -> None:
    log = shop_log(600)
    cut = 400
    times = [event.timestamp for event in log[cut:]]
    shuffled = [log[cut + (n * 7) % 200] for n in range(200)]
    future = [msgspec.structs.replace(e, timestamp=t) for e, t in zip(shuffled, times, strict=True)]
    one, other = (
        log_plan(tmp_path / f"{n}.jsonl", events, CONFIG) for n, events in enumerate((log, log[:cut] + future))
    )
    before = slice(0, int(np.searchsorted(one.event, cut - 10)))
    assert before.stop > 50
    a, b = (by_tracks(plan, Setup(CONFIG), False, nothing)[0] for plan in (one, other))
    assert same(a, b, before)
    assert not same(a, b, slice(before.stop, min(len(one), len(other)))), "the shuffle changed something"
    c, d = (late(plan, Setup(CONFIG), 60_000, nothing)[0] for plan in (one, other))
    assert same(c, d, before)


def periods(second: Pairs, third: Pairs) -> list[Pairs]:
    return [walk(300, 1), second, third]


def both_tracks(folder: Path, sets: list[Pairs]) -> tuple[Plan, Verdict, Verdict]:
    plan = ader_plan(folder, sets)
    live, still = by_tracks(plan, Setup(REPEATS), True, nothing)
    assert still is not None
    return plan, live, still


def test_nothing_of_the_future_of_a_period_gets_in(tmp_path: Path) -> None:
    """The second half of period 1 and all of period 2 are other events: what was asked before stays, in both tracks."""
    begin, tail = walk(150, 2, 1000), walk(150, 3, 2000)
    plan, live, still = both_tracks(tmp_path / "a", periods(begin + tail, walk(100, 4, 3000)))
    other, live2, still2 = both_tracks(tmp_path / "b", periods(begin + walk(150, 5, 2000), walk(100, 6, 3000)))
    cut = int(np.searchsorted(plan.event, 450))
    # a session at the seam may be left with one event in one of the two: none is, as `tail` has sessions of its own
    assert plan.event[:cut].tolist() == other.event[:cut].tolist()
    assert same(live, live2, slice(0, cut))
    assert same(still, still2, slice(0, cut))
    assert not same(still, still2, slice(cut, min(len(plan), len(other))))


def test_frozen_means_that_nothing_of_the_period_is_learned(tmp_path: Path) -> None:
    """Other events at the period's beginning change no answer at its end where it is frozen, and do where it is not."""
    end = walk(150, 3, 2000)
    plan, live, still = both_tracks(tmp_path / "a", periods(walk(150, 2, 1000) + end, [(1, 1), (1, 2)]))
    other, live2, still2 = both_tracks(tmp_path / "b", periods(walk(150, 7, 1000) + end, [(1, 1), (1, 2)]))
    tails = [p.event.searchsorted([450, 600]).tolist() for p in (plan, other)]
    assert tails[0][1] - tails[0][0] == tails[1][1] - tails[1][0] > 50
    a, b = (v.values[begin:stop] for v, (begin, stop) in zip((still, still2), tails, strict=True))
    assert np.array_equal(a, b)
    a, b = (v.values[begin:stop] for v, (begin, stop) in zip((live, live2), tails, strict=True))
    assert not np.array_equal(a, b)


def test_both_judges_hear_of_what_is_learned(tmp_path: Path) -> None:
    """An item's share is that of all events learned before the query: before its period where it is frozen."""
    plan, live, still = both_tracks(tmp_path, periods(walk(150, 2, 1000), walk(100, 3, 2000)))
    items = [plan.items[event.item_id] for event, _ in plan.read()]
    wanted = [items[n] for n in plan.event]
    now = [items[:n].count(item) / n for n, item in zip(plan.event.tolist(), wanted, strict=True)]
    starts = [plan.bounds[period] for period in plan.stratum.tolist()]
    then = [items[:n].count(item) / n for n, item in zip(starts, wanted, strict=True)]
    assert live.wanted == pytest.approx(np.mean(now))
    assert still.wanted == pytest.approx(np.mean(then))
    assert still.wanted != pytest.approx(live.wanted)
    assert still.listed > 0.0


def test_learning_everything_at_once_is_worth_something_here(tmp_path: Path) -> None:
    """A new way from item to item in period 1: who stands still misses it."""
    turned = [(s, (i * 7) % 30) for s, i in walk(1200, 2, 1000)]
    _, live, still = both_tracks(tmp_path, periods(turned, [(1, 1), (1, 2)]))
    mrr = NAMES.index("mrr@20")
    assert np.nanmean(live.values[:, mrr]) > np.nanmean(still.values[:, mrr]) + 0.05


def test_without_delay_a_reader_sees_what_the_pipeline_sees(shop: Plan, prequential: Verdict) -> None:
    models, everything = late(shop, Setup(CONFIG), 0, nothing)
    for verdict in (models, everything):
        assert same(verdict, prequential, slice(None))
        assert verdict.coverage == prequential.coverage


def test_without_delay_copies_change_nothing(tmp_path: Path) -> None:
    """Every fifth event comes twice: who follows the users drops the copy as the pipeline does."""
    log = [copy for n, event in enumerate(shop_log(300)) for copy in (event,) * (2 if n % 5 == 4 else 1)]
    plan = log_plan(tmp_path / "log.jsonl", log, CONFIG)
    live, _ = by_tracks(plan, Setup(CONFIG), False, nothing)
    for verdict in late(plan, Setup(CONFIG), 0, nothing):
        assert same(verdict, live, slice(None))
        assert (verdict.coverage, verdict.listed, verdict.wanted) == (live.coverage, live.listed, live.wanted)


def test_without_delay_a_late_event_is_asked_about_as_any_other(tmp_path: Path) -> None:
    """Every seventh event comes after its successor."""
    log = shop_log(300)
    for n in range(0, 294, 7):
        log[n], log[n + 1] = log[n + 1], log[n]
    plan = log_plan(tmp_path / "log.jsonl", log, CONFIG)
    live, _ = by_tracks(plan, Setup(CONFIG), False, nothing)
    for verdict in late(plan, Setup(CONFIG), 0, nothing):
        assert same(verdict, live, slice(None))


def test_models_that_never_hear_of_anything_know_nothing(shop: Plan) -> None:
    models, everything = late(shop, Setup(CONFIG), 1 << 50, nothing)
    for verdict in (models, everything):
        assert not verdict.values.any()
        assert verdict.coverage == 0.0


def test_a_user_as_of_now_is_worth_something(shop: Plan, prequential: Verdict) -> None:
    models, everything = late(shop, Setup(CONFIG), 3_600_000 * 6, nothing)
    means = [v.values[:, NAMES.index("ndcg@20")].mean() for v in (prequential, models, everything)]
    assert means[0] > means[1] > means[2]
    told = bench.run(shop, Setup(CONFIG), bench.Wish(lags=(("6h", 3_600_000 * 6),)), lambda name: nothing)["lag"][0]
    found = [told[part]["metrics"]["ndcg@20"]["mean"] for part in ("models late", "everything late")]
    assert found == pytest.approx(means[1:], abs=1e-5)
    less = [told[part]["difference"]["ndcg@20"]["mean"] for part in ("models late", "everything late")]
    assert less == pytest.approx([mean - means[0] for mean in means[1:]], abs=2e-5)


def test_a_variant_takes_away_what_it_names(shop: Plan, prequential: Verdict) -> None:
    found = {v.name: v for v in variants(Setup(CONFIG), rated=True, deep=False)}
    assert set(found) >= {"without following", "without knn", "without rated", "without hidden units"}
    assert "without deep" not in found
    assert "without rated" not in {v.name for v in variants(Setup(CONFIG), rated=False, deep=False)}
    for name in ("without again", "without hidden units", "start weights, nothing learned by the blend"):
        verdict, _ = by_tracks(shop, found[name].setup, False, nothing)
        assert not same(verdict, prequential, slice(None)), name
    fixed = found["start weights, nothing learned by the blend"].setup
    untaught = replace(fixed, config=PipelineConfig(blend=BlendConfig(units=4, lr=0.0, units_lr=0.0)))
    one, other = (by_tracks(shop, setup, False, nothing)[0] for setup in (fixed, untaught))
    assert same(one, other, slice(None)), "weights that learn but are not used are as good as none that learn"
