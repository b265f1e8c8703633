"""The interaction record: what item-side models learn from one event (MessagePack, topic ``interactions``).

The worker that owns the user turns each valid event into exactly one interaction. Item-side knowledge is a fold over
these records and nothing else, so every worker that has read them knows the same.
"""

from __future__ import annotations

import msgspec

VERSION = 1

APART = "apart/"
"""Before the name of a model: of the arm ``variant`` alone."""


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """An additive step of a model that learns by gradient: rows of ``items`` (if any) and the packed numbers."""

    items: list[str]
    data: bytes


class Interaction(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One event as item-side models see it.

    ``user``, ``session`` and ``event`` are 64-bit hashes: enough to group by, no identity. ``history`` holds the items
    of the user before this event, the latest first, of which the first ``in_session`` belong to the same session;
    ``ages`` are the milliseconds since each. ``partition`` and ``offset`` say where the event stood; ``clock`` is a
    Lamport clock that orders the tail on recovery as it was first learned. ``deltas`` holds the steps by model name, those of an
    arm that learns apart behind `APART`.
    ``sequence``: items of the session's latest events, oldest first; empty where that is its items of the ``history``, each once.
    ``before`` counts the events that the user had on the item already. ``shown``: items of the list from before the event that may
    need trying, where new items are given a bonus.
    """

    v: int = VERSION
    item_id: str
    event_type: str
    weight: float
    timestamp: int
    value: float | None
    user: int
    session: int
    event: int
    history: list[str]
    ages: list[int]
    in_session: int
    partition: int
    offset: int
    clock: int
    variant: str | None = None
    deltas: dict[str, Delta] = msgspec.field(default_factory=dict)
    before: int = 0
    shown: list[str] = msgspec.field(default_factory=list)
    sequence: list[str] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.ages) != len(self.history) or not 0 <= self.in_session <= len(self.history):
            raise ValueError("Expected an age for each item of the history, and no more items in the session")
        if not (0.0 <= self.weight < 1e9 and self.partition >= 0 and self.offset >= 0):
            raise ValueError("Expected a weight from 0 to 1e9, and the place of an event")
