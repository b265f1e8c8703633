"""Arrays in the safetensors layout: eight bytes of length, a JSON header, the raw arrays.

Written by hand, so that nothing is copied. Read by hand where they are float32: so arrays are memory-mapped, and every
offset is checked before it is believed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ArtefactError

Floats = NDArray[np.float32]

DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
"""numpy's name of a type → the layout's."""

MAX_HEADER_BYTES = 1 << 20
_PIECE = 1 << 22
_REMEDY = "fetch it again"


def encoded(arrays: Mapping[str, NDArray[Any]]) -> Iterator[bytes | memoryview]:
    """The file's bytes in pieces of at most 4 MiB; ``arrays`` are contiguous, of `DTYPES`, in the machine's byte order.

    The library's writer copies every array and holds the interpreter lock while it writes; a worker has events to answer.
    """
    header, offset = {}, 0
    # Wide types first, so that every array starts on a multiple of its item size.
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0]))
    for name, array in ordered:
        end = offset + array.nbytes
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": array.shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for _, array in ordered:
        raw = array.reshape(-1).view(np.uint8).data
        for start in range(0, len(raw), _PIECE):
            yield raw[start : start + _PIECE]


def mapped(path: Path) -> dict[str, Floats]:
    """The float32 arrays of a safetensors file, memory-mapped and read-only. Raises ArtefactError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
            raise ArtefactError(f"a safetensors file at {path}", f"a header of {length} in {size} bytes", _REMEDY)
        try:
            header = json.loads(file.read(length))
            found = {}
            for name, entry in header.items():
                if name == "__metadata__":
                    continue
                shape, (start, end) = tuple(map(int, entry["shape"])), entry["data_offsets"]
                count = int(np.prod(shape, dtype=object))
                if entry["dtype"] != "F32" or min(shape, default=0) < 0 or not 0 <= start <= end <= size - 8 - length:
                    raise ValueError(f"{name}: {entry}")
                if end - start != 4 * count:
                    raise ValueError(f"{name}: {end - start} bytes for {count} floats")
                found[name] = _map(path, 8 + length + start, shape)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ArtefactError(f"float32 arrays inside {path}", str(error), _REMEDY) from error
    return found


def _map(path: Path, offset: int, shape: tuple[int, ...]) -> Floats:
    if 0 in shape or not shape:
        raise ValueError(f"an empty array of shape {list(shape)}")
    return np.memmap(path, np.dtype("<f4"), "r", offset, shape)


def checked(weights: Mapping[str, Floats], name: str, *shape: int) -> Floats:
    """A copy, in memory, of an array that must have this shape. Raises KeyError, ValueError."""
    array = weights[name]
    if array.shape != shape:
        raise ValueError(f"{name}: {list(array.shape)} for {list(shape)}")
    return np.array(array)
