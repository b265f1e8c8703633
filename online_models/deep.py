"""Deep models in the stream: an artefact's item vectors and session encoder as one more source of candidates.

A user's vector is computed when it is needed, from the items of the session and the version's own vectors, so nothing of a
user is tied to one version. Items that a version was not trained with get vectors here, from the sessions that lead to
them; they are all that is learned online, and what a new version inherits (`alignment`).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ann import cosines, scan, scan_long, search
from .base import Arrays, FloatArray, IntArray, Observation, Query, grown, remapped
from .encoder import ARRAY, Stepping
from .items import ItemTable, Standing
from .newcomers import Learned, Newcomers
from .prepared import Prepared
from .soundness import usable

CACHE, CACHE_BYTES = 5_000, 64 << 20
"""Sessions whose query is kept: the list after an event and the next event's fresh list ask the same. With each is what the
encoder keeps of it (1.5 KiB an event with two layers of attention of 64 dims), so bytes are bounded too."""
STEPS = 39
"""A session of up to so many events (as many as a worker remembers under the default settings) is encoded event by event, on top of
what is kept of it; a longer one at once, and one that fills all that the encoder looks at, whose first item is another after each
event. Which way it goes depends on the session alone, so that the bits of a query do not depend on who asked before."""
WIDE, PROBES = 8, 16
"""Groups of inverted lists whose lists are compared with a query, and lists looked into."""


class Queries:
    """Sessions, by their rows as bytes → what the encoder keeps of them, and their query; the first one in is the first one out."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, tuple[Any, FloatArray | None]] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes) -> tuple[Any, FloatArray | None] | None:
        """None for one that is not kept."""
        return self._kept.get(key)

    def put(self, key: bytes, found: tuple[Any, FloatArray | None]) -> None:
        """Keep one that is not kept yet, and within `CACHE` and `CACHE_BYTES` no more than there is room for."""
        self._kept[key] = found
        self.nbytes += _bytes(key, found)
        while len(self._kept) > CACHE or self.nbytes > CACHE_BYTES:
            self.nbytes -= _bytes(*self._kept.popitem(last=False))

    def take(self, key: bytes) -> tuple[Any, FloatArray | None] | None:
        """As `get`, and not kept any more: the session has gone on."""
        found = self._kept.pop(key, None)
        if found is not None:
            self.nbytes -= _bytes(key, found)
        return found

    def clear(self) -> None:
        """Keep none."""
        self._kept.clear()
        self.nbytes = 0


def _bytes(key: bytes, found: tuple[Any, FloatArray | None]) -> int:
    """Of one session, with what Python needs for its objects."""
    memory, query = found
    return (
        250
        + len(key)
        + (0 if memory is None else ARRAY + int(memory.nbytes))
        + (0 if query is None else ARRAY + query.nbytes)
    )


class Version:
    """One version as this worker sees it: which of its rows are which items, and its newcomers.

    Nothing that a request reads changes except by `know`, `learn_one` and `remap`, between requests.
    """

    def __init__(self, prepared: Prepared, table: ItemTable, standing: Standing | None = None) -> None:
        """``standing``: the table's, taken by whoever adds to it, where this is called beside it."""
        artefact = prepared.artefact
        self.name, self.artefact, self._prepared = artefact.manifest.version, artefact, prepared
        self.vectors, self.encoder = artefact.vectors, prepared.encoder
        self._stepping = self.encoder if isinstance(self.encoder, Stepping) else None
        self.bias: FloatArray = artefact.bias if artefact.bias is not None else np.zeros(0, np.float32)
        self.item_of: IntArray = np.full(len(self.vectors), -1, np.int32)
        self.newcomers = Newcomers(self.vectors.shape[1], prepared.length)
        self._all = np.arange(len(self.vectors), dtype=np.int32) if prepared.lists is None else np.zeros(0, np.int32)
        self._queries = Queries()
        self._asked: Query | None = None
        self._answer: FloatArray | None = None
        self._table = table
        self.generation, hashes = table.standing if standing is None else standing
        self._n: int = len(hashes)
        self.newcomers.know(self._n)
        rows = prepared.rows_of(hashes)
        self.row_of: IntArray = grown(rows, 64, -1)
        known = np.flatnonzero(rows >= 0)
        self.item_of[rows[known]] = known

    @property
    def dims(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def catch_up(self) -> None:
        """Take in what the item table has got since this version was made or last asked.

        Raises ValueError where the table was compacted and nobody told this version: its rows are those of other items.
        """
        if self.generation != self._table.generation:
            generations = f"generation {self._table.generation} of the item table, version {self.name} has the rows of"
            raise ValueError(f"expected {generations} {self.generation}; make the version anew")
        for item in range(self._n, len(self._table)):
            self.know(item, self._table.hash_of(item))

    def know(self, item: int, id_hash: int) -> None:
        """The item table has a new item."""
        self._n = item + 1
        self.newcomers.know(item)
        self.row_of = grown(self.row_of, item + 1, -1)
        self.row_of[item] = row = self._prepared.row_of(id_hash)
        if row >= 0:
            self.item_of[row] = item

    def remap(self, new_index: IntArray) -> None:
        """The item table was compacted."""
        self.generation, self._n = self._table.generation, len(self._table)
        self.row_of = remapped(self.row_of, new_index, -1)
        known = self.item_of >= 0
        self.item_of[known] = new_index[self.item_of[known]]
        self.newcomers.remap(new_index)
        self._queries.clear()

    def query(self, items: IntArray) -> FloatArray | None:
        """The query [dims] after events on ``items`` (table rows, oldest first); None where the version knows none of them, and where
        what its encoder makes of them is no number or too large."""
        rows = self.row_of[items].astype(np.int64)
        rows = rows[rows >= 0][-self.encoder.length :]
        if not len(rows):
            return None
        key = rows.tobytes()
        found = self._queries.get(key)
        if found is None:
            memory, query = self._encode(rows, key)
            found = memory, query if query is not None and usable(query) else None
            self._queries.put(key, found)
        return found[1]

    def _encode(self, rows: NDArray[np.int64], key: bytes) -> tuple[Any, FloatArray | None]:
        """What the encoder keeps of the session, and its query."""
        encoder = self._stepping
        if encoder is None or len(rows) > STEPS or len(rows) >= encoder.length:
            return None, self.encoder.encode(rows)
        before = self._queries.take(key[: -rows.itemsize])
        memory, query = before if before is not None else (encoder.start(), None)
        for row in rows[-1:] if before is not None else rows:
            memory, query = encoder.step(memory, int(row))
        return memory, query

    def learn_one(self, o: Observation) -> None:
        """Follow an item that the version was not trained with."""
        if o.weight <= 0.0 or not len(o.sequence):
            return
        query = self.query(o.sequence)
        direction = None if query is None else self.newcomers.asked(query)
        if direction is not None and self.row_of[o.item] < 0:
            self.newcomers.learn(o.item, direction)

    def best(self, q: Query, items: IntArray, scores: FloatArray) -> int:
        """The best items for this user, into ``items`` and ``scores``; returns how many there are."""
        query = self._of(q)
        if query is None:
            return 0
        lists = self._prepared.lists
        if lists is None:
            n = int(scan(self.vectors, self.bias, query, self._all, self.item_of, q.blocked, items, scores, 0))
        else:
            n = int(
                search(
                    self.vectors, self.bias, lists.groups, lists.first, lists.centroids, lists.order, lists.starts, query, WIDE, PROBES,
                    self.item_of, q.blocked, items, scores,
                )
            )  # fmt: skip
        new = self.newcomers
        if not new.used:
            return n
        return int(scan_long(new.vectors, new.lengths[: new.used], query, new.item, q.blocked, items, scores, n))

    def nearness(self, q: Query, items: IntArray, out: FloatArray) -> None:
        """Cosine of each of ``items`` (table rows) with the user's query into ``out``; 0 where there is none."""
        out[:] = 0.0
        query = self._of(q)
        if query is not None:
            cosines(self.vectors, query, self.row_of, items, out)
            if self.newcomers.used:
                cosines(self.newcomers.vectors, query, self.newcomers.slot_of, items, out)

    def _of(self, q: Query) -> FloatArray | None:
        """The query of a request, which is asked for its list and then for how near all candidates are."""
        if self._asked is not q:
            self._asked, self._answer = q, self.query(asked(q))
        return self._answer

    @property
    def nbytes(self) -> int:
        """Bytes held besides the artefact, which is memory-mapped."""
        return (
            self.row_of.nbytes + self.item_of.nbytes + self._all.nbytes + self.newcomers.nbytes + self._queries.nbytes
        )


def asked(q: Query) -> IntArray:
    """The items that say what the user is after: those of the session's events, or the latest one where it has only begun."""
    return q.sequence if len(q.sequence) else q.recent[:1]


class Deep:
    """The source. Each query names the version that answers it; ``live`` is the one that most do.

    Versions are not in snapshots (they are artefacts), what was learned of the live one's newcomers is.
    """

    lists = ("deep",)

    def __init__(self, table: ItemTable) -> None:
        self._table = table
        self.live: Version | None = None
        self.following: tuple[Version, ...] = ()
        """Versions that learn newcomers: the live one, one on trial, the one before while it is compared."""
        self.resting: tuple[Version, ...] = ()
        """Versions that learn nothing, but know the item table: they may answer again at any time."""
        self._kept: Arrays = {}

    def follow(self, *versions: Version | None, resting: Version | None = None) -> None:
        """These versions follow the stream from now on, and no others; the first one is live (None: none is). ``resting``
        only follows the item table."""
        self.live = versions[0]
        if self.live is not None:
            self._kept = {}
        # Not by name: an experiment's copy of a version on trial was brought by itself.
        self.following = tuple({id(v): v for v in versions if v is not None}.values())
        self.resting = (resting,) if resting is not None and resting not in self.following else ()

    def kept_for(self, version: Version) -> Learned | None:
        """The newcomers that a snapshot held for a version that has caught up, None where it held none of this version."""
        kept = self._kept
        if not kept or kept["version"].tobytes().decode() != version.name:
            return None
        items = np.array([self._table.row(item_id) for item_id in json.loads(kept["ids"].tobytes())], np.int32)
        new = np.flatnonzero((items >= 0) & (version.row_of[items] < 0))
        return Learned(
            items[new], kept["means"][new], kept["count"][new], kept["centre"].copy(), int(kept["queries"][0])
        )

    def know(self, item: int, id_hash: int) -> None:
        """A new item in the item table."""
        for version in (*self.following, *self.resting):
            version.know(item, id_hash)

    def learn_one(self, o: Observation) -> None:
        for version in self.following:
            version.learn_one(o)

    def candidates(self, q: Query, items: IntArray, scores: FloatArray, counts: IntArray) -> None:
        counts[0] = 0 if q.version is None else q.version.best(q, items[0], scores[0])

    def snapshot(self) -> Arrays:
        """What the live version has learned online."""
        if self.live is None:
            return self._kept
        new = self.live.newcomers.learned()
        ids = json.dumps([self._table.ids[i] for i in new.items.tolist()])
        return {
            "version": np.frombuffer(self.live.name.encode(), np.uint8), "ids": np.frombuffer(ids.encode(), np.uint8),
            "means": new.means, "count": new.count, "centre": new.centre, "queries": np.array([new.queries]),
        }  # fmt: skip

    def restore(self, state: Arrays) -> None:
        """Keep what a snapshot holds until a version is live (`kept_for`)."""
        self._kept = {name: array.copy() for name, array in state.items()}

    def remap(self, new_index: IntArray) -> None:
        for version in (*self.following, *self.resting):
            version.remap(new_index)

    @property
    def nbytes(self) -> int:
        return sum(version.nbytes for version in (*self.following, *self.resting))
