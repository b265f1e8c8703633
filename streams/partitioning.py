"""The partition of a key, as Kafka's standard partitioner has it; without a Kafka client, for whoever only reads what one has fetched."""

from __future__ import annotations

import struct
from functools import lru_cache

_MASK = 0xFFFFFFFF
_SEED, _MULTIPLIER, _SHIFT = 0x9747B28C, 0x5BD1E995, 24
"""Those of Kafka."""


@lru_cache(maxsize=1 << 17)
def key_hash(key: bytes) -> int:
    """What Kafka's standard partitioner takes modulo the number of partitions (kept: murmur2 in Python takes a while).

    >>> key_hash(b"ada") % 4 == key_hash(b"ada") % 4
    True
    """
    return murmur2(key) & 0x7FFFFFFF


def murmur2(key: bytes) -> int:
    """32 bits: MurmurHash2 (Appleby, 2008) of the key, words little-endian.

    >>> hex(murmur2(b"ada"))
    '0x92ac648d'
    """
    whole = len(key) & ~3
    found = _SEED ^ len(key)
    for (word,) in struct.iter_unpack("<I", key[:whole]):
        word = word * _MULTIPLIER & _MASK
        word ^= word >> _SHIFT
        found = (found * _MULTIPLIER ^ word * _MULTIPLIER) & _MASK
    if rest := key[whole:]:
        found = (found ^ int.from_bytes(rest, "little")) * _MULTIPLIER & _MASK
    found = (found ^ found >> 13) * _MULTIPLIER & _MASK
    return found ^ found >> 15
