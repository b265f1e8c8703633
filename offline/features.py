"""What the catalogue says of items, as hashed words with TF-IDF weights: categories, attributes, and the words of title and text."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from online_models.errors import InputError
from streams.contracts.catalogue import Item
from streams.contracts.reading import UNREADABLE

from .log import Ints

WIDTH = 32
"""Words of an item that count, those with the largest weights."""


@dataclass(frozen=True)
class Features:
    """``words`` [items, width] numbers of buckets and ``weights`` [items, width], each row of length 1 or, without content, 0."""

    words: Ints
    weights: NDArray[np.float32]


def read(path: Path, ids: Sequence[str], buckets: int) -> Features:
    """The features of ``ids``, in their order, from a catalogue (JSON Lines, .gz too); items that it lacks have none.

    Raises InputError when none of the items is in it.
    """
    rows = {item: row for row, item in enumerate(ids)}
    found: dict[int, Counter[int]] = {}
    for item in _items(path):
        row = rows.get(item.item_id)
        if row is not None:
            found[row] = Counter(zlib.crc32(word.encode()) % buckets for word in words_of(item))
    if not found:
        raise InputError(f"items of the log in the catalogue {path}", "none of them", "name the catalogue of this log")
    documents = Counter(word for words in found.values() for word in words)
    features = Features(np.zeros((len(ids), WIDTH), np.int64), np.zeros((len(ids), WIDTH), np.float32))
    for row, words in found.items():
        weighed = sorted(
            (-(1 + np.log(n)) * np.log(len(found) / documents[word]), word)
            for word, n in words.items()
            if documents[word] > 1  # what only one item has says nothing that its own vector does not
        )[:WIDTH]
        for place, (weight, word) in enumerate(weighed):
            features.words[row, place], features.weights[row, place] = word, -weight
    norms = np.linalg.norm(features.weights, axis=1, keepdims=True)
    features.weights[:] /= np.maximum(norms, 1e-12)
    return features


def words_of(item: Item) -> Iterator[str]:
    """Categories and attributes whole, title and text word by word; each says where it stood."""
    yield from (f"category={category}" for category in item.categories or ())
    yield from (f"{name}={value}" for name, value in (item.attributes or {}).items())
    for text in (item.title, item.text):
        yield from re.findall(r"\w+", (text or "").lower())


def _items(path: Path) -> Iterator[Item]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                try:
                    yield msgspec.json.decode(line, type=Item)
                except UNREADABLE:
                    continue
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"a catalogue at {path}", str(error), "name a file of JSON Lines") from error
