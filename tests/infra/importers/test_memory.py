"""Memory does not grow with the input: a stream that is made while it is read, sorted on disk."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from infra.importers.engine import import_log
from infra.importers.formats import formats
from infra.importers.sources import Source


class Rows(io.RawIOBase):
    """A Taobao file of ``count`` rows in disorder that nobody holds."""

    def __init__(self, count: int) -> None:
        self.left, self.rest = count, b""

    def read(self, size: int = -1) -> bytes:
        while len(self.rest) < size and self.left:
            self.left -= 1
            self.rest += b"%d,%d,1,pv,%d\n" % (self.left, self.left % 97, 1511544070 + self.left * 7919 % 500_000)
        block, self.rest = self.rest[:size], self.rest[size:]
        return block


def peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> int:
    def opened(self: Source, stack: object) -> tuple[Any, None]:
        return Rows(count), None

    monkeypatch.setattr(Source, "_open", opened)
    monkeypatch.setattr("infra.importers.sources.BLOCK", 1 << 12)
    (tmp_path / "in").write_text("")
    tracemalloc.start()
    try:
        tally = import_log(formats()["taobao"], [tmp_path / "in"], tmp_path / "log", memory=200_000)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert tally.kept == count
    assert tally.runs > 3
    return used


def test_memory_is_constant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.importers.sorted_log._FAN_IN", 4)
    monkeypatch.setattr("infra.importers.sorted_log._BUFFER", 1 << 14)
    small, large = (peak(tmp_path, monkeypatch, count) for count in (5_000, 50_000))
    assert large < small * 1.25
