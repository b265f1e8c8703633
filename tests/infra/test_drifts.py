"""What counts as news of a drift: worse, of a figure that is watched, and not known yet."""

from __future__ import annotations

import logging

import msgspec
import pytest

from infra.drifts import FIGURES, REMEMBERED, News
from streams.contracts.drifts import QualityDrift
from streams.pipeline import Pipeline


def drift(drift_id: str, figure: str = "hr@20 blend", worse: bool = True) -> bytes:
    return msgspec.json.encode(
        QualityDrift(
            drift_id=drift_id, figure=figure, before=0.5, after=0.25, worse=worse, moments=9, timestamp=1, partition=0, offset=1
        )
    )  # fmt: skip


def test_a_copy_is_no_news_whoever_wrote_it() -> None:
    news = News(FIGURES)
    assert news.of([drift("a")]) == "hr@20 blend went from 0.5000 to 0.2500"
    assert news.of([drift("a"), drift("a")]) == ""
    assert news.of([drift("b")])


@pytest.mark.parametrize("value", [drift("a", "hr@20 knn"), drift("a", worse=False), b"garbage", b"{}", None])
def test_what_is_no_reason(value: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "headrace"):
        assert News(FIGURES).of([value]) == ""
    assert ("topic drift is none" in caplog.text) == (value in (b"garbage", b"{}", None))


def test_other_figures_may_count() -> None:
    assert News(["hr@20 arm x/new"]).of([drift("a", "hr@20 arm x/new")])


def test_the_figures_that_count_are_watched() -> None:
    assert {figure.removeprefix("hr@20 ") for figure in FIGURES} <= set(Pipeline().prequential.names)


def test_what_is_remembered_is_bounded() -> None:
    news = News(FIGURES)
    news.of([drift(str(n)) for n in range(REMEMBERED + 100)])
    assert len(news._known) == REMEMBERED
