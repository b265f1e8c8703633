"""The page of a read-out: verdict, effects, the interval over time, checks; names of anybody, and what has no result yet."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from infra.web.chart import SIZES
from infra.web.readout_page import page
from streams.contracts.experiments import Guardrail
from streams.experiment_rules import alone
from streams.readout.result import Result, read_out
from tests.streams.readout_tape import Tape, definition
from tests.streams.test_readout_result import world


@pytest.fixture(scope="module")
def found() -> Result:
    """Users of many days; those of the new variant click more often."""
    experiment = alone(definition(guardrails=(Guardrail(metric="hr@20", margin=0.1),)), 0)
    return read_out(experiment, world(0.5).tally())


def charts(text: str) -> dict[str, ElementTree.Element]:
    found = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text)]  # noqa: S314
    return {svg.get("class", ""): svg for svg in found}


def rows(text: str, name: str) -> list[list[str]]:
    """The cells of a table, without tags."""
    body = text.partition(f"<table class='{name}'>")[2].partition("<tbody>")[2].partition("</tbody>")[0]
    return [[re.sub("<[^>]+>", "", cell) for cell in re.split("</td>", row)[:-1]] for row in body.split("</tr>")[:-1]]


def points(line: ElementTree.Element | None) -> list[tuple[float, float]]:
    assert line is not None
    return [(float(x), float(y)) for x, y in (p.split(",") for p in line.get("points", "").split())]


def well_formed(text: str) -> None:
    class Parser(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert not {"src", "href"} & dict(attrs).keys()
            if tag != "meta":
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag in ("line", "polygon", "polyline", "circle")

    parser = Parser()
    parser.feed(text)
    parser.close()
    assert not parser.open
    assert not re.search(r"https?://|url\(|@import|<script", text)


def test_is_well_formed_and_says_what_was_found(found: Result) -> None:
    text = page(found)
    well_formed(text)
    assert f"<p class='note good'><b>{found.verdict}</b></p>" in text
    assert "until 2014-06-12 13:25 UTC" in text.partition("</header>")[0], "until which event"
    assert "new is better in ctr" in found.verdict
    effects = rows(text, "effects")
    assert [row[0] for row in effects] == ["ctr, new", "conversion, new", "revenue, new", "hr@20, new"]
    [c] = found.metrics[0].variants
    assert c.always is not None
    assert effects[0][4] == f"{c.always.low:+.1%} to {c.always.high:+.1%}"
    assert len(effects[0]) == 7
    checks = rows(text, "checks")
    assert [row[0] for row in checks] == ["shares, ramp 0 (as begun)", "guardrail hr@20"]
    assert checks[0][2] == "match (p &gt; 0.9999)"
    assert effects[0][6] == "&lt;0.0001"
    assert checks[1][2].startswith("holds (margin 10.0%")


def test_the_primary_metric_comes_first() -> None:
    d = definition(metric="hr@20")
    text = page(read_out(alone(d, 0), world(0.0, users=300).tally()))
    assert rows(text, "effects")[0][0] == "hr@20, new"


def test_no_result_says_why(found: Result) -> None:
    revenue = rows(page(found), "effects")[2]
    assert revenue[3].startswith("no result yet: ")
    assert len(revenue) == 4, "one cell instead of effect, intervals and p"


def test_the_chart_has_every_period_inside_its_frame(found: Result) -> None:
    drawn = [p for p in found.timeline if p.estimate is not None]
    assert len(drawn) > 20
    for name, svg in charts(page(found)).items():
        size = SIZES[name]
        line, band = points(svg.find("polyline")), points(svg.find("polygon"))
        assert len(line) == len(drawn)
        assert len(band) == 2 * len(drawn)
        for (x, y), (_, high), (_, low) in zip(line, band, reversed(band), strict=False):
            assert 0 <= x <= size.width
            assert 0 <= high <= y <= low <= size.height, "higher values stand higher, and nothing is cut off"
        assert [x for x, _ in line] == sorted(x for x, _ in line)
        texts = [("".join(t.itertext()), float(t.get("x", "")), float(t.get("y", ""))) for t in svg.iter("text")]
        assert all(0 <= x <= size.width and 0 <= y <= size.height for _, x, y in texts)
        said = [text for text, *_ in texts]
        assert said[0] == "ctr relative effect, % of the control's value"
        assert "units first exposed until (UTC)" in said
        [zero] = [line for line in svg.findall("line") if line.get("class") == "zero"]
        [(_, right, label)] = [each for each in texts if each[0] == "no effect"]
        assert abs(label - float(zero.get("y1", ""))) < 20, "at the line that it names"
        assert right < float(zero.get("x1", "")), "beside it, not on a curve"
        labels = [text for text, *_ in texts if text.endswith("%")]
        assert "0%" in labels
        assert len(labels) >= 3


def test_names_are_escaped(found: Result) -> None:
    text = page(found.__class__(**{**vars(found), "experiment": "<b>&", "control": "<i>"}))
    well_formed(text)
    assert "&lt;b&gt;&amp;" in text
    assert "<i>" not in text
    assert "<h1><b>" not in text


def test_a_page_without_result() -> None:
    text = page(read_out(alone(definition(), 0), Tape().play().tally()))
    well_formed(text)
    assert "<p class='note open'><b>No result yet" in text, "not in the colour of a warning"
    assert "there is no interval to draw" in text
    assert not charts(text)
    assert all(row[3].startswith("no result yet: ") for row in rows(text, "effects"))


def test_lists_that_variants_share_have_a_preference() -> None:
    tape = Tape()
    for n in range(300):
        told = tape.add(
            10 * n, "z", "odd", user=f"u{n}", shown="ab", variant="interleaved", picks={"a": "control", "b": "new"}
        )
        tape.add(10 * n + 1, "b" if n % 4 else "a", user=f"u{n}", variant=None, request_id=told)
    text = page(read_out(alone(definition(method="interleave"), 0), tape.play(method="interleave").tally()))
    well_formed(text)
    [[lists, units, told]] = rows(text, "checks")
    assert (lists, units) == ("300", "300")
    assert told.startswith("+50.0%, always valid +")
    assert "<h2>Effects</h2>" not in text


def test_one_period_is_a_point_with_its_interval(found: Result) -> None:
    [last] = found.timeline[-1:]
    text = page(replace(found, timeline=(last, replace(last, variant="third"))))
    well_formed(text)
    for svg in charts(text).values():
        assert svg.find("polygon") is None
        assert svg.find("polyline") is None
        dots = svg.findall("circle")
        assert len({dot.get("cx") for dot in dots}) == 2
        bars = [w for w in svg.findall("line") if "whisker" in w.get("class", "") and w.get("x1") == w.get("x2")]
        for dot, bar in zip(dots, bars, strict=True):
            assert float(bar.get("y2", "")) < float(dot.get("cy", "")) < float(bar.get("y1", ""))


def test_harm_keeps_the_colour_of_a_warning_and_nothing_is_left_out_on_narrow_pages(found: Result) -> None:
    text = page(replace(found, decision="harm"))
    assert "<p class='note'><b>" in text
    style = text.partition("<style>")[2].partition("</style>")[0]
    hidden = [rule for rule in style.split("}") if "display: none" in rule]
    assert not any("effects" in rule or "once" in rule for rule in hidden)


def test_guardrails_say_at_which_level_each_is_judged(found: Result) -> None:
    assert "each of 1 is judged at 0.05, so that in 95% of experiments" in page(found)
    two = (Guardrail(metric="hr@20", margin=0.1), Guardrail(metric="ctr", margin=0.1))
    experiment = alone(definition(guardrails=two), 0)
    assert "each of 2 is judged at 0.025" in page(read_out(experiment, Tape().play().tally()))


def test_events_that_count_for_no_list_are_told(found: Result) -> None:
    assert "count for none" not in page(found)
    assert "which count for none: 7." in page(replace(found, unattributed=7))


def test_names_the_correction(found: Result) -> None:
    assert "(Holm)" in page(found)
    assert "(Benjamini and Hochberg)" in page(replace(found, correction="bh"))


def test_what_is_not_counted_is_told_also_of_lists_that_variants_share(found: Result) -> None:
    nothing = read_out(alone(definition(method="interleave"), 0), Tape().play(method="interleave").tally())
    assert "not counted" not in page(nothing)
    assert "several variants" not in page(nothing)
    for result in (nothing, found):
        text = page(replace(result, lost=5, unattributed=7, mixed=3))
        well_formed(text)
        for said in ("for too many strangers, or they name no variant of it: 5.", "count for none: 7.", "left out: 3."):
            assert said in text


def test_bands_of_several_variants_are_said_not_to_be_adjusted(found: Result) -> None:
    """Otherwise the chart would say what the verdict denies."""
    assert "Where the band leaves out zero, there is an effect" in page(found)
    two = (*found.timeline, *(replace(p, variant="third") for p in found.timeline))
    text = page(replace(found, timeline=two))
    assert "there is an effect" not in text
    assert "not adjusted for the number of variants" in text


def test_changed_proportions_and_what_they_cost_are_told(found: Result) -> None:
    assert "Proportions were changed" not in page(found)
    text = page(replace(found, since=1, changes=1, alpha=0.0076))
    assert "Proportions were changed once: what was found since then is judged at 0.0076" in text
    assert "Proportions were changed 3 times" in page(replace(found, since=3, changes=3))
