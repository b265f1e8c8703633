"""Any JSON Lines, one event a line, by a column mapping; a column may be a path (``user.id``) into nested objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..column_map import ColumnMap
from ..json_lines import JsonLines, lookup
from ..layout import Format, Layout, Options
from ..rows import BadRow


def _layouts(options: Options) -> tuple[Layout, ...]:
    columns = ColumnMap(options.columns, options.time_format or "auto", options.event_type)
    order = columns.required + columns.optional

    def expand(record: dict[str, Any]) -> Iterator[Sequence[Any] | BadRow]:
        yield [lookup(record, column) for column in order]

    return (JsonLines(columns.keys, expand, columns.convert()),)


FORMAT = Format(
    name="jsonl",
    short="jl",
    summary="any JSON Lines, by --map",
    files=("*.jsonl", "*.ndjson"),
    layouts=_layouts,
    takes=("map", "time_format", "event_type"),
    remedy="name its keys with --map FIELD=KEY",
)
