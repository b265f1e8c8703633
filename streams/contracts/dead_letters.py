"""The dead-letter record and the reason codes: every way in which a record can be wrong."""

from __future__ import annotations

from enum import Enum

import msgspec


class Reason(str, Enum):
    """Why a record was refused. The code is part of the contract; new ones may be added."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    WRONG_VERSION = "wrong_version"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    EMPTY_ID = "empty_id"
    ID_TOO_LONG = "id_too_long"
    TIMESTAMP_IN_SECONDS = "timestamp_in_seconds"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    TIMESTAMP_IN_FUTURE = "timestamp_in_future"
    VALUE_NOT_FINITE = "value_not_finite"
    CONTEXT_TOO_LARGE = "context_too_large"
    WRONG_KEY = "wrong_key"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A refused record. ``raw`` (and ``key``) are the bytes as read, base64 on the wire; ``time`` is ms since the epoch."""

    raw: bytes
    key: bytes | None
    topic: str
    partition: int
    offset: int
    reason: Reason
    message: str
    time: int
    v: int = 1
