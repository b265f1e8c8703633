"""The recommendation record: value of topic ``recommendations`` and body of ``GET /recommendations/{user_id}``."""

from __future__ import annotations

import msgspec


class Cause(msgspec.Struct, frozen=True):
    """The event that a list answers, and where it was read."""

    event_id: str
    topic: str
    partition: int
    offset: int


class After(msgspec.Struct, frozen=True):
    """The latest event of the user that a list asked for over HTTP knows of: where it was read."""

    partition: int
    offset: int


class RecommendedItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One place of a list. ``source`` is the candidate source that speaks loudest for it, ``reason`` says so in words.
    ``variant``: whose pick it is, where two variants share the list. ``place``: of the first item of a list that explores, where it stood
    before the draw (0: at the top)."""

    item_id: str
    score: float
    source: str
    reason: str
    variant: str | None = None
    place: int | None = None


class ModelVersion(msgspec.Struct, frozen=True):
    """The scorer that made a list: name and version."""

    name: str
    version: str


class Exposure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Experiment and variant that a list was made under. ``share``: of all units that had the variant then, since the ``ramp``-th
    change of shares. ``unit``: what was assigned, where that is not the user. ``forced``: by name,
    not by the split. ``begun``: when the experiment was (ms), which tells it from another one of the same name."""

    name: str
    variant: str
    share: float | None = None
    unit: str | None = None
    ramp: int = 0
    forced: bool = False
    begun: int = 0


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """A ranked list for one user, best first.

    ``request_id`` is a function of the causing event's id alone, so a copy published again after a crash is
    recognised. ``intent`` is the probability that the session converts. ``latency_ms`` runs from reading the event to
    handing the record to the producer; null in replay, where there is no such time. ``generic`` says why the list is
    not personal, null when it is. ``experiments`` are all that the list was made under, ``experiment`` the first of them.
    ``propensity`` is the probability with which the first place went to the item there, where it is drawn.
    Of a list over HTTP ``caused_by`` is null and ``after`` says what it knew of the user; null: nothing, or it answers an event.
    """

    request_id: str
    user_id: str
    timestamp: int
    caused_by: Cause | None
    items: list[RecommendedItem]
    model: ModelVersion
    intent: float | None = None
    experiment: Exposure | None = None
    experiments: list[Exposure] = []
    propensity: float | None = None
    latency_ms: float | None = None
    generic: str | None = None
    after: After | None = None
    v: int = 1
