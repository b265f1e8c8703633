"""What another configuration would have earned, from lists that explored: close to what it does earn, or no estimate."""

from __future__ import annotations

import random

import msgspec
import pytest

from online_models.errors import InputError
from online_models.experiments.off_policy.results import Estimate, NoEstimate
from streams.contracts.events import Event
from streams.readout.explored import evaluate
from tests.worlds import START

ITEMS = "abcde"
RATES = dict(zip(ITEMS, (0.1, 0.5, 0.2, 0.05, 0.15), strict=True))
"""How often a user's next event is on the item."""
JUDGED = frozenset({"view"})


def world(n: int = 4_000, explore: float = 1.0, wanted: str = "b", seed: int = 1):
    """Events of users who do two things each, the lists after each, and a candidate that puts ``wanted`` first."""
    rng = random.Random(seed)
    events, published, candidate = [], [], []
    for user in range(n):
        drawn = rng.choice(ITEMS) if rng.random() < explore else "a"
        chance = explore / 5 + (1.0 - explore if drawn == "a" else 0.0)
        then = rng.choices(ITEMS, list(RATES.values()))[0]
        for step, item in enumerate(("x", then)):
            event = Event(
                timestamp=START + 1_000 * (2 * user + step),
                user_id=f"u{user}",
                item_id=item,
                event_type="view",
                event_id=f"{user}-{step}",
            )
            events.append(msgspec.json.encode(event))
            rest = [{"item_id": i, "score": 5.0 - ITEMS.index(i)} for i in ITEMS if i != drawn]
            shown = [{"item_id": drawn, "score": 5.0 - ITEMS.index(drawn)}, *rest]
            whole = {
                "request_id": f"{user}-{step}",
                "user_id": f"u{user}",
                "timestamp": event.timestamp,
                "items": shown,
            }
            published.append(msgspec.json.encode(whole | ({"propensity": chance} if step == 0 else {})))
            candidate.append(
                msgspec.json.encode({"request_id": f"{user}-{step}", "items": [{"item_id": wanted, "score": 1.0}]})
            )
    return events, published, candidate


@pytest.mark.parametrize(("explore", "wanted"), [(1.0, "b"), (0.5, "c"), (0.5, "a")])
def test_the_estimate_holds_what_the_candidate_earns(explore: float, wanted: str) -> None:
    found = evaluate(*world(explore=explore, wanted=wanted), JUDGED, 60_000)
    assert found.rows == 4_000
    assert found.covered == 1.0
    assert found.recorded == pytest.approx(RATES[wanted], abs=0.03)
    for estimate in found.estimates:
        assert isinstance(estimate, Estimate)
        assert abs(estimate.value - RATES[wanted]) < 0.1, estimate
        if estimate.estimator in ("snipw", "dr", "sndr"):
            assert estimate.low < RATES[wanted] < estimate.high


def test_what_cannot_come_first_is_not_counted() -> None:
    events, published, candidate = world(2_000)
    other = [c.replace(b'"b"', b'"z"') if n % 4 == 0 else c for n, c in enumerate(candidate)]
    assert evaluate(events, published, other, JUDGED, 60_000).covered == pytest.approx(0.5, abs=0.01)


def test_too_little_exploration_is_no_estimate() -> None:
    found = evaluate(*world(1_000, explore=0.05), JUDGED, 60_000)
    ipw = next(e for e in found.estimates if e.estimator == "ipw")
    assert isinstance(ipw, NoEstimate)
    assert "effective rows" in ipw.reason


def test_a_list_counts_for_the_next_event_only_and_not_for_long() -> None:
    events, published, candidate = world(500)
    assert evaluate(events, published, candidate, JUDGED, 999).logged.rows == 500
    assert evaluate(events, published, candidate, JUDGED, 999).recorded == 0.0
    assert evaluate(events, published, candidate, frozenset({"purchase"}), 60_000).recorded == 0.0


def test_lists_that_did_not_explore_are_refused() -> None:
    events, published, candidate = world(50)
    plain = [p.replace(b'"propensity"', b'"other"') for p in published]
    with pytest.raises(InputError, match=r"explore: 0\.1"):
        evaluate(events, plain, candidate, JUDGED, 60_000)
    with pytest.raises(InputError, match="more alike"):
        evaluate(events, published, [c.replace(b'"b"', b'"z"') for c in candidate], JUDGED, 60_000)
