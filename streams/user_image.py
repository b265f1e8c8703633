"""A user's state as it is stored: its image in bytes, with item ids in the place of rows."""

from __future__ import annotations

import msgspec

VERSION = 1

OLDER = 20
"""Items of a session that are taken over from a state that was stored before there was a sequence."""


class Image(msgspec.Struct, array_like=True):
    """A user's whole state at one moment, with item ids spelt out."""

    v: int
    partition: int
    offset: int
    items: list[str]
    own: bytes
    vector: bytes
    numbers: list[int]
    last_item: str
    last_type: str
    session_id: str | None
    types: dict[str, int]
    value: float | None
    context: dict[str, str]
    intent: float
    sequence: list[str] | None = None


encode_image = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Image).decode


def remembered(sequence: list[int]) -> list[int]:
    """Rows of a session without those that the item table has forgotten (-1). An item that follows itself only because of that stands
    there once; one that did so in the session stays."""
    if min(sequence, default=0) >= 0:
        return sequence
    kept = [n for n, row in enumerate(sequence) if row >= 0]
    last = [-1, *kept]
    return [
        sequence[n]
        for before, n in zip(last, kept, strict=False)
        if before in (-1, n - 1) or sequence[before] != sequence[n]
    ]


def decode_image(raw: bytes) -> Image:
    """Raises ValueError or msgspec.DecodeError on what is no image of ours."""
    image = _decode(raw)
    if image.v != VERSION:
        raise ValueError(f"expected an image of version {VERSION}, got {image.v}")
    return image
