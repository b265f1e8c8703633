"""docs/configuration.md names every setting with its default, and nothing else."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra import settings
from infra.settings import Settings
from tests import rules
from tests.docs.markdown import cells, sections, tables

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "configuration.md").read_text("utf-8")
DEFAULTS: dict[str, Any] = {
    name: json.loads(msgspec.json.encode(getattr(Settings(), name))) for name in ("pipeline", "worker")
}


def tables_of(values: dict[str, Any], path: str) -> dict[str, dict[str, Any]]:
    """TOML table → its keys and defaults, all levels."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    found = {path: plain}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= tables_of(value, f"{path}.{key}")
    return found


EXPECTED = tables_of(DEFAULTS["pipeline"], "pipeline") | tables_of(DEFAULTS["worker"], "worker")


def documented(text: str) -> dict[str, dict[str, str]]:
    """TOML table → its keys and the defaults that the page gives, as written."""
    found: dict[str, dict[str, str]] = {}
    for title, body in sections(text, "###"):
        names = re.findall(r"\[([a-z_.]+)\]", title)
        [table] = tables(body)
        for row in table[1:]:
            key, *defaults, meaning = row
            assert meaning, f"{title}: {key} has no meaning"
            assert len(defaults) == len(names), f"{title}: {key}: expected {len(names)} defaults, got {len(defaults)}"
            for name, default in zip(names, defaults, strict=True):
                found.setdefault(name, {})[code(key)] = code(default)
    return found


def code(cell: str) -> str:
    assert re.fullmatch(r"`[^`]+`", cell), f"expected `code`, got {cell}"
    return cell.strip("`")


def test_every_table_is_documented() -> None:
    assert documented(TEXT).keys() == EXPECTED.keys()


@pytest.mark.parametrize("table", sorted(EXPECTED))
def test_the_table_has_these_settings_and_defaults(table: str) -> None:
    rows = documented(TEXT)[table]
    assert list(rows) == list(EXPECTED[table])
    for key, value in EXPECTED[table].items():
        assert json.loads(rows[key]) == value, f"{table}.{key}: expected `{json.dumps(value)}`"


def test_what_stands_outside_the_tables() -> None:
    head, *rows = tables(next(body for title, body in sections(TEXT, "##") if title == "Where things are"))[0]
    assert head == ["setting", "environment", "flag", "default", "meaning"]
    shown = {code(row[0]): (code(row[1]), code(row[2]), row[3]) for row in rows}
    expected = {name: (s.variable, s.flag) for name, s in settings._SETTINGS.items()}
    assert {name: row[:2] for name, row in shown.items()} == expected
    assert {*shown, "pipeline", "worker"} == set(Settings.__struct_fields__)
    for name in shown.keys() - {"data_dir"}:
        assert json.loads(code(shown[name][2])) == getattr(Settings(), name)


def test_every_setting_is_read_somewhere() -> None:
    """A setting without effect is a promise that is not kept."""
    read = {
        node.attr
        for source in rules.sources(ROOT, ("streams", "infra"))
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
    }
    of_event_types = "pipeline.weights"
    assert [f"{t}.{k}" for t in EXPECTED if t != of_event_types for k in EXPECTED[t] if k not in read] == []


def test_the_example_is_a_settings_file(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "headrace.toml"
    path.write_text(example)
    loaded = settings.load(config=path, environ={})
    assert loaded != Settings()
    assert len(loaded.brokers) == 2


def test_a_drift_is_seen() -> None:
    """Each of the edits that the checks above are there to catch."""
    first = "| `gap_s` | `1800` |"
    assert first in TEXT
    assert documented(TEXT.replace(first, "| `gap` | `1800` |"))["pipeline.sessions"].keys() != {"gap_s"}
    assert documented(TEXT.replace(first, "| `gap_s` | `60` |"))["pipeline.sessions"]["gap_s"] == "60"
    with pytest.raises(AssertionError, match="has no meaning"):
        documented(re.sub(r"(\| `gap_s` \| `1800` \|).*\|", r"\1 |", TEXT))


def test_cells_of_a_row_may_hold_a_bar() -> None:
    assert cells(r"| a \| b | `c` |") == [r"a \| b", "`c`"]
