"""Any delimited text, by a column mapping."""

from __future__ import annotations

from ..column_map import ColumnMap
from ..layout import Format, Layout, Options
from ..tables import Table


def _layouts(options: Options) -> tuple[Layout, ...]:
    """One layout a delimiter that may be meant."""
    columns = ColumnMap(options.columns, options.time_format or "auto", options.event_type)
    convert = columns.convert()
    return tuple(
        Table(
            columns.required,
            convert,
            names=options.names,
            delimiter=delimiter,
            quotes=len(delimiter) == 1,
            optional=columns.optional,
            guessed=options.delimiter is None,
        )
        for delimiter in ([options.delimiter] if options.delimiter else [",", "\t", ";", "|"])
    )


FORMAT = Format(
    name="csv",
    short="csv",
    summary="any delimited text, by --map",
    files=("*.csv", "*.tsv"),
    layouts=_layouts,
    takes=("map", "columns", "delimiter", "time_format", "event_type"),
    remedy="name its columns with --map FIELD=COLUMN, its separator with --delimiter",
)
