"""The catalogue record: value of topic ``items`` (compacted, key = item_id; a null value removes the item)."""

from __future__ import annotations

from typing import Any

import msgspec

from .events import Id


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of an item besides what users do with it. ``created`` is ms since the epoch, ``price`` any currency."""

    item_id: Id
    title: str = ""
    categories: list[str] = msgspec.field(default_factory=list)
    attributes: dict[str, Any] = msgspec.field(default_factory=dict)
    price: float | None = None
    available: bool = True
    created: int | None = None
    text: str = ""
    embedding: list[float] | None = None
    v: int = 1
