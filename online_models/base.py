"""What every model has in common: the observation it learns from, the query it answers, and the protocol.

Models know items as rows of one item table (int32) and users as 64-bit hashes. A model has two verbs: ``learn_one``
changes it, ``candidates``/``score`` never does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

OWN = np.dtype(
    [("item", "i4"), ("count", "i4"), ("seq", "i4"), ("flags", "i4"), ("first", "i8"), ("last", "i8")], align=True
)
"""One distinct item of a user: row, events, the user's event number at the last one, flags, first and last time in ms."""

RATED, BOUGHT, CARTED, LIKED = 1, 2, 4, 8
"""Bits of ``OWN.flags``."""

FLAGS = {"rating": RATED, "purchase": BOUGHT, "cart": CARTED} | dict.fromkeys(
    ("like", "favourite", "favorite", "bookmark", "save"), LIKED
)
"""Event type → what an event of it leaves on the user's item."""

Arrays = dict[str, npt.NDArray[Any]]
IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]

NO_ROWS: IntArray = np.zeros(0, np.int32)


@dataclass(slots=True)
class Observation:
    """One interaction in row numbers. ``history`` is the user's items before it, latest first; ``ages`` ms since each; the first
    ``in_session`` of them belong to the same session, whose latest events were on the items ``sequence``, oldest first."""

    item: int
    weight: float
    timestamp: int
    user: int
    session: int
    history: IntArray
    ages: npt.NDArray[np.int64]
    in_session: int
    event: int = 0
    value: float | None = None
    rated: bool = False
    sequence: IntArray = field(default_factory=lambda: NO_ROWS)


class Scratch:
    """Work arrays over items, shared by all kernels of one thread. Every kernel hands them back as it found them."""

    def __init__(self) -> None:
        self.acc: FloatArray = np.zeros(0, np.float32)
        self.mark: IntArray = np.zeros(0, np.int32)
        self.touched: IntArray = np.zeros(0, np.int32)
        self.reserve(1024)

    def reserve(self, items: int) -> None:
        """Make room for ``items`` rows."""
        if items > len(self.acc):
            size = max(items, 2 * len(self.acc))
            self.acc = np.zeros(size, np.float32)
            self.mark = np.zeros(size, np.int32)
            self.touched = np.zeros(size, np.int32)


@dataclass(slots=True)
class Query:
    """One request: who asks, when, and what may not be listed.

    ``own`` holds the user's distinct items (dtype ``OWN``), the latest last; ``recent`` the same rows, latest first and
    cut short; the first ``in_session`` of them belong to the session, ``sequence`` are the items of its latest events, oldest first.
    ``blocked[row] != 0`` keeps an item out. ``vector`` is
    the user's factor vector. ``version`` is the version of the deep model that the request is pinned to (None: there is none).
    """

    timestamp: int
    own: npt.NDArray[Any]
    recent: IntArray
    recent_ages: npt.NDArray[np.int64]
    blocked: npt.NDArray[np.uint8]
    vector: FloatArray
    n_items: int
    user: int = 0
    session: int = 0
    session_seq: int = 0
    n_events: int = 0
    scratch: Scratch = field(default_factory=Scratch)
    in_session: int = 0
    version: Any = None
    sequence: IntArray = field(default_factory=lambda: NO_ROWS)


@runtime_checkable
class Source(Protocol):
    """A model that names candidates, in one or more lists."""

    @property
    def lists(self) -> tuple[str, ...]:
        """Names of its lists."""

    def learn_one(self, o: Observation) -> None:
        """Learn one observation."""

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        """Fill row i of ``items`` and ``scores`` (each [lists, k]), best first, ties by lower row, and ``counts[i]``.

        No state changes.
        """

    def snapshot(self) -> Arrays:
        """All state, as named arrays. Views: copy before the model learns on."""

    def restore(self, state: Arrays) -> None:
        """Take over a snapshot: scores and everything learned later are bit-for-bit as if never interrupted."""

    def remap(self, new_index: IntArray) -> None:
        """The item table was compacted: row i is now ``new_index[i]``, or gone where that is -1."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""


def grown(a: npt.NDArray[Any], rows: int, fill: Any = 0) -> npt.NDArray[Any]:
    """``a`` with at least ``rows`` rows along its last axis, doubling, new ones set to ``fill``."""
    have = a.shape[-1]
    if rows <= have:
        return a
    size = max(rows, 2 * have, 64)
    out = np.full((*a.shape[:-1], size), fill, a.dtype)
    out[..., :have] = a
    return out


def fitted(new_index: IntArray, rows: int) -> IntArray:
    """``new_index`` for exactly ``rows`` old rows; rows it does not speak of are gone."""
    return np.concatenate([new_index, np.full(max(rows - len(new_index), 0), -1, np.int32)])[:rows]


def remapped(a: npt.NDArray[Any], new_index: IntArray, fill: Any = 0) -> npt.NDArray[Any]:
    """``a`` with its last axis moved to the new rows; rows that nobody moved to are ``fill``."""
    out = np.full_like(a, fill)
    new_index = fitted(new_index, a.shape[-1])
    old = np.flatnonzero(new_index >= 0)
    out[..., new_index[old]] = a[..., old]
    return out
