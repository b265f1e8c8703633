"""Where rows come from: plain, ``.gz`` and ``.zip`` files and folders, read as a stream of lines of bounded length."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from fnmatch import fnmatch
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from online_models.errors import InputError

BLOCK = 1 << 18
MAX_LINE = 8 << 20
"""Longest line that is read, in bytes; a longer one is handed over as `OVERLONG`. Keeps memory bounded on any input."""

OVERLONG = "\0line too long\0"
"""Stands for a line longer than `MAX_LINE`. No format reads it as a row."""

_UNPACK = {
    ".xlsx": "save the sheet as CSV",
    ".xls": "save the sheet as CSV",
    ".7z": "unpack it first",
    ".tar": "unpack it first",
    ".tgz": "unpack it first",
    ".rar": "unpack it first",
}


class Source:
    """One file of a data set. ``size`` is in bytes as stored, ``position`` how far reading has come."""

    def __init__(self, path: Path, member: str | None = None, size: int = 0) -> None:
        self.path, self.member, self.size, self.position = path, member, size, 0
        self.label = f"{path}:{member}" if member else str(path)

    def lines(self) -> Iterator[str]:
        """Lines without their ends. Bytes that are not UTF-8 become surrogates, so only rows that use them fail."""
        return split_lines(self._blocks())

    @cached_property
    def head(self) -> list[str]:
        """The first lines that are not blank: enough to recognise a layout."""
        head = list(islice((line for line in self.lines() if line.strip()), 16))
        self.position = 0
        return head

    def is_text(self) -> bool:
        """Whether the first line can be text: accents in another encoding do no harm, a NUL does."""
        return not self.head or self.head[0] is OVERLONG or "\0" not in self.head[0]

    def _blocks(self) -> Iterator[bytes]:
        self.position = 0
        try:
            with ExitStack() as stack:
                stream, position = self._open(stack)
                while block := stream.read(BLOCK):
                    self.position = position() if position else self.position + len(block)
                    yield block
        except (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
            raise InputError(
                f"a readable file {self.label}", str(error) or type(error).__name__, "fetch it again or unpack it"
            ) from error

    def _open(self, stack: ExitStack) -> tuple[BinaryIO | io.BufferedIOBase, Callable[[], int] | None]:
        raw = stack.enter_context(self.path.open("rb"))
        if self.member is not None:
            archive = stack.enter_context(zipfile.ZipFile(raw))
            return stack.enter_context(archive.open(self.member)), None  # type: ignore[return-value]
        if self.path.suffix == ".gz":
            return stack.enter_context(gzip.GzipFile(fileobj=raw)), raw.tell
        return raw, None


def split_lines(blocks: Iterator[bytes]) -> Iterator[str]:
    r"""Lines of a stream of blocks, cut at ``\n`` and ``\r\n`` only; a byte order mark at the start is dropped.

    >>> list(split_lines(iter([b"\xef\xbb\xbfa,b\r", b"\nc", b",d"])))
    ['a,b', 'c,d']
    """
    rest, overlong = b"", False
    first = True
    for block in blocks:
        if first:
            block, first = block.removeprefix(b"\xef\xbb\xbf"), False
        end = block.rfind(b"\n")
        if end < 0:
            rest = b"" if overlong else rest + block
            overlong = overlong or len(rest) > MAX_LINE
            continue
        if overlong:
            yield OVERLONG
            start = block.index(b"\n")
            whole, overlong = block[start + 1 : end], False
            rest, empty = block[end + 1 :], start == end
            if empty:
                continue
        else:
            whole, rest = rest + block[:end], block[end + 1 :]
        text = whole.decode("utf-8", "surrogateescape")
        if "\r" in text:
            text = (text + "\n").replace("\r\n", "\n")[:-1]
        yield from text.split("\n")
    if overlong:
        yield OVERLONG
    elif rest:
        yield rest.decode("utf-8", "surrogateescape").removesuffix("\r")


def find_sources(paths: Sequence[Path], patterns: Sequence[str]) -> list[Source]:
    """The files that ``paths`` stand for; of a folder or an archive, those whose names fit ``patterns``.

    Raises InputError for a path that is not there, holds no such file, or is of a kind that is not read.
    """
    return [source for path in paths for source in _expand(path, patterns)]


def _expand(path: Path, patterns: Sequence[str]) -> list[Source]:
    if not path.exists():
        raise InputError("a file or folder", f"nothing at {path}", "check the path")
    kind = ".tar" if path.name.endswith(".tar.gz") else path.suffix.lower()
    if kind in _UNPACK:
        raise InputError("text, .gz or .zip", f"{path}", _UNPACK[kind])
    if path.is_dir():
        return [Source(p, size=p.stat().st_size) for p in _fitting(path, sorted(path.iterdir()), patterns)]
    if kind == ".zip":
        return _zipped(path, patterns)
    return [Source(path, size=path.stat().st_size)]


def _fitting(folder: Path, files: list[Path], patterns: Sequence[str]) -> list[Path]:
    stems = [(file, file.name.removesuffix(".gz")) for file in files if file.is_file()]
    found = [file for file, stem in stems if any(fnmatch(stem, pattern) for pattern in patterns)]
    if not found:
        raise InputError(f"a file {' or '.join(patterns)} in {folder}", "none", "name the file itself")
    return found


def _zipped(path: Path, patterns: Sequence[str]) -> list[Source]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX")]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"a zip archive {path}", str(error), "fetch it again") from error
    fitting = [m for m in members if any(fnmatch(m.filename.rsplit("/", 1)[-1], pattern) for pattern in patterns)]
    chosen = fitting or (members if len(members) == 1 else [])
    if not chosen:
        names = ", ".join(m.filename for m in members[:8])
        raise InputError(f"a file {' or '.join(patterns)} in {path}", names or "an empty archive", "unpack it first")
    return [Source(path, m.filename, m.file_size) for m in sorted(chosen, key=lambda m: m.filename)]
