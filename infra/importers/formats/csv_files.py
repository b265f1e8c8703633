"""Any delimited text, by a column mapping."""

from __future__ import annotations

from online_models.errors import InputError

from ..column_map import ColumnMap
from ..layout import Format, Options
from ..sources import Source
from ..tables import Table


def _columns(options: Options) -> ColumnMap:
    return ColumnMap(options.columns, options.time_format or "auto", options.event_type)


def _layouts(options: Options) -> tuple[Table, ...]:
    """One layout a delimiter that may be meant."""
    columns = _columns(options)
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


def _refusal(options: Options, source: Source) -> InputError | None:
    """What the file lacks, seen with the delimiter that makes most of its first line."""
    found = max((table.header(source) for table in _layouts(options)), key=len)
    columns = _columns(options)
    remedy = ""
    if options.names is None and not {name.casefold() for name in found} & {n.casefold() for n in columns.required}:
        remedy = ". If the first line is no header: --columns NAME,..."
        remedy += ", and --delimiter TEXT if this is more than one column" if len(found) == 1 else ""
    return columns.refusal(found, source.label, remedy, any_case=True)


FORMAT = Format(
    name="csv",
    short="csv",
    summary="any delimited text, by --map",
    example=(
        "headrace import csv clicks.csv --map user_id=visitor --map item_id=sku \\\n"
        "      --map timestamp=time --event-type click -o log.jsonl.gz"
    ),
    files=("*.csv", "*.tsv"),
    layouts=_layouts,
    refusal=_refusal,
    takes=("map", "columns", "delimiter", "time_format", "event_type"),
    remedy="name its columns with --map FIELD=COLUMN, its separator with --delimiter",
)
