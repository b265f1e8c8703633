"""Recorded event logs: JSON Lines (plain or .gz) or Parquet, read line by line in constant memory.

Lines come as raw bytes: what is wrong with one is for `streams.validate` to say.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from online_models.errors import InputError

Progress = Callable[[int], None]
"""Called now and then with the bytes of the file that have been read."""

_EVERY = 256


def size(path: str) -> int | None:
    """Bytes of the file, for a progress bar; None for standard input."""
    return None if path == "-" else Path(path).stat().st_size if Path(path).is_file() else None


def read(path: str, progress: Progress | None = None) -> Iterator[bytes]:
    """The log's records in order, one bytes object each, blank lines left out. ``-`` reads standard input.

    Raises InputError where the file is missing, is not what its name says, or ends in the middle of a compressed block.
    """
    if path == "-":
        return _lines(sys.stdin.buffer, lambda: 0, None, "standard input")
    file = Path(path)
    if not file.is_file():
        raise InputError("a recorded log", f"no file at {path}", "check the path, or make a log with `headrace import`")
    if file.suffix == ".parquet":
        return _parquet(file, progress)
    return _text(file, progress)


def _text(file: Path, progress: Progress | None) -> Iterator[bytes]:
    with file.open("rb") as raw:
        if file.suffix == ".gz":
            with gzip.open(raw) as unpacked:
                yield from _lines(unpacked, raw.tell, progress, str(file))
        else:
            yield from _lines(raw, raw.tell, progress, str(file))


def _lines(stream: IO[bytes] | gzip.GzipFile, tell: Callable[[], int], progress: Progress | None, name: str) -> Iterator[bytes]:
    try:
        for n, line in enumerate(stream):
            if progress is not None and n % _EVERY == 0:
                progress(tell())
            record = line.strip()
            if record:
                yield record
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"a whole gzip file at {name}", str(error), "copy the file again, or cut off its damaged end") from error
    if progress is not None:
        progress(tell())


def _parquet(file: Path, progress: Progress | None) -> Iterator[bytes]:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError("pyarrow, to read Parquet", "no such package", "run `pip install 'headrace[parquet]'`") from error
    encode = msgspec.json.Encoder().encode
    try:
        table: Any = pq.ParquetFile(file)
    except Exception as error:
        raise InputError(f"a Parquet file at {file}", str(error).splitlines()[0], "check the file") from error
    total, done = table.metadata.num_rows or 1, 0
    for batch in table.iter_batches(batch_size=4096):
        for row in batch.to_pylist():
            yield encode({k: v for k, v in row.items() if v is not None})
        done += batch.num_rows
        if progress is not None:
            progress(int(file.stat().st_size * done / total))
