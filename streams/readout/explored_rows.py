"""What is known of a list that explored, and what could not be joined to make one."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Row:
    """A list that explored: items in their ``order`` before the draw, of which that at ``place`` was shown first, with ``propensity``,
    and the others in order after it. ``other``: the candidate's list; ``then``: what the user's next event was on. ``variant``: what
    it was made under, as `experiment/variant@begun` (ms; 0: not known), several with `+` between them; empty where that is not known."""

    timestamp: int
    user: int
    order: tuple[str, ...]
    place: int
    propensity: float
    other: tuple[str, ...]
    then: str | None = None
    variant: str = ""

    @property
    def wanted(self) -> int:
        """Place of the candidate's first item in the order; -1: it could not have come first."""
        return self.order.index(self.other[0]) if self.other[0] in self.order else -1

    @property
    def rate(self) -> float:
        """With which probability the first place was drawn: the propensity is ``rate / n``, and ``1 - rate`` more at place 0."""
        n = len(self.order)
        if self.place:
            return min(1.0, self.propensity * n)
        return min(1.0, (1.0 - self.propensity) * n / (n - 1)) if n > 1 else 0.0

    def drawn(self, place: int) -> tuple[str, ...]:
        """The list that was shown, had the draw given this place."""
        return (self.order[place], *self.order[:place], *self.order[place + 1 :])


@dataclass(slots=True)
class Joined:
    """How many lists were joined, and why the others were not.

    Lists that explored, of which one that was published again counts once. ``rows``: with their event and the candidate's list;
    ``variants``: those by what they were made under. ``of_namesakes``: of another experiment of the name that was asked for, which was
    begun before. ``no_event``: their event is not among the events. ``no_candidate``: the candidate
    has no list for their event. ``of_impressions``: their event is an impression, of another list that the user is looking at. ``late``:
    their event is older than one of the same user before it. Rows without what came of them: ``named_another``, whose user's next event
    names a list that is none of the rows, and ``shown_another``, whose user was given a list over HTTP before it and where it names none.

    Records, so that a copy counts as well. ``over_http``: lists asked for over HTTP, which answer no event. ``not_explored``: without a
    propensity of the first place alone. ``ties``: do not say where their first item stood before the draw, and their best two have the
    same score. ``forced``: of testers, who explored. ``of_others``: of another experiment or variant than was
    asked for. ``candidate_alone``: the candidate's, for events that no list that explored answers. ``other_users``: the candidate's, for
    an event of the same id, but of another user. ``unreadable``: no lists.

    ``judged``: events of the types that lists are there for, by type.
    """

    rows: int = 0
    of_namesakes: int = 0
    no_event: int = 0
    no_candidate: int = 0
    of_impressions: int = 0
    late: int = 0
    over_http: int = 0
    not_explored: int = 0
    ties: int = 0
    unreadable: int = 0
    candidate_alone: int = 0
    other_users: int = 0
    named_another: int = 0
    shown_another: int = 0
    forced: int = 0
    of_others: int = 0
    variants: dict[str, int] = field(default_factory=dict)
    judged: dict[str, int] = field(default_factory=dict)


def told(found: Joined) -> str:
    """What could not be joined, in words; empty if all was."""
    return _words(
        (found.of_namesakes, "lists explored, but under another experiment of that name, begun before"),
        (found.no_event, "lists explored, but their event is not among the events"),
        (found.no_candidate, "lists explored, but the candidate has no list for their event"),
        (found.of_impressions, "lists explored, but answer impressions"),
        (found.late, "lists explored, but their event is older than one before it"),
        (found.over_http, "records of lists asked for over HTTP"),
        (found.not_explored, "records of lists without exploration"),
        (found.ties, "records of lists whose best two have the same score, and that do not say which was drawn"),
        (found.forced, "records of lists of testers (`forced`)"),
        (found.of_others, "records of lists of another experiment or variant"),
        (found.candidate_alone, "records of lists only of the candidate"),
        (found.other_users, "records of lists of the candidate for an event of the same id, but of another user"),
        (found.unreadable, "unreadable records"),
    )


def left_out(found: Joined) -> str:
    """Of which rows it is not known what came, in words; empty if of none."""
    return _words(
        (found.named_another, "lists whose user's next event names another list"),
        (found.shown_another, "lists whose user was given another over HTTP before"),
    )


def _words(*parts: tuple[int, str]) -> str:
    return "; ".join(f"{n:,} {what}" for n, what in parts if n)
