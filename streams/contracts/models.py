"""Models on their way: announcements (topic ``models``), what was decided of each version, and where each worker is."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

SLOT = "deep"
"""The key of all announcements on topic ``models``: there is one place for a model, and compaction keeps its latest announcement."""

Version = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]*\Z")]
"""A version's name; it is also the name of its folder."""

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class TrainedOn(msgspec.Struct, frozen=True, kw_only=True):
    """Event times in ms since the epoch, both ends included, and how many events were learned between them."""

    from_ms: int
    to_ms: int
    events: int


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """A version is to be had. ``uri`` is the artefact's folder, ``sha256`` that of its manifest, and so of all that is in it.

    ``metrics`` were measured when it was trained; ``created`` is ms since the epoch: of two announcements the older one loses.
    """

    version: Version
    uri: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    sha256: Sha256
    trained: TrainedOn
    metrics: dict[str, float]
    created: int
    v: int = 1


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided of a version (topic ``models.decisions``, compacted, key = version). The latest one of a version counts.

    Of the versions that are ``promoted`` or ``pinned``, the latest decision says which is live; while it is a pin, no
    other version is tried. ``by`` is a worker or ``operator``; a worker's comes with the ``moments`` it compared and
    the mean difference of NDCG@20 with its interval.
    """

    announcement: Announcement
    state: Literal["promoted", "pinned", "rolled_back"]
    by: str
    reason: str = ""
    created: int
    moments: int | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    v: int = 1


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where a worker is (topic ``models.status``, compacted, key = worker; null when it has stopped).

    ``step`` says what it does with the version ``candidate``: ``fetching``, ``preparing``, ``aligning``, ``replaying``, a
    phase of its trial, or ``refused`` (then ``error`` says why).
    """

    worker: str
    live: str | None
    candidate: str | None = None
    step: str = ""
    error: str = ""
    moments: int = 0
    created: int
    v: int = 1
