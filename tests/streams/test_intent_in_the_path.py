"""The probability that stands in the records, from events alone: sessions that end for good count as much as those that buy."""

from __future__ import annotations

import random

from streams.config import PipelineConfig
from streams.contracts.events import Event, Source
from streams.pipeline import Pipeline

HOUR_MS = 3_600_000


def visitors(count: int, buys: float, seed: int = 0) -> list[Event]:
    """Users who come once, for three events; some share ``buys`` of them ends with a purchase, mostly on a phone."""
    rng = random.Random(seed)
    events, start = [], 1_500_000_000_000
    for user in range(count):
        start += rng.randrange(60_000)
        bought = rng.random() < buys
        device = "phone" if rng.random() < (0.9 if bought else 0.1) else "tv"
        for n in range(3):
            kind = "purchase" if bought and n == 2 else "view"
            events.append(
                Event(
                    timestamp=start + 1000 * n, user_id=f"u{user}", item_id=f"i{rng.randrange(30)}", event_type=kind,
                    event_id=f"{user}-{n}", context={"device": device},
                )
            )  # fmt: skip
    return sorted(events, key=lambda event: event.timestamp)


def test_visitors_who_do_not_come_back_are_negatives() -> None:
    pipeline = Pipeline(PipelineConfig())
    said: dict[str, list[float]] = {"phone": [], "tv": []}
    events = visitors(1500, buys=0.1)
    for n, event in enumerate(events):
        recommendation = pipeline.on_event(event, Source(0, n))
        if n > len(events) // 2 and event.event_type == "view":
            assert recommendation is not None
            assert recommendation.intent is not None
            said[str((event.context or {})["device"])].append(recommendation.intent)
    phone, tv = (sum(said[device]) / len(said[device]) for device in ("phone", "tv"))
    # 0.1 * 0.9 / (0.1 * 0.9 + 0.9 * 0.1) = 0.5 on the phone, 0.1 * 0.1 / (0.1 * 0.1 + 0.9 * 0.9) = 0.012 on the other
    assert 0.3 < phone < 0.7
    assert tv < 0.06
    assert pipeline.knowledge.intent.n_learned > 1400
    assert len(pipeline.knowledge.open_sessions) < 100
