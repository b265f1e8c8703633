"""A plan says of a stream what is asked, before which event, and what the right answers are: a protocol, without any recommender in it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.contracts.events import Event, Source

Ints = npt.NDArray[np.int64]

NEW = -1
"""Age of an item that was not seen before."""


@dataclass(frozen=True)
class Plan:
    """A stream and the queries put to it.

    Items are numbered in order of first appearance, so the items seen before a point are those below a number.

    Of each query [queries]: ``event`` is the number of the event before which the list is asked for, ``seen`` the number of items that may
    be ranked, ``session`` the block of the bootstrap, ``stratum`` the period; ``position`` counts the session's events before it,
    ``history`` the user's, ``age`` is ms since the first event of its first target (`NEW`: none). Its targets, distinct, are
    ``targets[first[q]:first[q + 1]]``.

    ``bounds``: event numbers where periods begin, and the end; one period where there are none. ``kept`` [events]: what a reader that
    does not learn is told of a period (None: everything). ``read`` gives the events, again and again.
    """

    name: str
    read: Callable[[], Iterator[tuple[Event, Source]]]
    items: dict[str, int]
    bounds: tuple[int, ...]
    event: Ints
    seen: Ints
    session: Ints
    stratum: Ints
    position: Ints
    history: Ints
    age: Ints
    first: Ints
    targets: Ints
    kept: npt.NDArray[np.bool_] | None = None
    born: Ints | None = None
    """Of each query, the period in which its item was first seen, where there are periods."""
    rating_max: float | None = None

    def __len__(self) -> int:
        return len(self.event)

    @property
    def events(self) -> int:
        """Events in the stream."""
        return self.bounds[-1]

    @property
    def timed(self) -> bool:
        """Whether the times of the events are real."""
        return self.born is None

    @property
    def periods(self) -> list[int]:
        """The strata that are asked about, in order."""
        return [int(period) for period in np.unique(self.stratum)]

    def of(self, query: int) -> Ints:
        """The targets of a query."""
        return self.targets[self.first[query] : self.first[query + 1]]


@dataclass
class Draft:
    """A plan that is being written, query by query."""

    columns: dict[str, array[int]] = field(
        default_factory=lambda: {
            name: array("q") for name in ("event", "seen", "session", "stratum", "position", "history", "age", "born")
        }
    )
    first: array[int] = field(default_factory=lambda: array("q", [0]))
    targets: array[int] = field(default_factory=lambda: array("q"))

    def ask(self, targets: Sequence[int], **values: int) -> None:
        """One more query; ``values`` for all columns (but ``born``, which may be left out)."""
        for name, column in self.columns.items():
            if name in values:
                column.append(values[name])
        self.targets.extend(targets)
        self.first.append(len(self.targets))

    def arrays(self) -> dict[str, Any]:
        """The columns, as `Plan` takes them."""
        found = {name: np.array(column, np.int64) for name, column in self.columns.items() if column or name != "born"}
        return found | {"first": np.array(self.first, np.int64), "targets": np.array(self.targets, np.int64)}
