"""The explanation record: body of ``GET /explain/{user_id}?item=…``, and what ``headrace explain --json`` prints."""

from __future__ import annotations

import msgspec

from .recommendations import Exposure, ModelVersion


class FeatureShare(msgspec.Struct, frozen=True):
    """One number that the blend sees of the item: its ``value``, and what it adds to the score. Of this, ``hidden`` comes through the
    hidden units."""

    name: str
    value: float
    contribution: float
    hidden: float


class GroupShare(msgspec.Struct, frozen=True):
    """The features of one kind, those of a source first of all. ``share`` is the contribution by the sum of all groups' sizes;
    ``above`` is what it is above the same group's mean over all candidates. ``place``: in the source's own list, from 1."""

    name: str
    contribution: float
    hidden: float
    share: float
    above: float
    place: int | None
    features: list[FeatureShare]


class ContextShare(msgspec.Struct, frozen=True):
    """One of the weight vectors that the request was scored with, and what it adds to the score."""

    name: str
    contribution: float


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why an item stands where it does for a user, as of the latest event time known.

    ``rank`` counts from 1 among ``candidates``; where the item is none of them ``note`` says why, and ``score`` is null. The
    contributions of the ``groups`` add up to the score, those of the ``contexts`` too; ``mean`` is the candidates' mean score.
    """

    user_id: str
    item_id: str
    timestamp: int
    rank: int | None
    candidates: int
    score: float | None
    mean: float | None
    source: str | None
    reason: str | None
    groups: list[GroupShare]
    contexts: list[ContextShare]
    model: ModelVersion
    experiments: list[Exposure]
    generic: str | None
    note: str | None
    v: int = 1
