"""Any Parquet file, by a column mapping."""

from __future__ import annotations

from ..column_map import ColumnMap
from ..layout import Format, Layout, Options
from ..parquet_files import Parquet


def _layouts(options: Options) -> tuple[Layout, ...]:
    columns = ColumnMap(options.columns, options.time_format or "auto", options.event_type)
    return (Parquet(columns.required, columns.convert(), columns.optional, columns.refusal),)


FORMAT = Format(
    name="parquet",
    short="pq",
    summary="any Parquet file, by --map (needs pyarrow)",
    example=(
        "headrace import parquet clicks.parquet --map user_id=visitor --map item_id=sku \\\n"
        "      --map timestamp=time --event-type click -o log.jsonl.gz"
    ),
    files=("*.parquet",),
    layouts=_layouts,
    takes=("map", "time_format", "event_type"),
)
