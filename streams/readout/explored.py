"""What another configuration would have earned with the first place, from the lists of one that explores.

A list that explores says with which propensity the item in its first place came there. The candidate's lists for the same events come from
a replay of the same log under its configuration. An action is the place that an item had in the order before the draw.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np

from online_models.errors import InputError
from online_models.experiments.off_policy import estimators
from online_models.experiments.off_policy.logged import Logged
from online_models.experiments.off_policy.results import DEFAULT, Inference, Result
from online_models.experiments.off_policy.reward_model import CellMeans
from streams.contracts.events import Event
from streams.validate import validate

PLACES = 200


class _Item(msgspec.Struct, frozen=True):
    item_id: str
    score: float


class _Logged(msgspec.Struct, frozen=True):
    request_id: str
    user_id: str
    timestamp: int
    items: list[_Item]
    propensity: float | None = None


class _Other(msgspec.Struct, frozen=True):
    request_id: str
    items: list[_Item]


_logged = msgspec.json.Decoder(_Logged).decode
_other = msgspec.json.Decoder(_Other).decode


@dataclass(slots=True)
class _Row:
    timestamp: int
    first: str
    place: int
    propensity: float
    wanted: int
    user: int
    reward: float = 0.0
    wanted_reward: float = 0.0
    other: str = ""


@dataclass(frozen=True)
class Evaluated:
    """``rows`` lists that explored; of them ``covered`` is the share in which the candidate's first item could have come first. The
    estimates are of those. ``logged``: what the lists earned, with their exploration; ``recorded``: what the log itself says that the
    candidate would have, which is true where users did not see the lists (as in a replay)."""

    rows: int
    covered: float
    logged: Result
    recorded: float
    estimates: tuple[Result, ...]


def evaluate(
    events: Iterable[bytes],
    published: Iterable[bytes],
    candidate: Iterable[bytes],
    judged: frozenset[str],
    attribution_ms: int,
    inference: Inference = DEFAULT,
) -> Evaluated:
    """Estimate the share of lists whose first place the user's next event would have been on.

    ``events`` are the log's lines, ``published`` the lists that answered them, ``candidate`` those of the other configuration.
    Raises InputError where nothing was explored, or the lists do not answer the same events.
    """
    firsts = {o.request_id: o.items[0].item_id for o in map(_other, candidate) if o.items}
    rows = _rows(events, map(_logged, published), firsts, judged, attribution_ms)
    if not rows:
        raise InputError(
            "lists with a propensity that answer events of the log, and the candidate's for the same events", "none",
            "log with a variant that explores (`explore: 0.1`), and replay the same log under the candidate's configuration",
        )  # fmt: skip
    inside = [row for row in rows if row.wanted >= 0]
    if not inside:
        raise InputError(
            "candidates that the logged lists hold", "none in any of them", "compare configurations that are more alike"
        )
    place, wanted = (np.array([getattr(r, f) for r in inside]) for f in ("place", "wanted"))
    reward, user = np.array([r.reward for r in inside]), np.array([r.user for r in inside])
    propensity = np.array([r.propensity for r in inside])
    model = CellMeans.fit(place, np.zeros(len(inside), np.int64), reward, PLACES, block=user)
    expected = model.table[model.fold, 0, wanted]
    log = Logged(reward, propensity, (place == wanted).astype(np.float64), model.predicted, expected, user)
    return Evaluated(
        len(rows), len(inside) / len(rows), estimators.on_policy(log, inference), float(np.mean([r.wanted_reward for r in inside])),
        tuple(estimators.evaluate(log, inference=inference)),
    )  # fmt: skip


def _rows(
    events: Iterable[bytes],
    lists: Iterable[_Logged],
    firsts: dict[str, str],
    judged: frozenset[str],
    attribution_ms: int,
) -> list[_Row]:
    waiting = iter(lists)
    upcoming = next(waiting, None)
    rows: list[_Row] = []
    latest: dict[str, _Row] = {}
    users: dict[str, int] = {}
    for number, raw in enumerate(events):
        event = validate(raw, None, str(number + 1))
        if not isinstance(event, Event):
            continue
        _reward(latest, event, judged, attribution_ms)
        # The lists stand in the order of the events that they answer; a copy of an event has none.
        if upcoming is not None and upcoming.user_id == event.user_id and upcoming.timestamp == event.timestamp:
            row = _row(upcoming, firsts, users.setdefault(event.user_id, len(users)))
            if row is not None:
                rows.append(row)
                latest[event.user_id] = row
            else:
                latest.pop(event.user_id, None)
            upcoming = next(waiting, None)
    if upcoming is not None:
        raise InputError(
            "lists that answer the events of the log, in their order", f"list {upcoming.request_id}, which answers none",
            "name the log that the lists were made of",
        )  # fmt: skip
    return rows


def _row(made: _Logged, firsts: dict[str, str], user: int) -> _Row | None:
    other = firsts.get(made.request_id)
    if made.propensity is None or other is None or not 0 < len(made.items) <= PLACES:
        return None
    first, rest = made.items[0], made.items[1:]
    place = sum(item.score > first.score for item in rest)
    order = [item.item_id for item in rest]
    order.insert(place, first.item_id)
    wanted = order.index(other) if other in order else -1
    return _Row(made.timestamp, first.item_id, place, made.propensity, wanted, user, other=other)


def _reward(latest: dict[str, _Row], event: Event, judged: frozenset[str], attribution_ms: int) -> None:
    """The user's next event decides what the list before it has earned."""
    row = latest.get(event.user_id)
    if row is None or event.event_type not in judged or event.timestamp <= row.timestamp:
        return
    del latest[event.user_id]
    if event.timestamp - row.timestamp <= attribution_ms:
        row.reward, row.wanted_reward = float(event.item_id == row.first), float(event.item_id == row.other)
