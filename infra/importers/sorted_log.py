"""A log that comes out sorted by time: a stable external merge sort that costs nothing on sorted input.

Lines that come in order go straight to the output. From the first one that does not, lines are gathered, sorted and
spilled as runs next to the output; at the end the ordered beginning and the runs are merged. Equal times keep the
order in which they came: every run is later in the input than the runs before it, and the merge prefers earlier runs.
"""

from __future__ import annotations

import gzip
import heapq
import io
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

from online_models.errors import InputError

MEMORY = 128 << 20
"""Bytes of lines, with what Python adds to each, that are held before a run is spilled."""

_OVERHEAD = 150
_FAN_IN = 64
_BUFFER = 1 << 20
_PREFIX = len(b'{"timestamp":')

Entry = tuple[int, bytes]


class SortedLog:
    """Write-only log at ``path`` (packed when it ends in ``.gz``) that appears, complete, on `commit` and not before.

    ``add`` takes the time and the line that holds it, whose first field is ``timestamp``. A context manager: whatever
    ends the block, nothing but a committed log stays on the disk. Raises InputError when the log cannot stand there.
    """

    def __init__(self, path: Path, memory: int = MEMORY) -> None:
        if path.suffix == ".parquet":
            raise InputError("a log name ending in .jsonl or .jsonl.gz", path.name, "import writes JSON Lines")
        if not path.parent.is_dir():
            raise InputError("an existing folder for the log", str(path.parent), "create it first")
        if path.exists() and not path.is_file():
            raise InputError("a file name for the log", str(path), "choose another name")
        self.path, self.runs = path, 0
        self._memory, self._folder = memory, Path()
        self._buffer: list[Entry] = []
        self._held = 0
        self._ordered, self._last = True, -(1 << 63)
        self._files: list[Path] = []

    def __enter__(self) -> SortedLog:
        self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
        self._head = self._folder / f"head{self.path.suffix}"
        self._out = _create(self._head)
        self._write = self._out.write
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._out.close()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, timestamp: int, line: bytes) -> None:
        """Take one line (with its newline)."""
        if self._ordered and timestamp >= self._last:
            self._last = timestamp
            self._write(line)
            return
        self._ordered = False
        self._buffer.append((timestamp, line))
        self._held += len(line) + _OVERHEAD
        if self._held > self._memory:
            self._spill()

    def commit(self, progress: Callable[[int], None] = lambda lines: None) -> None:
        """Merge what has to be merged and put the log in its place. ``progress`` is told the lines merged so far."""
        self._out.close()
        if self._ordered:
            self._head.replace(self.path)
            return
        self._buffer.sort(key=itemgetter(0))
        runs = [self._head, *self._files]
        while len(runs) >= _FAN_IN:
            runs = [self._merged(runs[at : at + _FAN_IN]) for at in range(0, len(runs), _FAN_IN)]
        whole = self._folder / f"whole{self.path.suffix}"
        _merge([_entries(run) for run in runs] + [self._buffer], whole, progress)
        whole.replace(self.path)

    def _spill(self) -> None:
        self._buffer.sort(key=itemgetter(0))
        self._files.append(self._new_run())
        with _create(self._files[-1]) as out:
            out.writelines(map(itemgetter(1), self._buffer))
        self._buffer.clear()
        self._held = 0
        self.runs += 1

    def _merged(self, runs: list[Path]) -> Path:
        run = self._new_run()
        _merge([_entries(run) for run in runs], run)
        for used in runs:
            used.unlink()
        return run

    def _new_run(self) -> Path:
        handle, name = tempfile.mkstemp(dir=self._folder, suffix=".run")
        os.close(handle)
        return Path(name)


def _create(path: Path) -> BinaryIO:
    raw = path.open("wb", buffering=_BUFFER)
    return cast(BinaryIO, io.BufferedWriter(_Packed(raw), _BUFFER)) if path.suffix == ".gz" else raw


class _Packed(io.RawIOBase):
    """Gzip with neither name nor time in its header, so that the same lines make the same bytes."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self._pack = raw, zlib.compressobj(6, zlib.DEFLATED, 31)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._raw.write(self._pack.compress(data))
        return len(data)

    def close(self) -> None:
        if not self.closed:
            try:
                super().close()
                self._raw.write(self._pack.flush())
            finally:
                self._raw.close()


def _entries(run: Path) -> Iterator[Entry]:
    """Lines of a run with their times, which stand at a fixed place."""
    with gzip.open(run) if run.suffix == ".gz" else run.open("rb", buffering=_BUFFER) as lines:
        for line in lines:
            yield int(line[_PREFIX : line.index(b",", _PREFIX)]), line


def _merge(runs: Sequence[Iterable[Entry]], path: Path, progress: Callable[[int], None] = lambda lines: None) -> None:
    with _create(path) as out:
        write = out.write
        for count, (_, line) in enumerate(heapq.merge(*runs, key=itemgetter(0))):
            write(line)
            if not count & 4095:
                progress(count)
