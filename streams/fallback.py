"""Where the sources name too few: the kept lists of popularity, then the newest rows, then anything that may be listed.

What is looked at does not depend on how many items there are, except where everything looked at so far may not be listed
and the list would be empty: then one byte a row is searched for the first item that may.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from online_models.base import IntArray

from .filters import DENIED, FOR_ALL
from .knowledge import Arm, Knowledge

SCAN = 4096
"""Newest rows that are looked at when the kept lists are used up."""


def fill(k: Knowledge | Arm, have: IntArray, own: IntArray, n: int) -> list[int]:
    """At most ``n`` more rows beside ``have``, in a fixed order; ``own`` are the user's items.

    Fewer than ``n`` only where the kept lists and the newest `SCAN` rows have no more to list. None only where no item at
    all may be listed; a consumed one is better than none.
    """
    blocked = k.items.blocked
    found = dict.fromkeys(have.tolist())
    want = len(found) + n
    for rows in _kept(k):
        for row in rows[blocked[rows] == 0].tolist():
            found[row] = None
            if len(found) == want:
                return list(found)[len(have) :]
    if not found and len(k.items):
        first = int(np.argmin(blocked[: len(k.items)]))
        if blocked[first]:  # everything is consumed
            back: list[int] = _most_first(k, own[blocked[own] & (FOR_ALL | DENIED) == 0])[:n].tolist()
            return back
        found[first] = None
    return list(found)[len(have) :]


def _kept(k: Knowledge | Arm) -> Iterator[IntArray]:
    """Rows in the order in which they fill up: the popular ones at the widest half-life first."""
    for h in np.argsort(k.popularity.growth, kind="stable").tolist():
        yield k.popularity.ranked(h)
    size = len(k.items)
    yield _most_first(k, np.arange(max(size - SCAN, 0), size, dtype=np.int32))


def _most_first(k: Knowledge | Arm, rows: IntArray) -> IntArray:
    """By events, most first; ties by lower row."""
    return rows[np.lexsort((rows, -k.items.count[rows]))]
