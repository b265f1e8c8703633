"""Team-draft interleaving: two rankings in one list, and which of them the clicks are for.

Every visitor sees both rankers, so differences between visitors cancel: a preference shows with far fewer visitors than in an
A/B test (Radlinski, Kurup and Joachims, "How does clickthrough data reflect retrieval quality?", CIKM 2008;
Chapelle, Joachims, Radlinski and Yue, "Large-scale validation and analysis of interleaved search evaluation", TOIS 2012).
It says who is preferred, not by how much business grows: that is what an A/B test is for.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import filterfalse
from typing import Generic, TypeVar

from ..errors import InputError
from .average_sequence import AverageSequence
from .draws import bits

T = TypeVar("T", bound=Hashable)


class Team(IntEnum):
    """Whose pick an item of the list is. NEITHER: one ranking had run out, so clicks on the rest would say nothing."""

    CONTROL = 0
    TREATMENT = 1
    NEITHER = -1


@dataclass(frozen=True)
class Interleaved(Generic[T]):
    """A list as it is shown, top first. ``propensity``: the probability that these items came in this order."""

    items: tuple[T, ...]
    teams: tuple[Team, ...]
    propensity: float

    def winner(self, clicked: Iterable[T]) -> Team | None:
        """Whose items were clicked more; NEITHER if as many of both; None if no item of a team was."""
        hits = set(clicked)
        credit = [0, 0]
        for item, team in zip(self.items, self.teams, strict=True):
            if team is not Team.NEITHER and item in hits:
                credit[team] += 1
        if credit == [0, 0]:
            return None
        if credit[0] == credit[1]:
            return Team.NEITHER
        return Team.TREATMENT if credit[1] > credit[0] else Team.CONTROL


def team_draft(control: Sequence[T], treatment: Sequence[T], k: int, key: int) -> Interleaved[T]:
    """The first ``k`` of a draft: in every round each ranking picks its best item that is not yet in the list, and a coin
    says who picks first. An item that comes twice in a ranking counts where it comes first.

    ``key``: 64 bits, from which the coins are drawn (`draws`); use one that no other list has. Once a ranking cannot
    pick any more when it should, the other's items follow, for neither team.

    >>> shown = team_draft(["a", "b", "c"], ["b", "d", "a"], k=3, key=1)
    >>> shown.items, [team.name for team in shown.teams], shown.propensity
    (('b', 'a', 'd'), ['TREATMENT', 'CONTROL', 'TREATMENT'], 0.25)
    >>> shown.winner({"d"}).name
    'TREATMENT'
    """
    if k < 1:
        raise InputError("k >= 1", str(k), "ask for at least one item")
    rankings = (control, treatment)
    items: list[T] = []
    teams: list[Team] = []
    taken: set[T] = set()
    while len(items) < k:
        first = bits(key, len(items) // 2) >> 63 if len(items) % 2 == 0 else 1 - teams[-1]
        pick = _next(rankings[first], taken)
        if pick is None:
            break
        items.append(pick[0])
        teams.append(Team(first))
        taken.add(pick[0])
    for ranking in rankings:  # at most one of them has items left
        while len(items) < k and (pick := _next(ranking, taken)) is not None:
            items.append(pick[0])
            teams.append(Team.NEITHER)
            taken.add(pick[0])
    return Interleaved(tuple(items), tuple(teams), list_propensity(control, treatment, k, items))


def list_propensity(control: Sequence[T], treatment: Sequence[T], k: int, items: Sequence[T]) -> float:
    """The probability with which `team_draft` shows exactly ``items``: exact, over all coins.

    >>> list_propensity(["a", "b"], ["b", "a"], 2, ["a", "b"]), list_propensity(["a", "b"], ["a", "b"], 2, ["a", "b"])
    (0.5, 1.0)
    """
    rankings = (control, treatment)
    taken: set[T] = set()
    # chances of: round open and both to pick; only control still to pick; only treatment; one has run out
    even, owed, over = 1.0, [0.0, 0.0], 0.0
    for item in items[:k]:
        picks = [_next(ranking, taken) for ranking in rankings]
        now, later = [0.5 * even + owed[0], 0.5 * even + owed[1]], [0.5 * even, 0.5 * even]
        for team in (0, 1):
            if picks[team] is None:
                over += now[team]
                now[team] = later[team] = 0.0
            elif picks[team] != (item,):
                now[team] = later[team] = 0.0
        rest = next((pick for pick in picks if pick is not None), None)
        over = over if rest == (item,) else 0.0
        done = [now[team] - later[team] for team in (0, 1)]  # the second picks of a round
        even, owed = done[0] + done[1], [later[1], later[0]]
        taken.add(item)
    exhausted = all(_next(ranking, taken) is None for ranking in rankings)
    return even + sum(owed) + over if len(items) >= k or exhausted else 0.0


def _next(ranking: Sequence[T], taken: set[T]) -> tuple[T] | None:
    """The best item that is not taken, in a tuple, or None (an item may itself be None)."""
    for item in filterfalse(taken.__contains__, ranking):
        return (item,)
    return None


class Preference:
    """Which ranker the clicks are for, readable at any time.

    Each list with a click on a team's item counts +1 for the treatment, -1 for the control, 0 for a draw. Coins are drawn for
    every list anew, so without a difference the mean is 0 whatever came before, also for lists of one visitor.

    >>> preference = Preference()
    >>> for key in range(400):
    ...     shown = team_draft(["a", "b"], ["c", "d"], 2, key)
    ...     preference.update(shown, ["c"])
    >>> preference.wins, preference.preferred.name, preference.mean
    (400, 'TREATMENT', 1.0)
    """

    def __init__(self, alpha: float = 0.05) -> None:
        self.sequence = AverageSequence(-1.0, 1.0, alpha)
        self.lists = self.wins = self.losses = self.draws = 0

    def update(self, shown: Interleaved[T], clicked: Iterable[T]) -> None:
        """Learn what was clicked in one list."""
        self.lists += 1
        winner = shown.winner(clicked)
        if winner is None:
            return
        self.wins += winner is Team.TREATMENT
        self.losses += winner is Team.CONTROL
        self.draws += winner is Team.NEITHER
        self.sequence.update({Team.TREATMENT: 1.0, Team.CONTROL: -1.0, Team.NEITHER: 0.0}[winner])

    @property
    def compared(self) -> int:
        """Lists with a click that is credited to a team."""
        return self.sequence.n

    @property
    def mean(self) -> float | None:
        """(wins - losses) / compared, from -1 to 1; None before there is anything to compare."""
        return (self.wins - self.losses) / self.compared if self.compared else None

    @property
    def interval(self) -> tuple[float, float]:
        """Holds the expected `mean` of the lists so far at all times at once with probability 1 - alpha."""
        return self.sequence.interval

    @property
    def preferred(self) -> Team | None:
        """The ranker that is preferred; None as long as the interval holds 0."""
        low, high = self.interval
        return Team.TREATMENT if low > 0.0 else Team.CONTROL if high < 0.0 else None
