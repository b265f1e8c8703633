"""Settings of the worker's rim: how much is taken at a time, how often things are written, how long is waited."""

from __future__ import annotations

from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(gt=0)]


class WorkerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``worker`` of the settings file.

    ``group`` is the consumer group (the topic prefix stands before it). ``batch``: most events of one micro-batch.
    ``commit_s``: seconds between commits of offsets; ``idle_s``: a partition silent for so long is acknowledged whole.
    ``session_ttl_s``: a user's state is kept in Redis for so long after the last event. ``snapshot_s``,
    ``snapshot_interactions``: a snapshot is due when either has passed. ``session_timeout_s``,
    ``rebalance_timeout_s``: how soon the group notices a dead worker, and how long a worker may take to finish its
    batch when partitions move. ``batch_buffer``: fetched events that may wait for their micro-batch.
    """

    group: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,200}\Z")] = "headrace"
    batch: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 128
    batch_buffer: Annotated[int, msgspec.Meta(ge=1)] = 2048
    commit_s: Seconds = 1.0
    idle_s: Seconds = 1.0
    session_ttl_s: Seconds = 30 * 86_400
    snapshot_s: Seconds = 300.0
    snapshot_interactions: Annotated[int, msgspec.Meta(ge=1)] = 200_000
    session_timeout_s: Seconds = 10.0
    rebalance_timeout_s: Seconds = 20.0
