"""Parquet by way of pyarrow, which is optional: read a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from offline.arrow import arrow
from online_models.errors import InputError

from .rows import Convert, Rows
from .sources import Source

_BATCH = 8192


@dataclass(frozen=True)
class Parquet:
    """A layout of Parquet columns; typed times reach ``convert`` as milliseconds. Absent ``optional`` ones are None.

    ``refusal`` says what is wrong with a file that has the given columns and lacks some of ours (see `ColumnMap`).
    """

    columns: tuple[str, ...]
    convert: Convert
    optional: tuple[str, ...] = ()
    refusal: Callable[[Sequence[str], str], InputError | None] | None = None

    @property
    def expected(self) -> str:
        """What a file of this layout looks like, for people."""
        return f"a Parquet file with columns {', '.join(self.columns)}"

    def score(self, source: Source) -> int:
        """1 when every wanted column is there, else InputError with the columns that are."""
        with open_parquet(source) as file:
            names = file.schema_arrow.names
        if self.refusal and (refusal := self.refusal(names, source.label)):
            raise refusal
        if missing := [column for column in self.columns if column not in names]:
            raise InputError(self.expected, f"none named {', '.join(missing)} in {source.label}", "check the path")
        return 1

    def rows(self, source: Source) -> Rows:
        """Cells of every row, with row numbers from 1."""
        with open_parquet(source) as file:
            total, number = max(1, file.metadata.num_rows), 0
            for batch in _batches(file, self.columns + self.optional):
                for cells in zip(*batch, strict=True):
                    number += 1
                    yield number, cells
                source.position = source.size * number // total


def open_parquet(source: Source) -> Any:
    """The file as ``pyarrow.parquet.ParquetFile``. Raises InputError when it, or pyarrow, is not there."""
    pyarrow = arrow()
    if source.member is not None:
        raise InputError("a plain Parquet file", source.label, "unpack it first")
    try:
        return pyarrow.parquet.ParquetFile(source.path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"a Parquet file {source.label}", str(error).split("\n")[0], "check the path") from error


def _batches(file: Any, columns: tuple[str, ...]) -> Iterator[list[list[Any]]]:
    """Columns of each batch as lists, in the order asked for."""
    names = set(file.schema_arrow.names)
    wanted = [column for column in columns if column in names]
    for batch in file.iter_batches(batch_size=_BATCH, columns=sorted(set(wanted))):
        yield [_values(batch, column) if column in names else [None] * batch.num_rows for column in columns]


def _values(batch: Any, column: str) -> list[Any]:
    import pyarrow

    values = batch.column(column)
    if pyarrow.types.is_decimal(values.type):
        values = values.cast(pyarrow.float64())
    if pyarrow.types.is_date(values.type):
        values = values.cast(pyarrow.timestamp("ms"))
    if pyarrow.types.is_timestamp(values.type):
        values = values.cast(pyarrow.timestamp("ms", tz=values.type.tz), safe=False).cast(pyarrow.int64())
    cells: list[Any] = values.to_pylist()
    return cells
