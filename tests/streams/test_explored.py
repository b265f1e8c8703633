"""What another configuration would have earned, from lists that explored: close to what it does earn, or no estimate."""

from __future__ import annotations

import random

import msgspec
import pytest

from online_models.errors import InputError
from online_models.experiments.off_policy.results import Estimate, NoEstimate
from streams.contracts.events import Event
from streams.readout import off_policy
from streams.readout.explored import rows_of
from streams.readout.explored_rows import Row, told
from streams.readout.off_policy import Evaluated, evaluate
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
                "caused_by": {"event_id": event.event_id, "topic": "events", "partition": 0, "offset": len(events) - 1},
            }
            published.append(msgspec.json.encode(whole | ({"propensity": chance} if step == 0 else {})))
            candidate.append(msgspec.json.encode(whole | {"items": [{"item_id": wanted, "score": 1.0}]}))
    return events, published, candidate


def judged(world, kinds: frozenset[str] = JUDGED, ms: int = 60_000, **more) -> Evaluated:
    return evaluate(rows_of(*world, kinds, ms)[0], **more)


@pytest.mark.parametrize(("explore", "wanted"), [(1.0, "b"), (0.5, "c"), (0.5, "a")])
def test_the_estimate_holds_what_the_candidate_earns(explore: float, wanted: str) -> None:
    found = judged(world(explore=explore, wanted=wanted))
    assert found.rows == 4_000
    assert found.covered == 1.0
    assert found.recorded == pytest.approx(RATES[wanted], abs=0.03)
    for each in found.estimates:
        estimate = each.result
        assert isinstance(estimate, Estimate)
        assert abs(estimate.value - RATES[wanted]) < 0.1, estimate
        if estimate.estimator in ("snipw", "dr", "sndr"):
            assert estimate.low < RATES[wanted] < estimate.high
            assert (each.worst, each.best) == pytest.approx((estimate.low, estimate.high)), "all lists are covered"


def test_what_cannot_come_first_is_not_counted() -> None:
    events, published, candidate = world(2_000)
    other = [c.replace(b'"b"', b'"z"') if n % 4 == 0 else c for n, c in enumerate(candidate)]
    found = judged((events, published, other))
    assert found.covered == pytest.approx(0.5, abs=0.01)
    [dr] = [e for e in found.estimates if e.result.estimator == "dr"]
    assert dr.worst == pytest.approx(0.5 * dr.result.low, rel=0.01)
    assert dr.best == pytest.approx(0.5 * dr.result.high + 0.5, rel=0.01)
    assert dr.worst < 0.5 * RATES["b"] + 0.5 * 0.0 < 0.5 * RATES["b"] + 0.5 < dr.best


def test_too_little_exploration_is_no_estimate() -> None:
    found = judged(world(1_000, explore=0.05))
    ipw = next(e.result for e in found.estimates if e.result.estimator == "ipw")
    assert isinstance(ipw, NoEstimate)
    assert "effective rows" in ipw.reason


def test_a_list_counts_for_the_next_event_only_and_not_for_long() -> None:
    events, published, candidate = world(500)
    late = judged((events, published, candidate), ms=999)
    assert (late.logged.rows, late.recorded) == (500, 0.0)
    bought = [e.replace(b'"view"', b'"purchase"') if n == 1 else e for n, e in enumerate(events)]
    assert judged((bought, published, candidate), frozenset({"purchase"})).logged.rows == 500
    rows, joined = rows_of(bought, published, candidate, frozenset({"purchase", "cart"}), 60_000)
    assert (sum(row.then is not None for row in rows), joined.judged) == (1, {"purchase": 1})


def test_types_of_which_no_event_is_are_refused() -> None:
    with pytest.raises(InputError, match=r"events of type cart or click, .*600 of others: view"):
        rows_of(*world(300), frozenset({"click", "cart"}), 60_000)


def test_lists_that_did_not_explore_are_refused() -> None:
    events, published, candidate = world(50)
    plain = [p.replace(b'"propensity"', b'"other"') for p in published]
    with pytest.raises(InputError, match=r"explore: 0\.1"):
        judged((events, plain, candidate))
    with pytest.raises(InputError, match="more alike"):
        judged((events, published, [c.replace(b'"b"', b'"z"') for c in candidate]))


def test_a_candidate_that_draws_its_lists_is_refused() -> None:
    events, published, candidate = world(50)
    drawn = [c.replace(b'"items"', b'"propensity":0.28,"items"') for c in candidate]
    with pytest.raises(InputError, match="replay it without `explore`"):
        judged((events, published, drawn))


def test_lists_of_several_partitions_are_joined_by_their_event_in_any_order() -> None:
    events, published, candidate = world(300)
    whole, joined = rows_of(events, published, candidate, JUDGED, 60_000)
    assert (joined.rows, joined.no_event, joined.over_http, joined.not_explored) == (300, 0, 0, 300)
    parts = [[e for n, e in enumerate(events) if n // 2 % 2 == p] for p in (1, 0)]
    shuffled = random.Random(3).sample(published, len(published))
    asked = msgspec.json.encode(msgspec.json.decode(published[0]) | {"caused_by": None, "request_id": "asked"})
    lists = [asked, b"{", *shuffled, shuffled[0], *shuffled[5:9]]  # some were published again
    some = [c for n, c in enumerate(candidate) if n >= 40]
    found, counted = rows_of([*parts[0], *parts[1][:-2]], lists, some, JUDGED, 60_000)
    kept = [r for n, r in enumerate(whole) if 20 <= n < 298 or n == 299]
    assert sorted((r.timestamp, r.order, r.place, r.then) for r in found) == [
        (r.timestamp, r.order, r.place, r.then) for r in kept
    ]
    assert (counted.rows, counted.no_event, counted.no_candidate) == (279, 1, 20)
    assert (counted.over_http, counted.unreadable, counted.candidate_alone) == (1, 1, 280)
    words = told(counted)
    for said in (
        "1 lists explored, but their event",
        "20 lists explored, but the candidate",
        "1 records of lists asked for over HTTP",
    ):
        assert said in words


def test_an_impression_does_not_decide_a_list_and_an_event_that_names_another_is_not_for_it() -> None:
    events, published, candidate = world(100)
    plain, _ = rows_of(events, published, candidate, JUDGED, 60_000)
    seen = []
    for raw in events:
        event = msgspec.json.decode(raw, type=Event)
        if event.event_id.endswith("-1"):
            looked = msgspec.structs.replace(
                event, timestamp=event.timestamp - 500, event_type="impression", event_id=f"i{event.event_id}"
            )
            seen.append(msgspec.json.encode(looked))
            named = "0-0" if event.event_id == "0-1" else "asked" if event.event_id == "1-1" else None
            raw = msgspec.json.encode(msgspec.structs.replace(event, request_id=named))
        seen.append(raw)
    found, joined = rows_of(seen, published, candidate, JUDGED, 60_000)
    assert joined.named_another == 1
    assert [r.then for r in found] == [plain[0].then, None, *(r.then for r in plain[2:])]


def test_lists_drafted_from_two_variants_did_not_explore() -> None:
    events, published, candidate = world(50)
    drafted = [p.replace(b'"score"', b'"variant":"new","score"') for p in published]
    with pytest.raises(InputError, match=r"explore: 0\.1"):
        judged((events, drafted, candidate))


@pytest.mark.parametrize(
    ("wanted", "explore", "margin", "passed", "why"),
    [
        ("b", 1.0, 0.0, True, "all above +0"),
        ("d", 1.0, 0.0, False, "all below"),
        ("e", 1.0, 0.01, False, "not sure"),
        ("e", 1.0, 0.2, True, "all above -0.2"),
        ("a", 1.0, 0.0, False, "the same item first"),
        ("b", 0.02, 0.0, False, "no estimate"),
    ],
)
def test_the_gate_compares_with_the_logged_lists_as_they_would_be_without_exploring(
    wanted, explore, margin, passed, why
):
    """What was logged puts `a` first, which earns 0.1; with its exploration it earns more."""
    gate = judged(world(1_500, explore=explore, wanted=wanted), margin=margin).gate
    assert (gate.passed, why in gate.reason) == (passed, True), gate
    if isinstance(gate.difference, Estimate):
        assert gate.difference.low < RATES[wanted] - RATES["a"] < gate.difference.high
        assert gate.difference == gate.at_best


def test_what_the_gate_does_not_know_counts_against_the_candidate() -> None:
    events, published, candidate = world(3_000)
    some = [c.replace(b'"b"', b'"z"') if n // 2 % 4 == 0 else c for n, c in enumerate(candidate)]
    gate = judged((events, published, some)).gate
    assert gate.passed
    assert gate.difference.value == pytest.approx(0.75 * 0.5 - 0.1, abs=0.05)
    assert gate.at_best.value - gate.difference.value == pytest.approx(0.25, abs=0.01)
    most = [c.replace(b'"b"', b'"z"') if n // 2 % 4 else c for n, c in enumerate(candidate)]
    refused = judged((events, published, most)).gate
    assert not refused.passed
    assert "not sure" in refused.reason


def test_the_gate_does_not_call_worse_what_lists_that_are_not_covered_could_make_up_for() -> None:
    """Of a candidate that loses five lists in a hundred of those that are covered: with a quarter not covered it may gain by them."""
    events, published, candidate = world(4_000, wanted="d")
    some, few = (
        [c.replace(b'"d"', b'"z"') if n // 2 % every == 0 else c for n, c in enumerate(candidate)] for every in (4, 200)
    )
    found = {}
    for name, other in (("some", some), ("few", few)):
        gate = found[name] = judged((events, published, other)).gate
        assert isinstance(gate.difference, Estimate)
        assert isinstance(gate.at_best, Estimate)
        assert gate.difference.high < 0.0
        assert gate.at_best.high > gate.difference.high
        assert f"{gate.difference.low:+.4f} to {gate.at_best.high:+.4f}" in gate.reason
    assert "not sure" in found["some"].reason
    assert "all below +0" in found["few"].reason


def difference(low: float, high: float, rests_on: float) -> Estimate:
    return Estimate("difference", 0.2, low, high, 0.05, "clt", 500.0, rests_on, 1.0, 1_000, 500)


@pytest.mark.parametrize(("rests_on", "passed"), [(29.9, False), (30.0, True)])
@pytest.mark.parametrize("at_best", [5.0, 500.0])
def test_the_gate_is_not_passed_by_a_handful_of_clicks(rests_on: float, passed: bool, at_best: float) -> None:
    """Of what it goes by, which is the worst that is possible."""
    found, reason = off_policy._verdict(difference(0.1, 0.3, rests_on), difference(0.2, 0.4, at_best), 0.0)
    assert found is passed
    assert ("fewer than 30" in reason) is not passed


def other_lists(*items: str):
    """The world again, with whole lists of the candidate."""
    events, published, candidate = world(6_000, seed=2)
    shown = [{"item_id": i, "score": 1.0} for i in items]
    whole = [msgspec.json.encode(msgspec.json.decode(c) | {"items": shown}) for c in candidate]
    return events, published, whole


def test_the_first_places_together() -> None:
    """Of `b` and then `a` all estimators know; of `b` and then `d` none, since `d` never moves up but to the first place."""
    found = judged(other_lists("b", "a", "c"), places=2)
    assert [e.result.estimator for e in found.slates] == [
        "standard_ips", "reward_interaction_ips", "cascade_dr", "independent_ips",
    ]  # fmt: skip
    assert found.recorded_slates == pytest.approx(0.6, abs=0.03)
    widths = {}
    for each in found.slates:
        assert isinstance(each.result, Estimate)
        assert each.covered == 1.0
        assert each.result.low < 0.6 < each.result.high, each
        widths[each.result.estimator] = each.result.high - each.result.low
    assert widths["independent_ips"] < widths["reward_interaction_ips"]
    none = judged(other_lists("b", "d", "c"), places=2)
    assert all(isinstance(e.result, NoEstimate) and (e.covered, e.worst) == (0.0, None) for e in none.slates)
    apart = judged(other_lists("c", "b", "a"), places=2)
    assert [e.covered for e in apart.slates] == [0.0, 0.0, 0.0, 1.0]
    assert apart.slates[-1].result.low < 0.7 < apart.slates[-1].result.high


@pytest.mark.parametrize(
    ("propensity", "other", "could"),
    [
        (0.25, "ab", True),  # stays where it is, unless the draw falls below it
        (0.25, "aa", True),  # moves down by one, if it does
        (0.25, "ac", False),  # nothing moves up but to the first place
        (1.0, "ab", True),
        (1.0, "aa", False),  # nothing was ever drawn
    ],
)
def test_what_the_log_could_have_shown_below_the_first_place(propensity: float, other: str, could: bool) -> None:
    row = Row(0, 0, tuple("abcd"), 0, propensity, tuple(other))
    assert off_policy._could(row, 1) is could
    assert 0.0 <= off_policy._moved(row, 1) < 1.0
    assert not off_policy._could(Row(0, 0, ("a",), 0, propensity, tuple(other)), 1), "below the end of the list"


def test_the_rate_of_drawing_follows_from_the_propensity() -> None:
    for rate, place in ((0.3, 0), (0.3, 2), (1.0, 0), (1.0, 3)):
        propensity = rate / 4 + (1.0 - rate if place == 0 else 0.0)
        row = Row(0, 0, tuple("abcd"), place, propensity, ("a",))
        assert row.rate == pytest.approx(rate)
    assert "".join(Row(0, 0, tuple("abcd"), 2, 0.25, ("a",)).drawn(2)) == "cabd"
