"""What an interaction says and what comes of it: every field means what it says, every step lands where it belongs."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from online_models.base import BOUGHT, CARTED, LIKED, RATED
from online_models.blend import CONTEXT_NAMES, CONTEXTS, Blend
from online_models.hidden import Hidden
from online_models.matrix_factorization import MatrixFactorization
from online_models.start import shipped
from streams.config import PipelineConfig
from streams.contracts.events import Event, Source
from streams.contracts.interactions import Interaction
from streams.pipeline import Pipeline
from tests.worlds import START, shop_log


def play(log: list[Event], config: PipelineConfig | None = None) -> tuple[Pipeline, list[Interaction], list[list[str]]]:
    """The pipeline afterwards, its interactions, and the served lists."""
    pipeline, interactions, served = Pipeline(config), [], []
    for n, event in enumerate(log):
        [outcome] = pipeline.process([(event, Source(0, n))])
        assert outcome.interaction is not None
        assert outcome.recommendation is not None
        interactions.append(outcome.interaction)
        served.append([item.item_id for item in outcome.recommendation.items])
    return pipeline, interactions, served


def view(n: int, user: str, item: str, seconds: int, session: str | None = None) -> Event:
    return Event(
        timestamp=START + 1000 * seconds, user_id=user, item_id=item, event_type="view", event_id=f"e{n}", session_id=session
    )  # fmt: skip


def test_users_sessions_and_clocks_are_told_apart() -> None:
    visits = [
        ("ann", "a", 0), ("bob", "a", 1), ("ann", "b", 2), ("ann", "c", 3), ("bob", "b", 4),
        ("ann", "d", 7200), ("ann", "e", 7201), ("bob", "c", 7202),
    ]  # fmt: skip
    _, found, _ = play([view(n, *visit) for n, visit in enumerate(visits)])
    users, sessions = [x.user for x in found], [x.session for x in found]
    assert [users.index(user) for user in users] == [0, 1, 0, 0, 1, 0, 0, 1]
    assert [sessions.index(session) for session in sessions] == [0, 1, 0, 0, 1, 5, 5, 7]
    assert not set(users) & set(sessions)
    assert [x.in_session for x in found] == [0, 0, 1, 2, 1, 0, 1, 0]
    assert [x.history for x in found][5:] == [["c", "b", "a"], ["d", "c", "b", "a"], ["b", "a"]]
    assert found[5].ages == [7_197_000, 7_198_000, 7_200_000]
    assert [x.clock for x in found] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [(x.partition, x.offset) for x in found] == [(0, n) for n in range(8)]


def test_a_clock_runs_on_from_what_others_have_learned() -> None:
    _, [theirs], _ = play([view(0, "ann", "a", 0)])
    pipeline = Pipeline()
    assert pipeline.learn(msgspec.structs.replace(theirs, partition=3, clock=700))
    [outcome] = pipeline.process([(view(1, "bob", "b", 1), Source(0, 0))])
    assert outcome.interaction is not None
    assert outcome.interaction.clock == 701


def test_factors_and_weights_are_the_sums_of_the_steps_that_were_sent() -> None:
    pipeline, found, _ = play(shop_log(300))
    k = pipeline.knowledge
    factors = MatrixFactorization(dims=k.factors.dims, seed=k.config.seed)
    settings, units = k.config.blend, k.blend.hidden
    more = units.more, units.extra
    hidden = Hidden(units.first, units.at, units.units, settings.units_lr, seed=k.config.seed, more=more)
    blend = Blend(
        CONTEXTS, len(k.features), settings.lr, settings.eps, shipped(k.features, CONTEXT_NAMES), hidden, k.blend.more
    )
    for row in range(len(k.items)):
        factors.know(row, k.items.hash_of(row))
    n = {"mf": 0, "blend": 0}
    for x in found:
        if "mf" in x.deltas:
            delta = x.deltas["mf"]
            rows = np.array([k.items.row(i) for i in delta.items], np.int32)
            factors.apply(rows, np.frombuffer(delta.data, np.int16).reshape(len(rows), -1))
            n["mf"] += 1
        if "blend" in x.deltas:
            blend.apply(x.deltas["blend"].data)
            n["blend"] += 1
    assert min(n.values()) > 50
    np.testing.assert_array_equal(k.factors.vectors[: len(k.items)], factors.vectors[: len(k.items)])
    np.testing.assert_array_equal(k.blend.weights, blend.weights)
    np.testing.assert_array_equal(units.weights, hidden.weights)
    assert hidden.squares.any()
    assert k.blend.updates[0] == n["blend"]


def test_a_compaction_takes_the_users_items_along() -> None:
    log = shop_log(600, items=200, baskets=False)
    pipeline, _, _ = play(log, PipelineConfig(max_items=100))
    ids = pipeline.knowledge.items.ids
    assert len(ids) < len({event.item_id for event in log}), "the table was never compacted"
    for user in {event.user_id for event in log}:
        state = pipeline.sessions.get(user)
        of_user = [event.item_id for event in log if event.user_id == user]
        held = [ids[row] for row in state.own["item"][: state.n].tolist()]
        assert held
        assert set(held) <= set(of_user)
        assert held[-1] == next(item for item in reversed(of_user) if item in held)
        counts = dict(zip(held, state.own["count"][: state.n].tolist(), strict=True))
        assert all(counts[item] <= of_user.count(item) for item in held)


def test_the_served_list_is_judged_beside_the_fresh_one() -> None:
    walk = shop_log(500, baskets=False)
    log = [view(n, event.user_id, event.item_id, 10 * n) for n, event in enumerate(walk)]
    pipeline, _, served = play(log)
    pipeline.finish()
    hits = judged = 0
    last: dict[str, tuple[str, list[str]]] = {}
    for event, made in zip(log, served, strict=True):
        before, shown = last.get(event.user_id, ("", []))
        if before != event.item_id:
            judged += 1
            hits += event.item_id in shown
        last[event.user_id] = (event.item_id, made)
    figures = pipeline.prequential.metrics(len(pipeline.knowledge.items))
    assert pipeline.prequential.scored == judged
    assert figures["served"]["hr@20"] == pytest.approx(hits / judged)
    assert figures["served"] != figures["blend"]


def test_what_becomes_of_an_item_is_counted_with_every_event() -> None:
    """Wanted unless the user was on it already or rated it low, taken again if the user had it at any time."""
    visits = [("ann", "a", 0), ("ann", "b", 1), ("ann", "b", 2), ("ann", "a", 3), ("bob", "a", 4), ("ann", "a", 9_000)]
    log = [view(n, *visit) for n, visit in enumerate(visits)]
    for n, (user, value) in enumerate((("cem", 5.0), ("dea", 2.0))):
        log.append(msgspec.structs.replace(view(6 + n, user, "c", 9_001 + n), event_type="rating", value=value))
    log.append(msgspec.structs.replace(view(8, "eve", "b", 9_010), event_type="impression"))
    pipeline, found, _ = play(log)
    assert [x.before for x in found] == [0, 0, 1, 1, 0, 2, 0, 0, 0]
    k = pipeline.knowledge
    events, wanted, again, ratings, values = k.habits.sums[:, [k.items.row(i) for i in "abc"]].tolist()
    assert events == [4, 2, 2]
    assert wanted == [3, 1, 1]
    assert again == [2, 1, 0]
    assert (ratings, values) == ([0, 0, 2], [0, 0, 7])


def test_what_was_done_with_an_item_stays_on_it() -> None:
    kinds = ("view", "cart", "like", "purchase", "rating")
    log = [msgspec.structs.replace(view(n, "ann", kind, n), event_type=kind) for n, kind in enumerate(kinds)]
    pipeline, _, _ = play([*log, view(9, "ann", "cart", 9)])
    state = pipeline.sessions.get("ann")
    flags = {pipeline.knowledge.items.ids[o["item"]]: int(o["flags"]) for o in state.own[: state.n]}
    assert flags == {"view": 0, "cart": CARTED, "like": LIKED, "purchase": BOUGHT, "rating": RATED}
