"""What the catalogue says of items, in rows: categories and prices, and how a candidate stands to the user's items by them.

Categories that many items are in say little, so each weighs the logarithm of how few of the told items are in it (inverse document
frequency: Spärck Jones, "A statistical interpretation of term specificity", Journal of Documentation 28, 1972). The order in which a
catalogue names them plays no part.

Nothing here is learned: it follows the catalogue, which every worker reads from its beginning, and is in no snapshot.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from .base import FloatArray, IntArray, grown, remapped

NAMES = (
    "category_known", "category_last", "category_recent", "category_session", "category_history", "price_near", "price_ratio",
)  # fmt: skip
"""The columns: whether a category is known; share of the candidate's categories, by weight, that the user's last item, the latest
ones, those of the session, and all of the history have; how near the price is to that of the latest ones, and on which side."""

WIDTH = 6
"""Categories of an item that are kept, those named first."""
MOST = 65_536
"""Categories that are told apart; more are left out."""
FADE, RECENT, HISTORY = 0.9, 20, 200
"""Weight of each item further back; latest items that are compared with, and items of the history."""
_LAST, _RECENT, _SESSION, _HISTORY = range(4)
Move = tuple[str, tuple[int, ...], tuple[int, ...]]
"""An item, the numbers of its categories before, and now."""
_AS_FAR = np.float32(0.5)
"""Part of a unit of closeness that is lost for each factor e between prices."""


@njit(cache=True)
def _heap(work: Any, field: int, cats: Any, row: int, w: Any) -> None:
    for j in range(cats.shape[0]):
        if cats[j, row] >= 0:
            work[field, cats[j, row]] += w


@njit(cache=True)
def _clear(work: Any, cats: Any, row: int) -> None:
    for j in range(cats.shape[0]):
        if cats[j, row] >= 0:
            work[:, cats[j, row]] = 0.0


@njit(cache=True, error_model="numpy")
def _describe(
    x: Any,
    rows: Any,
    n: int,
    c: int,
    cats: Any,
    prices: Any,
    weights: Any,
    work: Any,
    recent: Any,
    in_session: int,
    own: Any,
) -> None:
    m, s = min(recent.shape[0], RECENT), min(in_session, recent.shape[0])
    first = max(own.shape[0] - HISTORY, 0)
    total, w = np.float32(0.0), np.float32(1.0)
    for _ in range(m):
        total += w
        w *= np.float32(FADE)
    w = np.float32(1.0) / max(total, np.float32(1.0))
    priced, price = np.float32(0.0), np.float32(0.0)
    for r in range(m):
        row = recent[r]
        if r == 0:
            _heap(work, _LAST, cats, row, np.float32(1.0))
        _heap(work, _RECENT, cats, row, w)
        if r < s:
            _heap(work, _SESSION, cats, row, np.float32(1.0) / np.float32(min(s, m)))
        if prices[row] == prices[row]:
            price += w * prices[row]
            priced += w
        w *= np.float32(FADE)
    for o in range(first, own.shape[0]):
        _heap(work, _HISTORY, cats, own[o]["item"], np.float32(1.0) / np.float32(own.shape[0] - first))
    for i in range(n):
        row = rows[i]
        size = np.float32(0.0)
        for j in range(cats.shape[0]):
            if cats[j, row] >= 0:
                size += weights[cats[j, row]]
        if size > 0.0:
            x[i, c] = 1.0
            for field in range(4):
                shared = np.float32(0.0)
                for j in range(cats.shape[0]):
                    if cats[j, row] >= 0:
                        shared += weights[cats[j, row]] * work[field, cats[j, row]]
                x[i, c + 1 + field] = shared / size
        if priced > 0.0 and prices[row] == prices[row]:
            ratio = prices[row] - price / priced
            x[i, c + 5] = max(np.float32(1.0) - _AS_FAR * abs(ratio), np.float32(0.0))
            x[i, c + 6] = min(max(np.float32(0.5) + np.float32(0.25) * ratio, np.float32(0.0)), np.float32(1.0))
    for r in range(m):
        _clear(work, cats, recent[r])
    for o in range(first, own.shape[0]):
        _clear(work, cats, own[o]["item"])


class Shelf:
    """Categories and price of at most ``capacity`` items, by id, those told longest ago forgotten first; and the same by row.

    >>> shelf = Shelf()
    >>> shelf.tell("a", ["tea", "food"], 2.0), shelf.tell("b", ["food"], None)
    ([('a', (), (0, 1))], [('b', (), (1,))])
    >>> shelf.know(0, "b")
    >>> shelf.cats[:2, 0].tolist()
    [1, -1]
    """

    def __init__(self, capacity: int = 1_000_000) -> None:
        self._capacity = capacity
        self._facts: OrderedDict[str, tuple[tuple[int, ...], float]] = OrderedDict()
        self._numbers: dict[str, int] = {}
        self._names: list[str | None] = []
        self._free: list[int] = []
        self._members: list[int] = []
        self._weights: FloatArray | None = None
        self._work: FloatArray = np.zeros((4, 0), np.float32)
        self.cats: IntArray = np.full((WIDTH, 64), -1, np.int32)
        """[WIDTH, rows]: numbers of categories, -1 where there are no more."""
        self.prices: FloatArray = np.full(64, np.nan, np.float32)
        """[rows]: logarithm of the price, nan where it is unknown."""
        self.told = False
        """Whether the catalogue has ever said a category or a price: before, nothing here is looked at."""
        self.left_out = 0
        """Categories for which there was no number."""

    def __len__(self) -> int:
        return len(self._facts)

    @property
    def categories(self) -> int:
        """Numbers below this one have been given to categories."""
        return len(self._names)

    def name_of(self, category: int) -> str:
        """What the catalogue calls a category."""
        return self._names[category] or ""

    def tell(self, item_id: str, categories: Sequence[str], price: float | None) -> list[Move]:
        """News of an item; no categories and no price: it is forgotten. Returns which items' categories or prices may be others now:
        where they have rows, `know` these before anything else is told."""
        distinct = list(dict.fromkeys(categories))[:WIDTH]
        value = math.log(price) if price is not None and 0.0 < price < math.inf else math.nan
        old, price_then = self._facts.pop(item_id, ((), math.nan))
        cats = tuple(number for number in map(self._number, distinct) if number >= 0)
        for number in cats:
            self._members[number] += 1
        self._leave(old)
        moves = [(item_id, old, cats)] if cats != old or value != price_then else []
        if cats or not math.isnan(value):
            self._facts[item_id] = cats, value
            self.told = True
            if len(self._facts) > self._capacity:
                gone, (left, _) = self._facts.popitem(last=False)
                self._leave(left)
                moves.append((gone, left, ()))
        self._weights = None
        return moves

    def know(self, row: int, item_id: str) -> None:
        """An item has got its row."""
        self._put(row, *self._facts.get(item_id, ((), math.nan)))

    def follow(self, item_ids: Iterable[str]) -> None:
        """The item table is another one: these items, in the order of their rows."""
        self.cats.fill(-1)
        self.prices.fill(np.nan)
        for row, item_id in enumerate(item_ids):
            self.know(row, item_id)

    def remap(self, new_index: IntArray) -> None:
        """The item table was compacted."""
        self.cats, self.prices = remapped(self.cats, new_index, -1), remapped(self.prices, new_index, np.nan)

    def _put(self, row: int, cats: tuple[int, ...], price: float) -> None:
        if row >= len(self.prices):
            self.cats, self.prices = grown(self.cats, row + 1, -1), grown(self.prices, row + 1, np.nan)
        self.cats[:, row] = -1
        self.cats[: len(cats), row] = cats
        self.prices[row] = price

    def _number(self, name: str) -> int:
        found = self._numbers.get(name)
        if found is not None:
            return found
        if self._free:
            found = self._free.pop()
            self._names[found] = name
        elif len(self._names) < MOST:
            found = len(self._names)
            self._names.append(name)
            self._members.append(0)
        else:
            self.left_out += 1
            return -1
        self._numbers[name] = found
        return found

    def _leave(self, cats: tuple[int, ...]) -> None:
        for number in cats:
            self._members[number] -= 1
            if self._members[number] == 0:
                del self._numbers[self._names[number] or ""]
                self._names[number] = None
                self._free.append(number)

    @property
    def weights(self) -> FloatArray:
        """[categories]: how much each says."""
        if self._weights is None:
            members = np.maximum(np.array(self._members, np.float32), 1.0)
            self._weights = np.log((np.float32(len(self._facts)) + 1.0) / members).astype(np.float32)
            self._work = np.zeros((4, len(members)), np.float32)
        return self._weights

    def describe(
        self, x: FloatArray, rows: IntArray, n: int, c: int, recent: IntArray, in_session: int, own: npt.NDArray[Any]
    ) -> None:
        """Fill the columns `NAMES` from ``c`` on for a user's ``recent`` items, the first ``in_session`` of the session, and ``own``."""
        weights = self.weights
        _describe(x, rows, n, c, self.cats, self.prices, weights, self._work, recent, in_session, own)

    def sizes(self) -> dict[str, float]:
        """How much is kept."""
        return {
            "described": float(len(self._facts)),
            "categories": float(len(self._numbers)),
            "categories_left_out": float(self.left_out),
        }

    @property
    def nbytes(self) -> int:
        """Bytes held, an item's facts and a category estimated at 250 each."""
        return int(self.cats.nbytes + self.prices.nbytes + self._work.nbytes) + 250 * (
            len(self._facts) + len(self._names)
        )
