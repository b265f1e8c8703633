"""Links between the pages lead somewhere, and files that a page names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FOLDERS = r"(?:streams|online_models|offline|infra|tests|docs)/"
EXAMPLES = {"online_models/trending.py", "tests/online_models/test_trending.py"}
"""Files that CONTRIBUTING.md tells the reader to make."""


def text_of(path: Path) -> str:
    return re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for link in re.findall(r"\]\(([^)]+)\)", text_of(path)):
        if re.match(r"https?:", link):
            continue
        target, _, anchor = link.partition("#")
        found = (path.parent / target) if target else path
        assert found.exists(), f"{page}: {link}"
        assert not anchor or anchor in anchors(found), f"{page}: {link}: {sorted(anchors(found))}"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    named = re.findall(rf"`({FOLDERS}[\w./-]*)`", text_of(ROOT / page))
    assert [name for name in named if not (ROOT / name).exists() and name not in EXAMPLES] == []


def test_anchors_are_made_as_readers_see_them(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# One, two\n```sh\n# no heading\n```\n### `[pipeline.sessions]`\n")
    assert anchors(page) == {"one-two", "pipelinesessions"}
