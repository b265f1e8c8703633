"""The path as a whole: rules 1, 2, 6, 7 and 8 of the design, on small made-up logs."""

from __future__ import annotations

import gzip
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from online_models.errors import SnapshotError
from streams.config import FactorsConfig, FilterConfig, PipelineConfig, SourcesConfig
from streams.contracts.catalogue import Item
from streams.contracts.events import Event, Source
from streams.pipeline import Pipeline
from streams.replay import Replay
from streams.serving import request_id
from tests.worlds import START, shop_log


def play(log, config=None, batch=1):
    pipeline = Pipeline(config)
    outcomes = []
    for at in range(0, len(log), batch):
        outcomes += pipeline.process([(e, Source(0, at + i)) for i, e in enumerate(log[at : at + batch])])
    return pipeline, outcomes


def lists(outcomes):
    return [(o.fresh, [i.item_id for i in o.recommendation.items]) for o in outcomes]


def event(n, user="u", item="i", kind="view", at=0, **more):
    return Event(timestamp=START + at, user_id=user, item_id=item, event_type=kind, event_id=f"x{n}", **more)


def test_every_event_gets_a_list_that_never_names_an_unseen_item():
    log = shop_log(300)
    seen: set[str] = set()
    moment = None
    before: set[str] = set()
    for e, (fresh, served) in zip(log, lists(play(log)[1]), strict=True):
        if (e.user_id, e.timestamp) != moment:
            moment, before = (e.user_id, e.timestamp), set(seen)
        assert set(fresh) <= before
        seen.add(e.item_id)
        assert served
        assert set(served) <= seen
        assert len(set(served)) == len(served)
        assert len(set(fresh)) == len(fresh)


@pytest.mark.parametrize("batch", [2, 7, 64, 1000])
def test_the_cut_into_batches_changes_nothing(batch):
    log = shop_log(300)
    assert lists(play(log)[1]) == lists(play(log, batch=batch)[1])


def test_the_future_changes_nothing_before_it():
    log = shop_log(300, baskets=True)
    cut = 200
    while log[cut].timestamp == log[cut - 1].timestamp:
        cut += 1
    rng = random.Random(3)
    future = [
        msgspec.structs.replace(e, item_id=f"other{rng.randrange(9)}", user_id=f"u{rng.randrange(12)}")
        for e in log[cut:]
    ]
    future[0] = msgspec.structs.replace(future[0], user_id=log[cut].user_id)
    changed = log[:cut] + future
    ours, theirs = lists(play(log)[1]), lists(play(changed)[1])
    assert ours[:cut] == theirs[:cut]
    assert ours[cut][0] == theirs[cut][0], "the list before a moment knows something of the moment"
    assert ours[cut + 5 :] != theirs[cut + 5 :]


def test_events_of_one_moment_share_the_list_from_before_it():
    log = [event(i, user=f"u{i % 3}", item=f"i{i % 7}", at=i * 1000) for i in range(60)]
    log += [event(100 + i, user="u0", item=f"i{i}", at=70_000) for i in range(4)]
    fresh = [f for f, _ in lists(play(log)[1])]
    assert fresh[60] == fresh[61] == fresh[62] == fresh[63] != fresh[59]


def test_the_next_list_knows_the_click_that_has_just_happened():
    log = [event(i, user=f"u{i % 9}", item=f"i{(i // 9) % 5}", at=i * 1000) for i in range(300)]
    log.append(event(900, user="fresh", item="i2", at=400_000))
    served = lists(play(log)[1])[-1][1]
    assert served[0] == "i3", "everybody goes from i2 to i3"
    assert "i2" not in served, "the item that the user is on is left out"


def test_recommending_changes_no_bit():
    pipeline, _ = play(shop_log(200))
    before = {k: v.copy() for k, v in pipeline.snapshot().items()}
    for user in ("u0", "u1", "nobody"):
        for k in (1, 20, 50):
            assert pipeline.recommend(user, k).items
    after = pipeline.snapshot()
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert array.tobytes() == after[name].tobytes(), name
    assert pipeline.sessions.peek("nobody") is None


def test_a_repeated_event_id_is_dropped_and_counted():
    log = shop_log(50)
    pipeline, outcomes = play([*log, log[10]])
    assert outcomes[-1].duplicate
    assert outcomes[-1].recommendation is None
    assert outcomes[-1].interaction is None
    assert pipeline.counts["duplicates"] == 1
    assert int(pipeline.knowledge.items.count.sum()) == 50


def test_a_redelivered_event_is_answered_again_and_learned_once():
    log = shop_log(50)
    pipeline, _ = play(log)
    counts = pipeline.knowledge.items.count.copy()
    n = pipeline.sessions.get(log[-1].user_id).n_events
    again = pipeline.process([(log[-1], Source(0, 49))])[0]
    assert again.recommendation.request_id == request_id(log[-1].event_id)
    assert again.interaction is None
    assert (pipeline.knowledge.items.count == counts).all()
    assert pipeline.sessions.get(log[-1].user_id).n_events == n


def test_late_events_are_learned_in_arrival_order_and_time_never_runs_backwards():
    log = [event(1, at=10_000_000), event(2, item="j", at=0), event(3, item="k", at=10_000_500)]
    pipeline, outcomes = play(log)
    state = pipeline.sessions.get("u")
    assert pipeline.counts["late"] == 1
    assert state.n_events == 3
    assert state.n_sessions == 1
    assert state.last_ms == START + 10_000_500
    assert all(o.recommendation is not None for o in outcomes)
    assert pipeline.knowledge.items.count[:3].tolist() == [1, 1, 1]


def test_sessions_are_cut_by_silence_and_by_session_id():
    minute = 60_000
    log = [event(1), event(2, at=31 * minute), event(3, at=32 * minute)]
    assert play(log)[0].sessions.get("u").n_sessions == 2
    named = [
        event(1, session_id="a"),
        event(2, at=40 * minute, session_id="a"),
        event(3, at=41 * minute, session_id="b"),
    ]
    assert play(named)[0].sessions.get("u").n_sessions == 2


def test_unknown_event_types_weigh_nothing_and_are_counted():
    log = shop_log(60)
    odd = [event(i, user="u1", item="odd", kind="wink", at=10**9 + i) for i in range(5)]
    pipeline, _ = play(log + odd)
    assert pipeline.counts["unknown_type"] == 5 + sum(e.event_type == "odd" for e in log)
    row = pipeline.knowledge.items.row("odd")
    assert pipeline.knowledge.items.count[row] == 5
    assert (pipeline.knowledge.popularity.score[:, row] == 0).all()


def test_rated_items_are_left_out_and_others_may_repeat():
    log = [event(i, item=f"i{i}", kind="rating", value=5.0, at=i * 1000) for i in range(5)]
    log += [event(10 + i, user="v", item=f"i{i}", kind="purchase", at=10_000 + i * 1000) for i in range(5)]
    pipeline, _ = play(log)
    assert {i.item_id for i in pipeline.recommend("v", 20).items} == {f"i{i}" for i in range(5)}
    # all five are rated: better a known item than an empty list
    assert pipeline.recommend("u", 20).items
    pipeline.process([(event(50, user="w", item="new", at=50_000), Source(0, 50))])
    assert [i.item_id for i in pipeline.recommend("u", 20).items] == ["new"]


def test_catalogue_and_deny_lists_keep_items_out_until_they_are_back():
    config = PipelineConfig(filters=FilterConfig(deny_items=("i1",), deny_categories=("adult",), consumed="none"))
    log = [event(i, user=f"u{i % 4}", item=f"i{i % 6}", at=i * 1000) for i in range(60)]
    pipeline, _ = play(log, config)
    pipeline.catalogue_update("i2", Item(item_id="i2", available=False))
    pipeline.catalogue_update("i3", Item(item_id="i3", categories=["adult"]))
    pipeline.catalogue_update("i4", None)
    assert {i.item_id for i in pipeline.recommend("u1", 20).items} == {"i0", "i5"}
    pipeline.catalogue_update("i2", Item(item_id="i2", title="Two"))
    assert {i.item_id for i in pipeline.recommend("u1", 20).items} == {"i0", "i2", "i5"}


def test_a_snapshot_made_under_other_settings_is_refused_before_anything_is_touched():
    pipeline, _ = play(shop_log(60))
    state = {k: v.copy() for k, v in pipeline.snapshot().items()}
    other = Pipeline(PipelineConfig(sources=SourcesConfig(factors=FactorsConfig(dims=32))))
    with pytest.raises(SnapshotError, match=r"expected .*, got .*; go back"):
        other.restore(state)
    assert len(other.knowledge.items) == 0
    same = Pipeline()
    same.restore(state)
    assert same.recommend("nobody", 20) == pipeline.recommend("nobody", 20)


def test_memory_is_bounded_and_the_stream_goes_on_when_the_item_table_is_full():
    config = PipelineConfig(max_items=64, max_users=8, dedup_window=50)
    log = [event(i, user=f"u{i % 20}", item=f"i{i // 2}", at=i * 1000) for i in range(1500)]
    pipeline, outcomes = play(log, config)
    k = pipeline.knowledge
    assert len(k.items) <= 64
    assert len(pipeline.sessions) <= 8
    assert len(k.event_ids._set) <= 50
    last = [i.item_id for i in outcomes[-1].recommendation.items]
    assert len(last) == 20
    assert min(int(i[1:]) for i in last) > 600
    assert all(o.recommendation.items for o in outcomes)


def naive_protocol(log, fresh):
    """The yardstick's rules, written down once more without any of our code."""
    top = max((e.value for e in log if e.event_type == "rating" and e.value is not None), default=None)
    groups: dict = {}
    for n, e in enumerate(log):
        groups.setdefault((e.timestamp, e.user_id), []).append(n)
    previous: dict = {}
    seen: set = set()
    sums = np.zeros(4)
    scored = 0
    for numbers in sorted(groups.values()):
        target = set()
        for n in numbers:
            e = log[n]
            low = e.event_type == "rating" and e.value is not None and e.value < 0.8 * top
            if not low and previous.get(e.user_id) != e.item_id:
                target.add(e.item_id)
            previous[e.user_id] = e.item_id
        if target and numbers[0] >= 0.2 * len(log):
            scored += 1
            ranks = [r for r, i in enumerate(fresh[numbers[0]]) if i in target and i in seen]
            size = min(20, len(target))
            ideal = sum(1 / math.log2(r + 2) for r in range(size))
            sums += [
                bool(ranks),
                len(ranks) / size,
                1 / (ranks[0] + 1) if ranks else 0,
                sum(1 / math.log2(r + 2) for r in ranks) / ideal,
            ]
        seen |= {log[n].item_id for n in numbers}
    return scored, sums / max(scored, 1)


def write(log, path: Path) -> str:
    with gzip.open(path, "wb") as out:
        out.write(b"\n".join(msgspec.json.encode(e) for e in log))
    return str(path)


def test_the_report_agrees_with_the_protocol_written_down_again(tmp_path):
    log = shop_log(500, seed=5)
    recs = tmp_path / "recs.jsonl.gz"
    report = Replay(write(log, tmp_path / "log.jsonl.gz"), PipelineConfig(), recs_out=str(recs)).run()
    lines = [msgspec.json.decode(line) for line in gzip.decompress(recs.read_bytes()).splitlines()]
    assert [line["event_id"] for line in lines] == [e.event_id for e in log]
    scored, (hr, recall, mrr, ndcg) = naive_protocol(log, [line["items"] for line in lines])
    assert report["scored"] == scored > 100
    got = [report["metrics"][m] for m in ("hr@20", "recall@20", "mrr@20", "ndcg@20")]
    assert got == pytest.approx([hr, recall, mrr, ndcg], abs=1e-9)
    assert 0.0 < report["metrics"]["hr@20"] < 1.0


def test_a_log_with_faults_is_replayed_and_the_faults_are_counted(tmp_path):
    log = [msgspec.json.encode(e) for e in shop_log(40)]
    log.insert(7, b"{broken")
    log.insert(20, b'{"timestamp": 1400000000, "user_id": "u", "item_id": "i", "event_type": "view"}')
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join(log))
    published = tmp_path / "published.jsonl"
    report = Replay(str(path), PipelineConfig(), published=str(published)).run()
    assert report["events"] == 40
    assert report["rejected"] == {"not_json": 1, "timestamp_in_seconds": 1}
    assert report["rejected_first_line"] == {"not_json": 8, "timestamp_in_seconds": 21}
    records = [msgspec.json.decode(line) for line in published.read_bytes().splitlines()]
    assert [r["caused_by"]["offset"] for r in records] == [n for n in range(42) if n not in (7, 20)]
    assert all(r["v"] == 1 and r["latency_ms"] is None for r in records)


@pytest.mark.slow
def test_replay_is_byte_identical_under_any_hash_seed_and_batch(tmp_path):
    log = write(shop_log(250), tmp_path / "log.jsonl.gz")
    outputs = []
    for seed, batch in (("0", "1"), ("1", "7"), ("4242", "64")):
        out = tmp_path / seed
        code = "from infra.cli import main; main()"
        args = ["replay", log, "--batch", batch, "--recs-out", f"{out}.r.gz", "--published", f"{out}.p.gz"]
        env = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, *args], check=True, env=env, capture_output=True)
        outputs.append((Path(f"{out}.r.gz").read_bytes(), Path(f"{out}.p.gz").read_bytes()))
    assert outputs[0] == outputs[1] == outputs[2]
