"""Make everything that is compiled ready before the first real event: loaded from the cache, or compiled once a machine."""

from __future__ import annotations

import msgspec

from .config import PipelineConfig
from .contracts.events import Event, Source
from .pipeline import Pipeline

_TYPES = ("view", "click", "cart", "purchase", "rating", "impression")


def warm_up(config: PipelineConfig) -> None:
    """Run made-up events through a pipeline that is then thrown away.

    About 1 s with a warm cache; on a machine that has never run Headrace the compiler needs about half a minute.
    """
    # So few items that the table is compacted, too.
    pipeline = Pipeline(msgspec.structs.replace(config, max_items=16))
    timestamp = 1_500_000_000_000
    for n in range(120):
        timestamp += (0, 1_000, 120_000, 3_600_000)[n % 4]
        kind = _TYPES[n % 5 if n % 7 else n % 6]
        value = float(1 + n % 5) if kind == "rating" else None
        pipeline.on_event(
            Event(
                timestamp=timestamp, user_id=f"user-{n // 2 % 5}", item_id=f"item-{n * 5 % (8 if n < 60 else 23)}", event_type=kind,
                event_id=f"event-{n}", value=value,
            ),
            Source(0, n),
        )  # fmt: skip
    pipeline.recommend("user-0", config.k)
    pipeline.recommend("nobody", config.k)
    pipeline.restore({name: array.copy() for name, array in pipeline.snapshot().items()})
