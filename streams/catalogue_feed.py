"""Topic ``items`` as every worker reads it: the whole catalogue at the start, then each change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from streams.contracts.catalogue import MAX_ITEM_BYTES, Item
from streams.contracts.reading import UNREADABLE
from streams.tailing import Breather, Tail

log = logging.getLogger("headrace")

FETCH = 500


class CatalogueFeed:
    """Calls ``update(item_id, item)`` for each record, ``update(item_id, None)`` for a removal.

    A record that is no item of that id is told by calling ``refused``, and left out: what was known stays. The first one is
    logged, the second, the fourth and so on.
    """

    def __init__(
        self, tail: Tail, update: Callable[[str, Item | None], None], refused: Callable[[], None] = lambda: None
    ) -> None:
        self._tail, self._update, self._refused = tail, update, refused
        self._decode = msgspec.json.Decoder(Item).decode
        self._left_out = 0

    async def catch_up(self) -> None:
        """Read to the end of the topic."""
        ends = await self._tail.ends()
        while self._tail.behind(ends):
            await self._step(0.1)

    async def follow(self) -> None:
        """Apply changes as they come, until cancelled."""
        while True:
            await self._step(1.0)

    async def _step(self, timeout_s: float) -> None:
        breather = Breather()
        for records in (await self._tail.fetch(timeout_s, FETCH)).values():
            for record in records:
                self._apply(record)
                await breather.breathe()

    def _apply(self, record: Any) -> None:
        try:
            item_id = (record.key or b"").decode()
            if len(record.value or b"") > MAX_ITEM_BYTES:
                raise ValueError(f"expected at most {MAX_ITEM_BYTES} bytes, got {len(record.value)}")
            item = self._decode(record.value) if record.value else None
            if not item_id or (item is not None and item.item_id != item_id):
                raise ValueError(f"expected the item id as key, got {item_id[:64]!r}")
        except (*UNREADABLE, ValueError) as error:
            self._refused()
            self._left_out += 1
            if self._left_out & (self._left_out - 1) == 0:
                log.warning(
                    "%d records are no items and left out, the latest at items-%d/%d: %s",
                    self._left_out, record.partition, record.offset, error,
                )  # fmt: skip
            return
        self._update(item_id, item)
