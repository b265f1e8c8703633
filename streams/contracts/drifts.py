"""The drift record: a quality has changed (topic ``drift``, key = its ``drift_id``)."""

from __future__ import annotations

import msgspec

QUALITY = "hr@20"
"""How the names of watched hit rates begin: ``hr@20 knn`` is that of a list, ``hr@20 arm NAME/VARIANT`` that of a variant's lists."""


class QualityDrift(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of ``figure`` went from ``before`` to ``after``, which is ``worse`` or not.

    ``drift_id`` is a function of the figure and of the event that brought it out, at ``partition`` and ``offset`` of topic ``events``
    with event time ``timestamp``: whoever finds it again writes the same. ``moments``: values that the finder had seen of the figure.
    """

    drift_id: str
    figure: str
    before: float
    after: float
    worse: bool
    moments: int
    timestamp: int
    partition: int
    offset: int
    v: int = 1
