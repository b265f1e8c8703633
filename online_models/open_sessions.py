"""Sessions whose end nobody knows yet, each with the sample that stands for it.

A session that converts says so. One that does not falls silent, and its user may never come back: it is over when event time has
gone on for longer than a session can pause.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from .base import Arrays

AT_ONCE = 16
"""Most sessions that one event closes: after a long gap in the log they are many, and the next events see to the rest."""


class OpenSessions:
    """At most ``capacity`` of them; beyond it, the one silent for longest counts as over. ``gap_ms``: silence that ends one.

    >>> sessions = OpenSessions(gap_ms=1000)
    >>> sessions.touch(7, 100, b"sample"), sessions.touch(8, 900, b"other"), sessions.over(1200)
    (None, None, [b'sample'])
    >>> sessions.converts(8), sessions.converts(8)
    (b'other', b'')
    """

    def __init__(self, gap_ms: int, capacity: int = 50_000) -> None:
        self._gap_ms, self._capacity = gap_ms, capacity
        self._open: OrderedDict[int, tuple[int, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def touch(self, session: int, timestamp: int, sample: bytes) -> None:
        """An event of a session; ``sample`` takes the place of an earlier one, unless it is empty."""
        known = self._open.get(session)
        if sample or known:
            last, old = known or (0, b"")
            self._open[session] = max(last, timestamp), sample or old
            self._open.move_to_end(session)

    def converts(self, session: int) -> bytes:
        """The sample of a session that has converted; empty if there is none. The session is done with."""
        return self._open.pop(session, (0, b""))[1]

    def over(self, now: int) -> list[bytes]:
        """Samples of sessions that have fallen silent, or have no room, at event time ``now``; at most `AT_ONCE`."""
        found: list[bytes] = []
        while self._open and len(found) < AT_ONCE:
            last, sample = next(iter(self._open.values()))
            if now - last <= self._gap_ms and len(self._open) <= self._capacity:
                break
            self._open.popitem(last=False)
            found.append(sample)
        return found

    def snapshot(self) -> Arrays:
        samples = [sample for _, sample in self._open.values()]
        return {
            "sessions": np.fromiter(self._open, np.uint64, len(self._open)),
            "last": np.fromiter((last for last, _ in self._open.values()), np.int64, len(self._open)),
            "lengths": np.fromiter(map(len, samples), np.int32, len(samples)),
            "samples": np.frombuffer(b"".join(samples), np.uint8),
        }

    def restore(self, state: Arrays) -> None:
        raw, at = state["samples"].tobytes(), 0
        self._open.clear()
        for session, last, length in zip(*(state[f].tolist() for f in ("sessions", "last", "lengths")), strict=True):
            self._open[session] = last, raw[at : at + length]
            at += length

    @property
    def nbytes(self) -> int:
        """Bytes held, estimated at 250 a session."""
        return 250 * len(self._open)
