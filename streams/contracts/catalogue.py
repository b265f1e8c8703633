"""The catalogue record: value of topic ``items`` (compacted, key = item_id; a null value removes the item)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from .events import MAX_ID, Id

MAX_ITEM_BYTES = 512 * 1024
"""Largest record that is accepted on the topic, in bytes."""

MAX_TITLE, MAX_TEXT = 1_000, 100_000
"""Longest title and text, in characters."""

MAX_CATEGORIES, MAX_EMBEDDING = 100, 8_192
"""Most categories and numbers of an embedding."""

Category = Annotated[str, msgspec.Meta(max_length=MAX_ID)]


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of an item besides what users do with it. ``created`` is ms since the epoch, ``price`` any currency."""

    item_id: Id
    title: Annotated[str, msgspec.Meta(max_length=MAX_TITLE)] = ""
    categories: Annotated[list[Category], msgspec.Meta(max_length=MAX_CATEGORIES)] = msgspec.field(default_factory=list)
    attributes: dict[str, Any] = msgspec.field(default_factory=dict)
    price: float | None = None
    available: bool = True
    created: int | None = None
    text: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)] = ""
    embedding: Annotated[list[float], msgspec.Meta(max_length=MAX_EMBEDDING)] | None = None
    v: int = 1
