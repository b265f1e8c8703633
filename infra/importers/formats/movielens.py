"""MovieLens: ``u.data`` (100K), ``ratings.dat`` (1M, 10M), ``ratings.csv`` (20M and later)."""

from __future__ import annotations

from ..layout import Format
from ..rows import Fields
from ..tables import Table


def rating(user: str, item: str, stars: str, seconds: str) -> Fields:
    """A rating; ``value`` is the number of stars.

    >>> rating("196", "242", "3", "881250949")["timestamp"]
    881250949000
    """
    return {
        "timestamp": int(seconds) * 1000,
        "user_id": user,
        "item_id": item,
        "event_type": "rating",
        "value": float(stars),
    }


_NAMES = ("userId", "movieId", "rating", "timestamp")

FORMAT = Format(
    name="movielens",
    short="ml",
    summary="film ratings: u.data, ratings.dat or ratings.csv",
    example="headrace import movielens ml-32m.zip -o log.jsonl.gz",
    files=("u.data", "ratings.dat", "ratings.csv"),
    layouts=lambda options: (
        Table(_NAMES, rating),
        Table(_NAMES, rating, names=_NAMES, delimiter="\t", quotes=False),
        Table(_NAMES, rating, names=_NAMES, delimiter="::", quotes=False),
    ),
)
