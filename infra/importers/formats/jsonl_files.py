"""Any JSON Lines, one event a line, by a column mapping; a column may be a path (``user.id``) into nested objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from online_models.errors import InputError

from ..column_map import ColumnMap
from ..json_lines import JsonLines, keys_of, lookup
from ..layout import Format, Layout, Options
from ..rows import BadRow
from ..sources import Source


def _columns(options: Options) -> ColumnMap:
    return ColumnMap(options.columns, options.time_format or "auto", options.event_type)


def _layouts(options: Options) -> tuple[Layout, ...]:
    columns = _columns(options)
    order = columns.required + columns.optional

    def expand(record: dict[str, Any]) -> Iterator[Sequence[Any] | BadRow]:
        yield [lookup(record, column) for column in order]

    return (JsonLines(columns.keys, expand, columns.convert()),)


def _refusal(options: Options, source: Source) -> InputError | None:
    keys = keys_of(source)
    return _columns(options).refusal(keys, source.label) if keys else None


FORMAT = Format(
    name="jsonl",
    short="jl",
    summary="any JSON Lines, by --map",
    example=(
        "headrace import jsonl clicks.jsonl --map user_id=visitor --map item_id=sku \\\n"
        "      --map timestamp=time --event-type click -o log.jsonl.gz"
    ),
    files=("*.jsonl", "*.ndjson"),
    layouts=_layouts,
    refusal=_refusal,
    takes=("map", "time_format", "event_type"),
    remedy="name its keys with --map FIELD=KEY",
)
