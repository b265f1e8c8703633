"""After which of their events users were given a list over HTTP."""

from __future__ import annotations

from array import array
from bisect import bisect_left

import numpy as np

from online_models.items import hash_id
from streams.contracts.recommendations import After, Cause

_CHUNK = 1 << 16


class Asked:
    """Whatever is read first: a list over HTTP says where the latest event stands that it knows of, and the list that answers that event
    says which it is. Sixteen bytes for each list that answers an event, whether or not it is kept otherwise, eight for each over HTTP."""

    def __init__(self) -> None:
        self._after = array("Q")
        self._places, self._events = array("Q"), array("Q")
        self._told = bytearray()

    def take_asked(self, user_id: str, after: After) -> None:
        """A list over HTTP."""
        self._after.append(_place(user_id, after))

    def take_answer(self, user_id: str, cause: Cause) -> None:
        """A list that answers an event."""
        self._places.append(_place(user_id, cause))
        self._events.append(_event(user_id, cause.event_id))

    def settle(self) -> None:
        """All lists have been taken: only the events after which there was one over HTTP are kept, nine bytes each."""
        after = np.unique(np.frombuffer(self._after, np.uint64))
        places, events = (np.frombuffer(each, np.uint64) for each in (self._places, self._events))
        found = [np.zeros(0, np.uint64)]
        for start in range(0, len(places) if len(after) else 0, _CHUNK):
            chunk = slice(start, start + _CHUNK)
            found.append(events[chunk][np.isin(places[chunk], after)])
        self._events = array("Q", np.unique(np.concatenate(found)).tobytes())
        self._after, self._places, self._told = array("Q"), array("Q"), bytearray(len(self._events))

    def take_event(self, user_id: str, event_id: str) -> bool:
        """Whether there was one after this event, before the user's next; said once, so that a copy of the event is none."""
        if not self._events:
            return False
        event = _event(user_id, event_id)
        at = bisect_left(self._events, event)
        if at == len(self._events) or self._events[at] != event or self._told[at]:
            return False
        self._told[at] = True
        return True


def _place(user_id: str, at: Cause | After) -> int:
    return hash_id(f"{at.partition}/{at.offset}/{user_id}")


def _event(user_id: str, event_id: str) -> int:
    return hash_id(f"{event_id}/{user_id}")
