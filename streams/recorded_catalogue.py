"""A catalogue in a file: JSON Lines (plain or gzip) of the records of topic ``items``."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from online_models.errors import InputError

from . import recorded_log
from .contracts.catalogue import Item
from .contracts.reading import UNREADABLE

_decode = msgspec.json.Decoder(Item).decode


def read(path: str) -> Iterator[Item]:
    """The items in order. Raises InputError where the file is none, and at the first line that is not an item."""
    for number, raw in enumerate(recorded_log.read(path), 1):
        try:
            yield _decode(raw)
        except UNREADABLE as error:
            raise InputError("one item a line", f"{error} in record {number} of {path}", "correct it") from error
