"""The model announcement: value of topic ``models`` (compacted, key = slot name)."""

from __future__ import annotations

from typing import Annotated

import msgspec

Version = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]*$")]
"""A version's name; it is also the name of its folder."""

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


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
