"""A made-up log with the lists that answered it, event by event, for the tests of the read-out."""

from __future__ import annotations

import msgspec

from streams.contracts.events import Event, Source
from streams.contracts.experiments import Definition, Variant
from streams.contracts.recommendations import Cause, Exposure, ModelVersion, Recommendation, RecommendedItem
from streams.readout.fold import Readout
from streams.readout.users import Unit
from tests.worlds import START

VARIANTS = (Variant(name="control"), Variant(name="new"))


def definition(**more) -> Definition:
    return Definition(**({"name": "x", "variants": VARIANTS} | more))


def unit_of(readout: Readout, name: str = "u") -> Unit:
    """What is remembered of a unit; a session is written ``user/session``."""
    [part] = readout._partitions.values()
    user = part.units.users._known[name.partition("/")[0]]
    return user.units[name]


class Tape:
    """Events and lists of one user each, written as the topics hold them; ``play`` folds them."""

    def __init__(self) -> None:
        self.records: list[tuple[Event, Recommendation | None]] = []

    def add(
        self,
        at: int,
        item: str,
        kind: str = "view",
        user: str = "u",
        shown: str = "",
        variant: str | None = "new",
        **more,
    ) -> str:
        """An event at ``at`` s, answered by a list of the items ``shown`` (a letter each). Returns the list's request_id."""
        n = len(self.records)
        exposure = Exposure(
            "x", variant or "", 0.5, more.pop("unit", None), more.pop("ramp", 0), more.pop("forced", False)
        )
        experiments = [exposure] if variant else []
        picks = more.pop("picks", {})
        event = Event(
            timestamp=START + 1000 * at, user_id=user, item_id=item, event_type=kind, event_id=f"e{n}", **more
        )
        answer = Recommendation(
            request_id=f"r{n}", user_id=user, timestamp=event.timestamp, caused_by=Cause(f"e{n}", "events", 0, n),
            items=[RecommendedItem(i, 1.0, "s", "", picks.get(i)) for i in shown], model=ModelVersion("m", "1"), experiments=experiments,
        )  # fmt: skip
        self.records.append((event, answer))
        return f"r{n}"

    def play(self, **more) -> Readout:
        readout = Readout(definition(**more))
        for n, (event, answer) in enumerate(self.records):
            readout.take_event(msgspec.json.encode(event), Source(0, n))
            if answer is not None:
                readout.take_list(msgspec.json.encode(answer))
        return readout

    def unit(self, name: str = "u", **more) -> dict[str, float]:
        unit = unit_of(self.play(**more), name)
        return dict(zip(("conversion", "revenue", "clicked", "lists", "hits", "targets"), unit.now[:6], strict=True))
