"""Recorded event logs: JSON Lines (plain or gzip) or Parquet, read record by record in constant memory.

Records come as raw bytes: what is wrong with one is for `streams.validate` to say. The first bytes of a
file tell what it is.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import msgspec

from online_models.errors import InputError

from .contracts.events import MAX_RECORD_BYTES

Progress = Callable[[int], None]
"""Called now and then with the bytes of the file that have been read (compressed ones, if it is)."""

MAX_LINE_BYTES = 8 * MAX_RECORD_BYTES
"""What is longer comes cut off here: it is refused as too large all the same, and memory stays bounded."""

REQUIRED = ("timestamp", "user_id", "item_id", "event_type")

_EVERY = 256
_GZIP, _PARQUET, _BOM = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf"


def size(path: str) -> int | None:
    """Bytes of the file, for a progress bar; None for standard input and pipes."""
    return Path(path).stat().st_size if path != "-" and Path(path).is_file() else None


def read(path: str, progress: Progress | None = None) -> Iterator[bytes]:
    """The log's records in order, one bytes object each, blank lines left out. ``-`` reads standard input.

    Raises InputError where the file is missing, is not what its name says, or ends in the middle of a compressed block.
    """
    if path == "-":
        return _lines(sys.stdin.buffer, lambda: 0, progress, "standard input")
    file = Path(path)
    if not file.exists() or file.is_dir():
        found = f"a folder at {path}" if file.is_dir() else f"no file at {path}"
        raise InputError("a recorded log", found, "check the path, or make a log with `headrace import`")
    return _file(file, progress)


def _file(file: Path, progress: Progress | None) -> Iterator[bytes]:
    try:
        raw = file.open("rb")
    except OSError as error:
        raise InputError(
            "a readable log", f"{file} ({error.strerror})", "check the path and its permissions"
        ) from error
    with raw:
        if file.suffix == ".parquet" or raw.peek(4)[:4] == _PARQUET:
            yield from _parquet(file, progress)
        elif file.suffix == ".gz" and raw.peek(2)[:2] != _GZIP:
            raise InputError(
                f"a gzip file at {file}", "something else", "take .gz off its name, or copy the file again"
            )
        else:
            yield from _lines(raw, raw.tell if raw.seekable() else lambda: 0, progress, str(file))


def _lines(raw: IO[bytes], tell: Callable[[], int], progress: Progress | None, name: str) -> Iterator[bytes]:
    start: bytes = raw.peek(3)[:3]  # type: ignore[attr-defined]
    stream = gzip.GzipFile(fileobj=raw) if start[:2] == _GZIP else raw
    skipping = False
    try:
        for number, line in enumerate(iter(partial(stream.readline, MAX_LINE_BYTES), b"")):
            if progress is not None and number % _EVERY == 0:
                progress(tell())
            record = line.strip() if number else line.removeprefix(_BOM).strip()
            if record and not skipping:
                yield record
            skipping = not line.endswith(b"\n") and len(line) == MAX_LINE_BYTES
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        remedy = "copy the file again, or cut off its damaged end"
        raise InputError(f"a whole gzip file at {name}", str(error), remedy) from error
    finally:
        if stream is not raw:
            stream.close()
    if progress is not None:
        progress(tell())


def _parquet(file: Path, progress: Progress | None) -> Iterator[bytes]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        remedy = "run `pip install 'headrace[parquet]'`"
        raise InputError("pyarrow, to read Parquet", "no such package", remedy) from error
    encode = msgspec.json.Encoder().encode
    try:
        with pq.ParquetFile(file) as table:
            missing = [column for column in REQUIRED if column not in table.schema_arrow.names]
            if missing:
                found = f"none named {', '.join(missing)} in {file}"
                raise InputError(
                    f"columns {', '.join(REQUIRED)}", found, "map the columns with `headrace import parquet`"
                )
            total, done = table.metadata.num_rows or 1, 0
            for batch in table.iter_batches(batch_size=4096):
                for row in _in_milliseconds(batch, pa).to_pylist():
                    if isinstance(row.get("context"), str):
                        row["context"] = msgspec.Raw(row["context"].encode())  # JSON text, as the archive has it
                    yield encode({name: value for name, value in row.items() if value is not None})[:MAX_LINE_BYTES]
                done += batch.num_rows
                if progress is not None:
                    progress(int(file.stat().st_size * done / total))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"a Parquet file at {file}", str(error).splitlines()[0], "check the file") from error


def _in_milliseconds(batch: Any, pa: Any) -> Any:
    """The batch with its column ``timestamp`` as integers, if it is of one of Parquet's own time types."""
    at = batch.schema.get_field_index("timestamp")
    if not pa.types.is_timestamp(batch.schema.field(at).type):
        return batch
    column = batch.column(at).cast(pa.timestamp("ms"), safe=False).cast(pa.int64())
    return batch.set_column(at, "timestamp", column)
