"""Topic ``items`` as every worker reads it: the whole catalogue at the start, then each change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from streams.contracts.catalogue import Item
from streams.tailing import Breather, Tail

log = logging.getLogger("headrace")

FETCH = 500


class CatalogueFeed:
    """Calls ``update(item_id, item)`` for each record, ``update(item_id, None)`` for a removal.

    A record that is no item of that id is logged, counted (``refused``) and left out.
    """

    def __init__(self, tail: Tail, update: Callable[[str, Item | None], None]) -> None:
        self._tail, self._update = tail, update
        self._decode = msgspec.json.Decoder(Item).decode
        self.refused = 0

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
            item = self._decode(record.value) if record.value else None
            if not item_id or (item is not None and item.item_id != item_id):
                raise ValueError(f"expected the item id as key, got {item_id!r}")
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            self.refused += 1
            log.warning("items-%d/%d is no item, left out: %s", record.partition, record.offset, error)
            return
        self._update(item_id, item)
