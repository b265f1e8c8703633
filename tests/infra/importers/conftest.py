from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.importers.engine import import_log
from infra.importers.formats import formats
from infra.importers.layout import Options
from infra.importers.tally import Tally

FORMATS = formats()
Import = Callable[..., tuple[list[dict[str, Any]], Tally]]


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a log, packed or not."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.splitlines()]


@pytest.fixture
def imported(tmp_path: Path) -> Import:
    """Write the given contents to files, import them as one data set, and read the log back."""

    def run(
        name: str, *contents: str | bytes, suffix: str = ".csv", memory: int = 1 << 20, **options: Any
    ) -> tuple[list[dict[str, Any]], Tally]:
        paths = []
        for number, content in enumerate(contents):
            paths.append(tmp_path / f"source{number}{suffix}")
            paths[-1].write_bytes(content.encode() if isinstance(content, str) else content)
        log = tmp_path / "log.jsonl"
        tally = import_log(FORMATS[name], paths, log, Options(**options), memory=memory)
        return read_log(log), tally

    return run
