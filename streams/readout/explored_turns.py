"""Which list that explored a user's event is for: the one that it names, or the one that they were looking at."""

from __future__ import annotations

from dataclasses import dataclass

from streams.contracts.events import Event

from .explored_asked import Asked
from .explored_rows import Joined, Row


@dataclass(slots=True)
class Kept:
    """A list that explored. ``begun``: when the experiment that was asked for was (ms; 0: not known, or none was). ``another``: the user
    was given one over HTTP while they were looking at it. ``met``: its event was."""

    request_id: str
    user_id: str
    row: Row
    begun: int = 0
    another: bool = False
    met: bool = False


@dataclass(slots=True)
class _User:
    """Who has a row. ``newest``: the time of their newest event that is no impression. ``looking``: the list that answers it, if that is
    a row."""

    number: int
    newest: int
    looking: Kept | None = None


class Turns:
    """A fold of events, each user's in order, to ``rows``. ``judged``: types of events that a list is there for; ``attribution_ms``: how
    long; ``asked``: after which events there were lists over HTTP. What does not become a row, and why, is counted in ``found``.

    A list earns the first thing that names it, or that names none and comes next.
    """

    def __init__(self, judged: frozenset[str], attribution_ms: int, asked: Asked, found: Joined) -> None:
        self.rows: list[Row] = []
        self._judged, self._attribution_ms, self._asked, self._found = judged, attribution_ms, asked, found
        self._users: dict[str, _User] = {}
        self._named: dict[tuple[str, str], Kept] = {}
        """By user and request: events of two users may have one id, and then their lists do."""

    def take(self, event: Event, answer: Kept | None) -> None:
        """``answer``: the list that answers the event, if it explored."""
        if answer is not None and answer.met:
            return  # a copy: no next event
        user = self._users.get(event.user_id)
        looks = event.event_type == "impression"
        late = user is not None and not looks and event.timestamp < user.newest
        if user is not None and not looks:
            self._decide(user, event, late)
        another = self._asked.take_event(event.user_id, event.event_id)
        if another and user is not None and user.looking is not None:
            user.looking.another = True
        if answer is None:
            return
        answer.met = True
        if looks or late:
            # The user is on another list, which this one must not push out.
            self._found.of_impressions += looks
            self._found.late += late
        elif not answer.row.other:
            self._found.no_candidate += 1
        else:
            answer.another = another
            self._add(event, answer)

    def _add(self, event: Event, answer: Kept) -> None:
        user = self._users.setdefault(event.user_id, _User(len(self._users), event.timestamp))
        user.looking = self._named[answer.user_id, answer.request_id] = answer
        answer.row.user = user.number
        self.rows.append(answer.row)

    def _decide(self, user: _User, event: Event, late: bool) -> None:
        """What a user does next ends the turn of the list that they were looking at, whatever it is for; something late is not next."""
        looking = user.looking
        if not late:
            user.newest, user.looking = event.timestamp, None
        if event.event_type not in self._judged:
            return
        named = None if event.request_id is None else self._named.get((event.user_id, event.request_id))
        if named is not None and _is_in_time(named, event, self._attribution_ms):
            _credit(named, event)
        elif late or looking is None or not _is_in_time(looking, event, self._attribution_ms):
            return
        elif event.request_id is not None:
            self._found.named_another += 1
        elif looking.another:
            self._found.shown_another += 1
        else:
            _credit(looking, event)


def _is_in_time(shown: Kept, event: Event, attribution_ms: int) -> bool:
    return event.timestamp - shown.row.timestamp <= attribution_ms


def _credit(shown: Kept, event: Event) -> None:
    if shown.row.then is None:
        shown.row.then = event.item_id
