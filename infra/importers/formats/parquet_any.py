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
    files=("*.parquet",),
    layouts=_layouts,
    takes=("map", "time_format", "event_type"),
)
