"""Random draws that are a function of a key, so that a replay, a second worker and a repeated delivery draw the same.

A key is 64 bits, usually ``hash_id`` (`online_models/items.py`) of seed, experiment and event id.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1


def bits(key: int, n: int = 0) -> int:
    """The n-th 64 bits that belong to a key: splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014), entered at the n-th step.

    >>> bits(7) == bits(7), bits(7) == bits(8), bits(7) == bits(7, 1)
    (True, False, False)
    """
    x = (key + (n + 1) * 0x9E3779B97F4A7C15) & _MASK
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _MASK
    return x ^ (x >> 31)


def uniform(key: int, n: int = 0) -> float:
    """The n-th number of a key in [0, 1), a multiple of 2⁻⁵³.

    >>> 0.0 <= uniform(7) < 1.0
    True
    """
    return (bits(key, n) >> 11) * 2.0**-53
