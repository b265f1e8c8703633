"""The intent model: a planted world, features, samples on the wire, state."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

from online_models.errors import InputError, SnapshotError
from online_models.intent import (
    _WORDS,
    MAX_WORDS,
    SIZE,
    HashedFacts,
    IntentModel,
    SessionFacts,
    decode_sample,
    encode_sample,
)

FACTS = SessionFacts(
    n_events=5, types={"view": 4, "like": 1}, n_distinct=3, session_s=80.0, idle_s=4.0, timestamp=1_600_000_000_000,
    last_type="like", value=19.9, n_sessions=4, n_conversions=1, context={"device": "phone", "country": "DK"},
)  # fmt: skip


def world(n: int, seed: int) -> Iterator[tuple[SessionFacts, float, bool]]:
    """Sessions, the true probability that each converts, and whether it did. Country and page play no part."""
    rng = random.Random(seed)
    for _ in range(n):
        events = 1 + int(rng.expovariate(1 / 6))
        likes = sum(rng.random() < 0.2 for _ in range(events))
        sessions = rng.randrange(12)
        conversions = sum(rng.random() < 0.25 for _ in range(sessions))
        device = rng.choice(["phone", "desktop", "tablet"])
        last = "like" if likes and rng.random() < 0.4 else "view"
        value = math.exp(rng.gauss(3, 1)) if rng.random() < 0.6 else None
        logit = -3.2 + 0.7 * math.log(events) + (last == "like") + (2.5 * conversions / sessions if sessions else 0.0)
        logit += {"phone": -0.8, "desktop": 0.6, "tablet": 0.0}[device] + (0.5 if value and value > 20 else 0.0)
        p = 1 / (1 + math.exp(-logit))
        facts = SessionFacts(
            events, {"view": events - likes, "like": likes}, max(1, int(events * rng.uniform(0.4, 1))), events * 20.0,
            rng.expovariate(1 / 30), rng.randrange(10**12), last, value, sessions, conversions,
            {"device": device, "country": f"c{rng.randrange(30)}", "page": f"/p{rng.randrange(500)}"},
        )  # fmt: skip
        yield facts, p, rng.random() < p


def auc(scores: Any, y: Any) -> float:
    order = np.argsort(scores, kind="stable")
    rank = np.empty(len(scores))
    rank[order] = np.arange(1, len(scores) + 1)
    return float((rank[y].sum() - y.sum() * (y.sum() + 1) / 2) / (y.sum() * (~y).sum()))


def log_loss(p: Any, y: Any) -> float:
    return float(-np.mean(np.where(y, np.log(p), np.log1p(-p))))


def train(model: IntentModel, n: int, seed: int = 0) -> IntentModel:
    for facts, _, converted in world(n, seed):
        model.learn_one(model.features(facts), converted)
    return model


def frozen(model: IntentModel) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in model.snapshot().items()}


def test_planted_intent_is_found_and_calibrated() -> None:
    model = IntentModel()
    scored, true, labels = [], [], []
    for facts, p, converted in world(12_000, seed=1):
        x = model.features(facts)
        scored.append(model.score_one(x))
        true.append(p)
        labels.append(converted)
        model.learn_one(x, converted)
    s, p, y = (np.array(a)[6_000:] for a in (scored, true, labels))
    assert auc(p, y) > 0.75  # what knowing the truth is worth
    assert auc(s, y) > auc(p, y) - 0.025
    assert log_loss(s, y) < log_loss(p, y) + 0.02
    for part in np.array_split(np.argsort(s), 10):
        assert abs(s[part].mean() - p[part].mean()) < 0.05


@pytest.mark.parametrize("x", [HashedFacts().transform_one(FACTS), {}], ids=["facts", "intercept alone"])
def test_the_base_rate_is_followed_when_it_changes(x: dict[int, float]) -> None:
    model = IntentModel(prior=0.05)
    assert model.score_one(x) == pytest.approx(0.05)
    rng = random.Random(0)
    for rate in (0.3, 0.02, 0.6):
        recent = []
        for _ in range(3_000):
            model.learn_one(x, rng.random() < rate)
            recent.append(model.score_one(x))
        assert np.mean(recent[-1_000:]) == pytest.approx(rate, abs=0.05)


def test_scoring_changes_nothing() -> None:
    model = train(IntentModel(), 300)
    before, known = frozen(model), len(model.pipeline["LogisticRegression"]._weights)
    for facts, _, _ in world(50, seed=7):
        model.score_one(model.features(facts._replace(context={"never": "seen", "page": "new"})))
    assert frozen(model) == before
    assert len(model.pipeline["LogisticRegression"]._weights) == known


def test_river_is_in_the_path() -> None:
    model = train(IntentModel(), 200)
    assert model.pipeline.predict_proba_one(FACTS)[True] == model.score_one(model.features(FACTS))
    whole = IntentModel()
    for facts, _, converted in world(200, seed=0):
        whole.pipeline.learn_one(facts, converted)
    assert frozen(whole) == frozen(model)


@pytest.mark.parametrize("learned", [0, 1, 400])
def test_a_restored_model_scores_and_learns_on_identically(learned: int) -> None:
    model = train(IntentModel(seed=3), learned)
    state = {name: a.copy() for name, a in model.snapshot().items()}
    other = train(IntentModel(seed=3), 30, seed=9)
    other.restore(state)
    assert frozen(other) == frozen(model)
    assert other.n_learned == learned
    for facts, _, converted in world(300, seed=5):
        x = model.features(facts)
        assert other.score_one(x) == model.score_one(x)
        for m in (model, other):
            m.learn_one(x, converted)
    assert frozen(other) == frozen(model)


def test_a_snapshot_of_another_seed_is_refused() -> None:
    with pytest.raises(SnapshotError, match="set the seed alike"):
        IntentModel(seed=1).restore(IntentModel(seed=2).snapshot())


def test_state_is_bounded_whatever_the_words() -> None:
    model, rng = IntentModel(), random.Random(0)
    for i in range(3_000):
        words = {f"k{rng.random()}": f"v{rng.random()}" for _ in range(8)}
        model.learn_one(model.features(FACTS._replace(context=words, last_type=f"type {i}")), i % 9 == 0)
    known = model.pipeline["LogisticRegression"]._weights
    assert 2_500 < len(known) <= SIZE
    assert model.nbytes <= 240 * SIZE


def test_every_fact_has_buckets_of_its_own() -> None:
    hashed = HashedFacts()
    base = set(hashed.transform_one(FACTS))
    changes: list[dict[str, Any]] = [
        {"n_events": 90}, {"types": {"view": 4, "cart": 1}}, {"types": {"view": 4, "wink": 1}}, {"types": {"view": 4}},
        {"n_distinct": 5}, {"session_s": 8_000.0}, {"idle_s": 1e6}, {"idle_s": None}, {"timestamp": 1_600_003_600_000},
        {"timestamp": 1_600_086_400_000}, {"last_type": "view"}, {"last_type": "wink"}, {"last_type": "nod"},
        {"last_type": ""}, {"value": None}, {"value": 400.0}, {"value": -1.0}, {"n_sessions": 9}, {"n_conversions": 4},
        {"context": {"device": "tv", "country": "DK"}}, {"context": {"device": "DK", "country": "phone"}},
    ]  # fmt: skip
    vectors = [frozenset(hashed.transform_one(FACTS._replace(**change))) for change in changes]
    assert len({*vectors, frozenset(base)}) == len(changes) + 1


def test_no_two_facts_share_an_index() -> None:
    hashed, owner = HashedFacts(), dict[int, str]()
    most = 10**9

    def claim(index: int, fact: str) -> None:
        assert 0 <= index < _WORDS
        assert owner.setdefault(index, fact) == fact

    alone: dict[str, list[Any]] = {
        "session_s": [-5.0, 1e300], "idle_s": [None, -1.0, 1e300], "value": [None, 0.0, -1e300, 1e-300, 1e300],
        "timestamp": [h * 3_600_000 for h in range(24 * 7)],
    }  # fmt: skip
    for name, values in alone.items():
        for v in values:
            for place, index in enumerate(hashed.transform_one(SessionFacts()._replace(**{name: v}))):
                claim(index, str(place))
    last_types = ["", "impression", "return", "nod"]
    for n, distinct, sessions, conversions, last in product(
        [0, 1, most], [0, 1, most], [0, 1, most], [0, most], last_types
    ):
        facts = SessionFacts(n, n_distinct=distinct, n_sessions=sessions, n_conversions=conversions, last_type=last)
        vector = [i for i in hashed.transform_one(facts) if i < _WORDS]
        assert len(vector) == 13 + (n > 0)
        for place, index in enumerate(vector):
            claim(index, str(place))
    for kind, count in product(["impression", "view", "purchase", "return", "nod"], [1, 2, most]):
        vector = list(hashed.transform_one(SessionFacts(types={kind: count})))
        assert len(vector) == 14
        claim(vector[-1], kind)


def test_words_spread_evenly_and_land_apart_from_facts() -> None:
    hashed, facts = HashedFacts(), SessionFacts()
    known = set(hashed.transform_one(facts))
    indices = [
        next(iter(set(hashed.transform_one(facts._replace(context={"page": f"/p{i}"}))) - known)) for i in range(3_000)
    ]
    room = SIZE - min(indices)
    expected = room * (1 - math.exp(-3_000 / room))  # distinct values of a uniform draw
    assert len(set(indices)) == pytest.approx(expected, rel=0.05)
    assert min(indices) > max(known)


def test_a_context_counts_up_to_its_cap() -> None:
    hashed = HashedFacts()
    many = {f"k{i}": "v" for i in range(10 * MAX_WORDS)}
    few = dict(list(many.items())[:MAX_WORDS])
    as_many, as_few = (hashed.transform_one(SessionFacts(context=c)) for c in (many, few))
    assert as_many == as_few
    odd = {"a": None, "b": [1], "c": {"d": 1}}
    assert hashed.transform_one(SessionFacts(context=odd)) == hashed.transform_one(SessionFacts())
    assert len(hashed.transform_one(SessionFacts(context={"a": True, "b": 3, "c": "\ud800", "d": "x" * 10_000}))) == 17


@pytest.mark.parametrize("change", [{"value": math.nan}, {"session_s": math.inf}, {"idle_s": math.nan}])
def test_what_is_no_number_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="finite"):
        IntentModel().features(FACTS._replace(**change))


def test_a_sample_survives_the_wire() -> None:
    x = IntentModel().features(FACTS)
    data = encode_sample(x)
    assert len(data) == 1 + 2 * len(x) < 64
    assert list(decode_sample(data).items()) == list(x.items())
    assert decode_sample(encode_sample({})) == {}


@pytest.mark.parametrize("data", [b"", b"\x02\x01", b"\x00\x01\x00", b"\xff\x01\x00", b"\x02\xff\xff"])
def test_what_is_no_sample_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="one release"):
        decode_sample(data)


@pytest.mark.parametrize("bad", [{"prior": 0.0}, {"prior": 1.0}, {"lr": 0.0}, {"lr": math.nan}])
def test_settings_that_cannot_work_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        IntentModel(**bad)


def test_a_probability_stays_one_when_all_agree() -> None:
    model = IntentModel(lr=1.0)
    x = model.features(FACTS)
    for converted in (True, False):
        for _ in range(3_000):
            model.learn_one(x, converted)
        assert 0.0 <= model.score_one(x) <= 1.0
        assert model.score_one(x) == pytest.approx(float(converted), abs=0.01)


SCRIPT = """
import hashlib
from online_models.intent import IntentModel, SessionFacts
model = IntentModel(seed=4)
for i in range(200):
    facts = SessionFacts(i % 9, {"view": i % 5, "wink": 1}, 2, 3.0, 4.0, i * 7_000_000, "wink", 2.0, 3, 1,
                         {"device": f"d{i % 4}", "page": f"/{i}"})
    model.learn_one(model.features(facts), i % 3 == 0)
print(hashlib.sha256(b"".join(a.tobytes() for a in model.snapshot().values())).hexdigest())
"""


def test_the_hash_seed_of_python_plays_no_part() -> None:
    digests = set()
    for seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
        digests.add(run.stdout)
    assert len(digests) == 1


def test_the_seed_decides_where_words_land() -> None:
    one, two = (set(HashedFacts(seed).transform_one(FACTS)) for seed in (1, 2))
    assert len(one ^ two) == 4
