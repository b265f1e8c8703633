"""Why an item stands in a list, in words, from the source that speaks loudest for it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from online_models.base import FloatArray, IntArray
from online_models.features import PER_SOURCE, SOURCE, Beside

FILL = "fill"
"""Source of the items that fill up a list where the sources name too few."""

MAX_TITLE = 80
"""Most characters of a title in a reason: it stands in many reasons of a list, and a list has to fit into a message."""

_PLAIN = {
    "again": "from your history",
    "knn": "liked by people with a history like yours",
    "mf": "fits your taste",
    "deep": "what sessions like yours go on with",
    "rated": "you would rate it highly",
    "category": "popular in a category of yours",
    "untried": "new, and worth a try",
    "latest": "others just chose it",
    "newest": "new",
    FILL: "many chose it",
}


@njit(cache=True)
def _loudest(x: Any, at: Any, w: Any, n_lists: int, beside: int, more: int, listed: int, out: Any) -> None:
    for i in range(at.shape[0]):
        best, loud = 0, -1e30
        for s in range(n_lists + more):
            c, wide = (s, n_lists) if s < n_lists else (beside + s - n_lists, more)
            if x[at[i], listed * wide + c] == 0.0:
                continue
            total = 0.0
            for f in range(c, c + PER_SOURCE * wide, wide):
                total += x[at[i], f] * w[f]
            if total > loud:
                best, loud = s, total
        out[i] = best


def loudest(x: FloatArray, at: IntArray, weights: FloatArray, n_lists: int, beside: Beside) -> list[int]:
    """For rows ``at`` of the feature matrix, the source whose five features add most to the score, among ``n_lists`` in all.

    Those of ``beside``, the last ones, are looked at where ``weights`` reach that far.
    """
    out = np.zeros(len(at), np.int32)
    plain = n_lists - len(beside.lists)
    more = n_lists - plain if len(weights) > beside.first else 0
    _loudest(x, at, weights, plain, beside.first, more, SOURCE.index("listed"), out)
    return out.tolist()


@lru_cache(4_096)
def in_words(source: str, title: str, count: int = 0, first_ms: int = 0, last_ms: int = 0, bought: bool = False) -> str:
    """The reason for one item. ``title`` is that of the user's item which it goes with (empty if there is none).

    ``count``, ``first_ms``, ``last_ms`` and ``bought`` are of the user's own events on it.

    >>> in_words("often", "Milk", 4, 0, 27 * 86_400_000, bought=True)
    'bought again every ~9 days'
    >>> in_words("near", "Milk"), in_words("entry-2000", "")
    ('seen with Milk', 'often chosen first')
    """
    title = shortened(title)
    if source == "often":
        days = (last_ms - first_ms) / max(count - 1, 1) / 86_400_000
        if count >= 2 and days >= 1:
            every = f"every ~{days:.0f} days" if days >= 1.5 else "every day"
            return f"bought again {every}" if bought else f"again {every}"
        return f"{count} times in your history" if count > 1 else "from your history"
    if source in ("following", "near", "far"):
        verb = "next after" if source == "following" else "seen with"
        return f"{verb} {title}" if title else "seen together"
    if source.startswith("popular-"):
        return "popular now" if float(source[8:]) <= 1_000 else "popular"
    if source.startswith("entry-"):
        return "often chosen first"
    return _PLAIN.get(source, source)


def shortened(title: str) -> str:
    """A title as it stands in a reason, of at most `MAX_TITLE` characters.

    >>> shortened("Milk"), shortened("Milk" * 100) == "Milk" * 19 + "Mil…"
    ('Milk', True)
    """
    return title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1].rstrip() + "…"
