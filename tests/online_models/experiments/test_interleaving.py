"""Interleaving favours nobody by itself, and finds the ranker whose items are clicked."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_models.errors import InputError
from online_models.experiments.interleaving import Interleaved, Preference, Team, list_propensity, team_draft

RANKING = st.lists(st.integers(0, 9), max_size=8)
KEY = st.integers(0, 2**64 - 1)
SIZE = st.integers(1, 10)
SWAPPED = {Team.CONTROL: Team.TREATMENT, Team.TREATMENT: Team.CONTROL, Team.NEITHER: Team.NEITHER}


def plays(control: list, treatment: list, k: int, n: int = 4_000) -> Counter:
    return Counter((shown.items, shown.teams) for shown in (team_draft(control, treatment, k, key) for key in range(n)))


@given(RANKING, RANKING, SIZE, KEY)
def test_every_prefix_is_balanced_and_each_item_comes_once(control: list, treatment: list, k: int, key: int) -> None:
    shown = team_draft(control, treatment, k, key)
    assert len(shown.items) == len(shown.teams) == min(k, len({*control, *treatment}))
    assert len(set(shown.items)) == len(shown.items)
    score = 0
    for team in shown.teams:
        score += {Team.CONTROL: -1, Team.TREATMENT: 1, Team.NEITHER: 0}[team]
        assert abs(score) <= 1
    assert all(later is Team.NEITHER for team, later in pairwise(shown.teams) if team is Team.NEITHER)


@given(RANKING, RANKING, SIZE, KEY)
def test_a_team_picks_its_best_that_is_left(control: list, treatment: list, k: int, key: int) -> None:
    shown = team_draft(control, treatment, k, key)
    for at, (item, team) in enumerate(zip(shown.items, shown.teams, strict=True)):
        if team is not Team.NEITHER:
            left = [each for each in (control, treatment)[team] if each not in shown.items[:at]]
            assert item == left[0]


@given(RANKING, RANKING, SIZE, KEY)
def test_the_same_key_shows_the_same_list(control: list, treatment: list, k: int, key: int) -> None:
    assert team_draft(control, treatment, k, key) == team_draft(list(control), tuple(treatment), k, key)


def by_all_coins(control: list, treatment: list, k: int) -> dict[tuple[tuple, tuple], float]:
    """Every list with its teams and its probability, by playing out all coins: a second, slow reading of the rules."""
    found: dict[tuple[tuple, tuple], float] = {}

    def play(items: tuple, teams: tuple, chance: float) -> None:
        left = [[each for each in ranking if each not in items] for ranking in (control, treatment)]
        turns = [(0, 0.5), (1, 0.5)] if len(items) % 2 == 0 else [(1 - teams[-1], 1.0)]
        for team, part in turns:
            if len(items) < k and left[team]:
                play((*items, left[team][0]), (*teams, team), chance * part)
            else:
                rest = tuple(dict.fromkeys(left[0] or left[1]))[: k - len(items)]
                whole = (items + rest, teams + (-1,) * len(rest))
                found[whole] = found.get(whole, 0.0) + chance * part

    play((), (), 1.0)
    return found


@given(RANKING, RANKING, SIZE)
def test_the_propensity_is_the_sum_over_all_coins(control: list, treatment: list, k: int) -> None:
    lists: dict[tuple, float] = {}
    for (items, _), chance in by_all_coins(control, treatment, k).items():
        lists[items] = lists.get(items, 0.0) + chance
    assert sum(lists.values()) == pytest.approx(1.0)
    for items, chance in lists.items():
        assert list_propensity(control, treatment, k, items) == pytest.approx(chance)
    assert list_propensity(control, treatment, k, [77, 78]) == 0.0


@given(RANKING, RANKING, SIZE)
def test_swapping_the_rankers_swaps_the_teams_and_nothing_else(control: list, treatment: list, k: int) -> None:
    one, other = by_all_coins(control, treatment, k), by_all_coins(treatment, control, k)
    mirrored = {(items, tuple(t if t < 0 else 1 - t for t in teams)): p for (items, teams), p in one.items()}
    assert mirrored == pytest.approx(other)


@pytest.mark.parametrize(
    ("control", "treatment", "k"),
    [([1, 2, 3, 4], [3, 1, 5, 6], 4), ([1, 2], [2, 1, 3, 4], 5), ([1, 1, 2], [1, 2, 2], 3), ([], [1, 2], 2)],
)
def test_lists_come_as_often_as_their_probability_says(control: list, treatment: list, k: int) -> None:
    n = 4_000
    found, expected = plays(control, treatment, k, n), by_all_coins(control, treatment, k)
    assert set(found) == set(expected)
    for shown, chance in expected.items():
        assert abs(found[shown] / n - chance) < 4.0 * np.sqrt(chance * (1 - chance) / n) + 1e-9
    for items, teams in found:
        assert team_draft(control, treatment, k, 0).propensity > 0.0
        assert list_propensity(control, treatment, k, items) >= expected[items, teams] - 1e-12


@pytest.mark.parametrize("place", range(5))
def test_a_visitor_who_clicks_a_place_prefers_nobody(place: int) -> None:
    """Whatever the rankings, a click that depends on the place alone is for each ranker as often."""
    n = 6_000
    preference = Preference()
    for key in range(n):
        shown = team_draft([1, 2, 3, 4, 5], [9, 3, 8, 1, 7], 5, key)
        preference.update(shown, [shown.items[place]])
    assert preference.compared == n
    assert preference.mean is not None
    assert abs(preference.mean) < 4.0 / np.sqrt(n)
    assert preference.preferred is None


def test_the_better_ranker_is_found_and_its_opposite() -> None:
    rng = np.random.default_rng(1)
    worth = np.array([0.30, 0.25, 0.20, 0.05, 0.04, 0.03])
    good, bad = [0, 1, 2, 3, 4, 5], [3, 4, 0, 5, 1, 2]
    for control, treatment, expected in ((bad, good, Team.TREATMENT), (good, bad, Team.CONTROL)):
        preference, key = Preference(), 0
        while preference.preferred is None and key < 20_000:
            shown = team_draft(control, treatment, 4, key)
            preference.update(shown, [item for item in shown.items if rng.random() < worth[item]])
            key += 1
        assert preference.preferred is expected
        assert preference.lists == key < 8_000
        assert preference.compared == preference.wins + preference.losses + preference.draws < preference.lists


def test_credit() -> None:
    C, T, N = Team.CONTROL, Team.TREATMENT, Team.NEITHER
    shown = Interleaved(("a", "b", "c", "d"), (C, T, T, N), 1.0)
    assert shown.winner(["a"]) is C
    assert shown.winner(["b", "b", "a"]) is N  # a click that comes twice is one
    assert shown.winner(["b", "c", "a"]) is T
    assert shown.winner(["d", "z"]) is None
    assert shown.winner([]) is None
    assert Preference().mean is None
    with pytest.raises(InputError, match="k >= 1"):
        team_draft(["a"], ["b"], 0, 1)
