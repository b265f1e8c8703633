"""What the catalogue may do to a worker: its records are bounded on reading, and so is what is kept and said of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from streams.app.agents import MAX_BATCH
from streams.catalogue_feed import CatalogueFeed
from streams.contracts.catalogue import MAX_ITEM_BYTES, Item
from streams.contracts.recommendations import Cause, Recommendation, RecommendedItem
from streams.reasons import MAX_TITLE, in_words
from streams.serving import MODEL
from streams.web import MAX_K

GOOD = {"item_id": "a", "title": "Milk", "categories": ["dairy"], "embedding": [0.5], "attributes": {"x": [1]}}


class Feed:
    """A feed without a topic: records are handed over one by one."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Item | None]] = []
        self.refused = 0
        self._feed = CatalogueFeed(Any, lambda *update: self.seen.append(update), self._refuse)  # type: ignore[arg-type]

    def _refuse(self) -> None:
        self.refused += 1

    def take(self, key: bytes | None, value: bytes | None) -> None:
        self._feed._apply(SimpleNamespace(key=key, value=value, partition=0, offset=7))


def test_items_and_removals_are_passed_on() -> None:
    feed = Feed()
    feed.take(b"a", msgspec.json.encode(GOOD))
    feed.take(b"a", None)
    feed.take(b"b", b"")
    assert [(key, item and item.title) for key, item in feed.seen] == [("a", "Milk"), ("a", None), ("b", None)]
    assert feed.refused == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"a", GOOD | {"title": "x" * 1_001}),
        (b"a", GOOD | {"categories": ["x"] * 101}),
        (b"a", GOOD | {"categories": ["x" * 257]}),
        (b"a", GOOD | {"text": "x" * 100_001}),
        (b"a", GOOD | {"embedding": [0.0] * 8_193}),
        (b"a", GOOD | {"attributes": {"x": "y" * MAX_ITEM_BYTES}}),
        (b"a", GOOD | {"item_id": "b"}),
        (b"", GOOD | {"item_id": ""}),
        (None, GOOD),
        (b"\xff", GOOD),
        (b"a", 3),
    ],
)
def test_a_record_beyond_the_bounds_is_left_out_and_counted(key: bytes | None, value: Any) -> None:
    feed = Feed()
    feed.take(key, msgspec.json.encode(value))
    assert (feed.seen, feed.refused) == ([], 1)


@pytest.mark.parametrize("source", ["near", "far", "following"])
def test_a_title_is_cut_in_a_reason(source: str) -> None:
    assert in_words(source, "Milk").endswith(" Milk")
    assert in_words(source, "x" * MAX_TITLE).endswith("x")
    long = in_words(source, "x" * 60_000)
    assert long.endswith("x…")
    assert len(long) <= MAX_TITLE + 20


def test_the_largest_list_fits_into_a_message() -> None:
    worst = "\0" * 256  # six bytes each in JSON
    items = [RecommendedItem(worst, -1.0 / 3, "far", in_words("far", worst)) for _ in range(MAX_K)]
    largest = Recommendation(
        request_id="r-" + "0" * 16, user_id=worst, timestamp=2**62, caused_by=Cause(worst, "t" * 249, 2**31, 2**62),
        items=items, model=MODEL, intent=1 / 3, generic="nothing is known of the user yet",
    )  # fmt: skip
    assert len(msgspec.json.encode(largest)) < MAX_BATCH
