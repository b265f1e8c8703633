"""Any file by a column mapping: which column stands for which field of an event."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from infra.text import printable
from online_models.errors import InputError

from . import times
from .rows import BadRow, Convert, Fields, identifier, number

REQUIRED = ("timestamp", "user_id", "item_id")
OPTIONAL = ("event_type", "event_id", "session_id", "value", "request_id", "context")
CONTEXT = "context."
"""``context.KEY`` is a field too: the cell goes to that key of the event's context."""


FIELDS = (*REQUIRED, *OPTIONAL, f"{CONTEXT}KEY")
"""All fields, as people are told of them."""

_ALIASES = {"user": "user_id", "visitor": "user_id", "item": "item_id", "product": "item_id", "time": "timestamp"}


def nearest_field(name: str) -> str | None:
    """The field that was probably meant.

    >>> nearest_field("user"), nearest_field("event-type"), nearest_field("colour")
    ('user_id', 'event_type', None)
    """
    close = difflib.get_close_matches(name.casefold(), REQUIRED + OPTIONAL, n=1)
    return _ALIASES.get(name.casefold()) or (close[0] if close else None)


def is_field(name: str) -> bool:
    """Whether a column can be mapped to it.

    >>> is_field("user_id"), is_field("context.device"), is_field("visitor")
    (True, True, False)
    """
    return name in REQUIRED + OPTIONAL or (name.startswith(CONTEXT) and len(name) > len(CONTEXT))


@dataclass(frozen=True)
class ColumnMap:
    """Field → column. A field that is not mapped is looked for under its own name, so a log of ours needs no mapping.

    ``event_type`` is the word for rows that have none; without it the file must have that column. Columns that are
    mapped by hand must be there, too.

    >>> columns = ColumnMap({"user_id": "visitor"}, event_type="view")
    >>> columns.required
    ('timestamp', 'visitor', 'item_id')
    >>> columns.convert()("1511544070", "7", "B00", *[None] * len(columns.optional))
    {'timestamp': 1511544070000, 'user_id': '7', 'item_id': 'B00', 'event_type': 'view'}
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    time_format: str = "auto"
    event_type: str | None = None

    @property
    def _must(self) -> tuple[str, ...]:
        """Fields that no row can do without."""
        return REQUIRED if self.event_type is not None else (*REQUIRED, "event_type")

    @property
    def _fields(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The fields whose columns a file must have, and the others."""
        mapped = tuple(name for name in self.columns if name not in self._must)
        must = (*self._must, *mapped)
        return must, tuple(name for name in OPTIONAL if name not in must)

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns without which a row is no event."""
        return tuple(self.columns.get(name, name) for name in self._must)

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that a file with a fixed set of columns must have."""
        return tuple(self.columns.get(name, name) for name in self._fields[0])

    @property
    def optional(self) -> tuple[str, ...]:
        """Columns that are taken when they are there."""
        return self._fields[1]

    def refusal(self, found: Sequence[str], label: str, remedy: str = "", any_case: bool = False) -> InputError | None:
        """What to say of a file with the columns ``found``: each one that it lacks, and what mends it; None if none.

        >>> str(ColumnMap({"item_id": "skuu"}).refusal(["timestamp", "user_id", "sku"], "log.csv"))
        ... # doctest: +NORMALIZE_WHITESPACE
        "expected a column 'skuu' (for item_id), and one for event_type, got timestamp, user_id, sku in log.csv;
        did you mean --map item_id=sku? For event_type: --event-type WORD (such as click) if every row is of one type,
        else --map event_type=COLUMN"
        """
        same = str.casefold if any_case else str
        known = set(map(same, found))
        must = (name for name in self._fields[0] if same(self.columns.get(name, name)) not in known)
        lacking = sorted(must, key=lambda name: name not in self.columns)
        if not lacking:
            return None
        wanted, remedies = [], []
        for name in lacking:
            if column := self.columns.get(name):
                close = difflib.get_close_matches(column, found, n=1)
                wanted.append(f"a column {column!r} (for {name})")
                remedies.append(f"did you mean --map {name}={close[0]}?" if close else f"correct --map {name}={column}")
        plain = [name for name in lacking if name not in self.columns]
        if plain:
            wanted.append(("and one for " if wanted else "a column for ") + ", ".join(plain))
        unmapped = [name for name in plain if name != "event_type"]
        if unmapped:
            remedies.append("say which columns they are: " + " ".join(f"--map {name}=COLUMN" for name in unmapped))
        if "event_type" in plain:
            word = "--event-type WORD (such as click) if every row is of one type"
            remedies.append(f"{'For event_type: ' * (len(lacking) > 1)}{word}, else --map event_type=COLUMN")
        text = " ".join(r if r.endswith("?") else f"{r}." for r in remedies).rstrip(".")
        shown = ", ".join(printable(name[:40]) for name in found[:30]) + ", …" * (len(found) > 30)
        return InputError(", ".join(wanted), f"{shown} in {label}", text + remedy)

    def convert(self) -> Convert:
        """Function from the cells of `required` and `optional`, in this order, to event fields."""
        order = sum(self._fields, ())
        time, word = times.parser(self.time_format), self.event_type or ""
        extra = tuple(name for name in order if name.startswith(CONTEXT))

        def convert(*cells: Any) -> Fields:
            row = dict(zip(order, cells, strict=True))
            fields: Fields = {
                "timestamp": time(row["timestamp"]),
                "user_id": identifier(row["user_id"]),
                "item_id": identifier(row["item_id"]),
                "event_type": identifier(row["event_type"]) or word,
            }
            for name in ("event_id", "session_id", "request_id"):
                if text := identifier(row[name]):
                    fields[name] = text
            if (value := number(row["value"])) is not None:
                fields["value"] = value
            context = {name[len(CONTEXT) :]: row[name] for name in extra if row[name] not in (None, "")}
            if row["context"] or context:
                fields["context"] = _object(row["context"]) | context
            return fields

        return convert


def _object(cell: Any) -> dict[str, Any]:
    """A context as it stands in a cell: an object, or (in text) its JSON form."""
    if not cell:
        return {}
    try:
        found = msgspec.json.decode(cell) if isinstance(cell, str) else cell
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadRow("wrong_type", f"context {cell!r}")
    return found
