"""What the catalogue may do to a worker: its records are bounded on reading, and so is what is kept and said of them."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from streams.app.agents import MAX_BATCH
from streams.catalogue_feed import CatalogueFeed
from streams.config import PipelineConfig
from streams.contracts.catalogue import MAX_ITEM_BYTES, Item
from streams.contracts.events import Source
from streams.contracts.recommendations import Cause, Recommendation, RecommendedItem
from streams.pipeline import Pipeline
from streams.reasons import MAX_TITLE, in_words
from streams.serving import MODEL
from streams.web import MAX_K
from tests.worlds import shop_log

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


@pytest.mark.parametrize("depth", [2_000, 200_000])
@pytest.mark.parametrize("field", ["attributes", "unknown"])
def test_a_deeply_nested_record_is_left_out_and_counted(field: str, depth: int) -> None:
    feed = Feed()
    feed.take(b"a", b'{"item_id": "a", "%s": {"x": %s}}' % (field.encode(), b"[" * depth + b"]" * depth))
    feed.take(b"a", msgspec.json.encode(GOOD))
    assert ([key for key, _ in feed.seen], feed.refused) == (["a"], 1)


def test_refused_records_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    feed = Feed()
    for _ in range(1_000):
        feed.take(b"a", b"nonsense")
    assert feed.refused == 1_000
    assert len(caplog.records) == 10  # at 1, 2, 4 ... 512
    assert "512 records are no items and left out, the latest at items-0/7: " in caplog.text


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


def item(number: int, **changes: Any) -> Item:
    return Item(**{"item_id": f"i{number}", "title": f"Item {number}", "text": "x" * 1_000} | changes)


def test_what_is_kept_of_the_catalogue_is_bounded_and_said(caplog: pytest.LogCaptureFixture) -> None:
    pipeline = Pipeline(PipelineConfig(max_items=100))
    for number in range(1_000):
        pipeline.catalogue_update(f"i{number}", item(number))
        pipeline.catalogue_update(f"gone{number}", None)
    kept = pipeline.metrics()["catalogue"]
    assert {"titles": 100.0, "withheld": 100.0, "forgotten": 1_800.0}.items() <= dict(kept).items()  # type: ignore[call-overload]
    assert "the catalogue has more than 100 titles" in caplog.text
    assert len(caplog.records) == 11  # at 1, 2, 4 ... 1,024
    assert pipeline.catalogue.title_of("i999") == "Item 999"
    assert pipeline.catalogue.title_of("i0") == "i0"


def test_news_of_an_item_that_is_known_take_no_room() -> None:
    pipeline = Pipeline(PipelineConfig(max_items=2))
    for _ in range(5):
        for number in range(2):
            pipeline.catalogue_update(f"i{number}", item(number, available=False))
    assert pipeline.catalogue.forgotten == 0
    pipeline.catalogue_update("i0", item(0, title=""))
    pipeline.catalogue_update("i1", None)
    assert pipeline.catalogue.sizes() == {"titles": 0.0, "withheld": 1.0, "forgotten": 0.0}


def test_an_item_that_is_known_and_withheld_stays_so_when_there_is_no_room_to_remember_it() -> None:
    pipeline = Pipeline(PipelineConfig(max_items=50))
    events = shop_log(60, items=10)
    for offset, event in enumerate(events):
        pipeline.on_event(event, Source(0, offset))
    pipeline.catalogue_update(events[0].item_id, None)
    for number in range(60):
        pipeline.catalogue_update(f"other{number}", None)
    assert events[0].item_id not in {i.item_id for i in pipeline.recommend("nobody", 50).items}


def test_of_an_item_only_the_title_is_kept() -> None:
    """A text or an embedding can be a thousand times as long."""
    pipeline = Pipeline()
    before = sys.getrefcount(TEXT)
    pipeline.catalogue_update("i1", item(1, text=TEXT, title="T" * 1_000))
    assert sys.getrefcount(TEXT) == before
    assert len(pipeline.catalogue.title_of("i1")) == MAX_TITLE


TEXT = "".join(map(str, range(10_000)))
