"""Reads what happened: a recorded log, or the archive ``archive/date=YYYY-MM-DD/*.parquet``, into arrays.

Only events that teach are kept (their types are given); of a record only what training needs. What is no event is counted, not
fatal: the stream has refused it with a reason already. An event that came again, as its event id says, counts once.
"""

from __future__ import annotations

import gzip
import zlib
from array import array
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from online_models.errors import InputError
from streams.contracts.events import EARLIEST_MS, LATEST_MS, MAX_ID, Id, Word
from streams.contracts.reading import UNREADABLE

from .arrow import arrow
from .excerpt import Excerpt, Part

TEACHING = frozenset(
    [
        *("view", "click", "like", "cart", "purchase", "rating", "bookmark", "comment"),
        *("favourite", "favorite", "follow", "share", "save", "play"),
    ]
)
"""Event types that are learned where nothing else is said (those with a weight in the default settings)."""

GAP_MS = 30 * 60 * 1000
"""Silence that ends a session of events without ``session_id``, in ms."""

_LOOK = 10_000
"""Records of a file, at most, between two looks at whether the reading should end."""

Ints = NDArray[np.int64]


class NoEvents(InputError):
    """Nothing that teaches has happened yet."""


@dataclass(frozen=True)
class Log:
    """Events in order of time (ties as they came). ``users``, ``items`` and ``sessions`` [events] are numbers from 0,
    users and items in order of first appearance; ``times`` [events] are ms since the epoch. ``refused``: records that are no
    events; ``repeated``: events that came again. ``repeats``: whether an item that follows itself in a session is an event like
    any other, to learn and to be judged by.
    """

    users: Ints
    items: Ints
    sessions: Ints
    times: Ints
    user_ids: list[str]
    item_ids: list[str]
    refused: int = 0
    repeated: int = 0
    repeats: bool = False

    def __len__(self) -> int:
        return len(self.times)

    def __str__(self) -> str:
        return f"{len(self):,} events ({self.refused:,} records refused, {self.repeated:,} events came again)"


_Text = Annotated[str, msgspec.Meta(max_length=MAX_ID)]


class _Head(msgspec.Struct):
    """What training needs of an event, held to the rules of the stream."""

    timestamp: Annotated[int, msgspec.Meta(ge=EARLIEST_MS, lt=LATEST_MS)]
    user_id: Id
    item_id: Id
    event_type: Word
    session_id: _Text | None = None
    event_id: _Text = ""
    v: Literal[1] = 1


_REQUIRED = ("timestamp", "user_id", "item_id", "event_type")


def read(
    path: Path,
    types: Collection[str] = TEACHING,
    gap_ms: int = GAP_MS,
    excerpt: Excerpt | None = None,
    look: Callable[[], None] = lambda: None,
    repeats: bool = False,
) -> Log:
    """The log at ``path``: a file (JSON Lines, .gz, Parquet) or a folder of Parquet files, the archive; of a folder only the
    ``excerpt``, if there is one. ``repeats``: see `Log`.

    ``look`` is called again and again; what it raises ends the reading. Raises InputError where there is no log or it is
    damaged, NoEvents where nothing in it teaches.
    """
    files = _files(path)
    parts = excerpt.of(files) if excerpt is not None and path.is_dir() else [Part(file) for file in files]
    refused = 0
    times, ids = array("q"), array("Q")
    users, items, sessions = _Numbers(), _Numbers(), _Numbers()
    for part in parts:
        for number, event in enumerate(_parquet(part) if _is_parquet(part.file) else _json_lines(part.file)):
            if number % _LOOK == 0:
                look()
            if event is None:
                refused += 1
            elif event.event_type in types:
                times.append(event.timestamp)
                ids.append(_hash(event.event_id))
                users.add(event.user_id)
                items.add(event.item_id)
                sessions.add(event.session_id or "")
    if not times:
        found = f"none in {path} ({refused:,} records refused)"
        raise NoEvents(f"events of the types {', '.join(sorted(types))}", found, "check the log")
    once = _once(np.frombuffer(ids, np.uint64))
    return arranged(
        np.frombuffer(times, np.int64)[once], users.array()[once], items.array()[once], sessions.array()[once],
        users.names, items.names, sessions.known.get(""), gap_ms, refused, len(times) - len(once), repeats,
    )  # fmt: skip


def _hash(event_id: str) -> int:
    """64 bits of the id, 0 for none: two of fifty million ids are one with a probability of 7e-5."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest(), "little") if event_id else 0


def _once(ids: NDArray[np.uint64]) -> Ints:
    """The places of the events as they came, of those with one id the first only; 0 stands for no id.

    >>> _once(np.array([7, 0, 7, 0, 5], np.uint64)).tolist()
    [0, 1, 3, 4]
    """
    keep = ids == 0
    keep[np.unique(ids, return_index=True)[1]] = True
    return np.flatnonzero(keep)


def arranged(
    times: Ints, users: Ints, items: Ints, sessions: Ints, user_ids: list[str], item_ids: list[str],
    no_session: int | None = None, gap_ms: int = GAP_MS, refused: int = 0, repeated: int = 0, repeats: bool = False,
) -> Log:  # fmt: skip
    """Events in any order as a `Log`: stably sorted by time, numbered by first appearance, sessions cut.

    ``sessions`` are numbers of the session ids, ``no_session`` the number that stands for none.
    """
    order = np.argsort(times, kind="stable")
    times = times[order]
    users, user_ids = _by_appearance(users[order], user_ids)
    items, item_ids = _by_appearance(items[order], item_ids)
    cut = _cut(times, users, sessions[order], no_session, gap_ms)
    return Log(users, items, cut, times, user_ids, item_ids, refused, repeated, repeats)


def _cut(times: Ints, users: Ints, named: Ints, no_session: int | None, gap_ms: int) -> Ints:
    """The number of each event's session, in order of first events: by user and session id, else by silence."""
    together = np.lexsort((np.arange(len(times)), named, users))
    u, s, t = users[together], named[together], times[together]
    new = np.ones(len(t), bool)
    silent = np.diff(t) > gap_ms
    new[1:] = (np.diff(u) != 0) | (np.diff(s) != 0) | (silent & (s[1:] == (-1 if no_session is None else no_session)))
    numbers = np.empty(len(t), np.int64)
    numbers[together] = np.cumsum(new) - 1
    return _by_appearance(numbers, None)[0]


def _by_appearance(numbers: Ints, names: list[str] | None) -> tuple[Ints, list[str]]:
    found, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[inverse], [names[found[i]] for i in order] if names is not None else []


class _Numbers:
    """Strings as numbers, in order of first appearance."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self._numbers = array("q")

    def add(self, name: str) -> None:
        self._numbers.append(self.known.setdefault(name, len(self.known)))

    def array(self) -> Ints:
        return np.frombuffer(self._numbers, np.int64)

    @property
    def names(self) -> list[str]:
        return list(self.known)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(path.rglob("*.parquet"))
        if not found:
            raise NoEvents("an archive of Parquet files", f"none in {path}", "check the path")
        return found
    if not path.exists():
        raise InputError("a recorded log or an archive", f"nothing at {path}", "check the path")
    return [path]


def _is_parquet(file: Path) -> bool:
    with file.open("rb") as raw:
        return raw.read(4) == b"PAR1" or file.suffix == ".parquet"


def _json_lines(file: Path) -> Iterator[_Head | None]:
    decode = msgspec.json.Decoder(_Head).decode
    with file.open("rb") as raw:
        stream = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw
        try:
            for line in stream:
                text = line.strip()
                if not text:
                    continue
                try:
                    yield decode(text)
                except UNREADABLE:
                    yield None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"a whole gzip file at {file}", str(error), "copy the file again") from error


def _parquet(part: Part) -> Iterator[_Head | None]:
    pa, file = arrow(), part.file
    try:
        with pa.parquet.ParquetFile(file) as table:
            there = table.schema_arrow.names
            missing = [name for name in _REQUIRED if name not in there]
            if missing:
                raise InputError(f"columns {', '.join(_REQUIRED)} in {file}", f"no {', '.join(missing)}", "map them")
            names = [name for name in _Head.__struct_fields__ if name in there]
            groups = None if part.group is None else [part.group]
            for whole in table.iter_batches(columns=names, row_groups=groups):
                batch = whole if part.share >= 1 else whole.filter(_chosen(whole.column("user_id"), part, pa))
                for row in zip(*(_values(batch.column(name), pa) for name in names), strict=True):
                    try:
                        filled = {name: value for name, value in zip(names, row, strict=True) if value is not None}
                        yield msgspec.convert(filled, _Head)
                    except msgspec.ValidationError:
                        yield None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"a Parquet file at {file}", str(error).splitlines()[0], "check the file") from error


def _chosen(users: Any, part: Part, pa: Any) -> Any:
    """Of each row whether it is of a user that the part keeps; each user is asked for once."""
    found = users.dictionary_encode()
    return pa.array([part.keeps(str(user)) for user in found.dictionary.to_pylist()], pa.bool_()).take(found.indices)


def _values(column: Any, pa: Any) -> list[Any]:
    """A column's cells; Parquet's own time types as ms since the epoch."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64())
    return list(column.to_pylist())
