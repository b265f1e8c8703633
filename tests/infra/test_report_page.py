"""The page of a replay's report: the names of the report, round ticks, thick lines for what matters, nothing from outside."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from infra.cli.replay import command
from infra.figures import FIGURES, LISTS
from infra.replay_report import notes
from infra.web.chart import SIZES, means, points, ticks
from infra.web.report import page
from tests.docs.markdown import sections, tables
from tests.worlds import shop_log

VOID = {"meta", "wbr"}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("page")
    log = folder / "a<b>.jsonl"
    log.write_bytes(b"\n".join(map(msgspec.json.encode, shop_log(1_000))) + b"\n")
    result = CliRunner().invoke(command, [str(log), "--report", str(folder / "r.json")])
    assert result.exit_code == 0, result.output
    loaded: dict[str, Any] = json.loads((folder / "r.json").read_text("utf-8"))
    assert (folder / "r.html").read_text("utf-8") == page(loaded, notes(loaded))
    return loaded


def charts(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text)]  # noqa: S314


def lines_of(svg: ElementTree.Element) -> dict[str, str]:
    """Name of each line → its class."""
    return {line.findtext("title") or "": line.get("class", "") for line in svg.iter("polyline")}


def test_is_well_formed_and_stands_alone(report: dict[str, Any]) -> None:
    class Parser(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert not {"src", "href"} & dict(attrs).keys()
            if tag not in VOID:
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag == "line"

    text = page(report)
    parser = Parser()
    parser.feed(text)
    assert not parser.open
    assert "a&lt;b&gt;.jsonl" in text
    assert "<b>.jsonl" not in text
    assert not re.search(r"https?://|url\(|@import|<script", text)


def test_table_and_curves_call_a_list_by_one_name(report: dict[str, Any]) -> None:
    text = page(report)
    quality = text.partition("<h2>Quality of each list</h2>")[2].partition("</table>")[0]
    rows = [re.sub("<[^>]+>", "", row.partition("</td>")[0]) for row in re.split("<tr[^>]*>", quality)[2:]]
    assert rows[:2] == list(LISTS.values())
    silent = {"category", "deep"}
    assert set(report["by_source"]) - set(rows[2:]) == silent, "no catalogue and no version: no rows of zeros"
    assert "<b>deep</b>: never named an item" in text
    assert all(name in quality.replace("<wbr>", "") for name in FIGURES.values())
    key = re.findall(r"</i>([^<]+)</li>", text)
    for svg in charts(text):
        assert list(lines_of(svg)) == key[::-1]
        assert key == [name for name in rows if name in key]


def test_fresh_and_served_stand_out(report: dict[str, Any]) -> None:
    for svg in charts(page(report)):
        lines = lines_of(svg)
        assert {name for name, style in lines.items() if "thick" in style} == set(LISTS.values())
        assert list(lines)[-1] == "fresh (blend)"  # drawn last, on top
        assert len({style.split()[0] for style in lines.values()}) == len(lines)


def test_each_chart_has_round_ticks_and_units_at_both_sizes(report: dict[str, Any]) -> None:
    drawn = charts(page(report))
    assert [svg.get("class") for svg in drawn] == list(SIZES) * 2
    for svg in drawn:
        size = SIZES[svg.get("class", "")]
        texts = [("".join(text.itertext()), float(text.get("x", ""))) for text in svg.iter("text")]
        words = [text for text, _ in texts if not re.fullmatch(r"[\d.,]+", text)]
        assert words[-1] == "events played"
        assert words[0] in ("HR@20 share of moments with a hit", "NDCG@20 mean over moments, 1 is a perfect order")
        assert all(0 <= x <= size.width for _, x in texts)
        numbers = [text.replace(",", "") for text, _ in texts if text not in words]
        assert len(numbers) >= 6
        for number in numbers:
            assert len(number.replace(".", "").strip("0")) <= 2, f"{number} is not round"
        for line in svg.iter("polyline"):
            for point in (line.get("points") or "").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= size.width
                assert 0 <= y <= size.height


@pytest.mark.parametrize(("low", "high"), [(0, 0.0031), (0, 0.87), (0, 1), (4_548, 19_839), (280_000, 1_400_001)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high, 5)
    assert 3 <= len(found) <= 8
    assert low <= found[0] <= found[-1] <= high
    assert np.ptp(np.diff(found)) < 1e-9 * high
    assert f"{found[1] - found[0]:e}"[0] in "125"


def test_every_judged_moment_is_in_one_stretch(report: dict[str, Any]) -> None:
    stretches = points(report)
    assert (stretches[0].event, stretches[0].scored) == (200, 0)
    assert (stretches[-1].event, stretches[-1].scored) == (1_000, report["scored"])
    sizes = np.diff([point.scored for point in stretches])
    assert sizes.min() * 2 >= sizes.max() * 0.66
    for key, metric in (("blend", "hr@20"), ("served", "ndcg@20")):
        figures = report["metrics"] if key == "blend" else report["served"]
        assert np.average(means(stretches, key, metric), weights=sizes) == pytest.approx(figures[metric], abs=1e-5)
    [said] = re.findall(r"mean over the (\d+) or so moments judged", page(report))
    assert int(said) == sizes[0]


def test_every_field_of_the_report_is_documented(report: dict[str, Any]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "records.md").read_text("utf-8")
    [table] = tables(dict(sections(text, "##"))["Report of a replay"])
    named = [name for row in table[1:] for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(report)


def test_a_short_log_has_no_curve_but_a_page(report: dict[str, Any]) -> None:
    text = page(report | {"curve": report["curve"][:1], "scored": report["curve"][0]["scored"]})
    assert "Too few moments were judged for a curve." in text
    assert not charts(text)


def test_notes_and_refused_records_are_shown(report: dict[str, Any], tmp_path: Path) -> None:
    refused = {"rejected": {"not_json": 1_234}, "rejected_first_line": {"not_json": 7}}
    text = page(report | refused, ["only <3> moments"])
    assert "<p class='note'>only &lt;3&gt; moments</p>" in text
    assert "<td>not_json</td><td>1,234</td><td>7</td>" in text
    assert "class='note'" not in page(report)


def test_what_the_detectors_found_is_shown_the_newest_of_many(report: dict[str, Any]) -> None:
    assert "Changes found" not in page(report | {"drifts": []})
    drift = {"figure": "hr@20 <knn>", "before": 0.4, "after": 0.2, "worse": True, "timestamp": 1_400_000_000_000}
    text = page(report | {"drifts": [drift | {"before": n / 100} for n in range(30)]})
    assert "<td>2014-05-13</td><td>hr@20 &lt;knn&gt;</td><td>0.2900</td><td>0.2000</td><td>worse</td>" in text
    assert "The last 20 of 30." in text
    assert text.count("&lt;knn&gt;") == 20
