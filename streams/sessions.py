"""The working set of user states, and what of them is stored.

A stored value (Redis) is an *image* plus the *events since*. The image is not newer than the committed offset of the
user's partition, so the state can be rebuilt as it was before any event that may be delivered again (`MOST_SINCE` says
when it is newer all the same).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable

import msgspec
import numpy as np

from online_models.base import IntArray
from online_models.items import ItemTable

from .config import PipelineConfig
from .contracts.events import Source
from .contracts.reading import UNREADABLE
from .user_image import decode_image, remembered
from .user_state import NOWHERE, Entry, UserState

log = logging.getLogger("headrace")

VERSION = 1

FOLD = 32
"""Events of a busy user between two images: making one costs as much as several events."""

MOST_SINCE = 512
"""Most events kept beside an image. A user with more than this between two commits gets an image that is newer than what
is committed: after a crash, events of this user that come again are seen to be in it, and their lists are made from the
later state. Nothing is lost and nothing is learned twice."""


class _Value(msgspec.Struct, array_like=True):
    v: int
    image: bytes
    partition: int
    since: list[Entry]
    served: list[str]


_encode = msgspec.msgpack.Encoder().encode
_decode_value = msgspec.msgpack.Decoder(_Value).decode


class Sessions:
    """The working set: states by user, bounded, least recently used out first. Storage is somebody else's.

    Alone (replay) it *is* the memory. With ``stored`` true, load what `missing` names before a batch and write what
    `dirty` gives after it; then each state also keeps what `decode` needs to rewind it.
    """

    def __init__(self, config: PipelineConfig, table: ItemTable, stored: bool = False) -> None:
        self._config, self._table, self._stored = config, table, stored
        self._dims = config.sources.factors.dims
        self._states: OrderedDict[str, UserState] = OrderedDict()
        self._dirty: dict[str, UserState] = {}
        self.committed: dict[int, int] = {}
        """Partition → offset known to be committed; the stream keeps it."""
        self.refused = 0
        """Stored values that were not ours, or of another version: those users start afresh."""
        self.misfits = 0
        """Times that factors of other dims were left out of a stored state."""

    def __len__(self) -> int:
        return len(self._states)

    def get(self, user_id: str) -> UserState:
        """The user's state, empty for a user not seen before."""
        state = self._states.get(user_id)
        if state is None:
            state = self._states[user_id] = UserState(user_id, self._dims)
            if not self._stored:
                self.trim()
        else:
            self._states.move_to_end(user_id)
        return state

    def peek(self, user_id: str) -> UserState | None:
        """The user's state if it is here, without marking it as used."""
        return self._states.get(user_id)

    def apply(self, state: UserState, entry: Entry, partition: int) -> None:
        """Fold one event into a state of the working set."""
        if self._stored:
            self._fold(state, self.committed.get(partition, 0))
            state.since.append(entry)
        state.partition = partition
        state.apply(entry, self._table.row(entry.item_id), self._config)
        self._dirty[state.user_id] = state

    def _fold(self, state: UserState, committed: int) -> None:
        """Move on the image by what is committed.

        The image of a busy user is made ahead, of the state as it is, and becomes the base once it is committed: the
        state as it was need not be rebuilt.
        """
        since = state.since
        if since and since[-1].offset < committed:
            state.base, state.since, state.ahead = state.image(self._table.ids), [], None
            return
        if state.ahead is not None:
            n, image = state.ahead
            if since[n - 1].offset < committed or len(since) >= MOST_SINCE:
                state.base, state.since, state.ahead = image, since[n:], None
        if state.ahead is None and len(state.since) >= FOLD:
            state.ahead = len(state.since), state.image(self._table.ids)

    def note_intent(self, state: UserState, intent: float) -> None:
        """The probability that goes out with the latest event belongs to the state from then on."""
        state.intent = intent
        if state.since:
            state.since[-1] = msgspec.structs.replace(state.since[-1], intent=intent)

    def missing(self, users: Iterable[str]) -> list[str]:
        """Those whose state must be loaded first."""
        return [u for u in dict.fromkeys(users) if u not in self._states]

    def decode(self, user_id: str, raw: bytes | None, before: Source | None = None) -> UserState:
        """A state from its stored value, as it was before the event at ``before`` where that event is already in it.

        A value that is not ours, or of another version, is logged and counted, and the state is that of a new user.
        """
        if raw is None:
            return UserState(user_id, self._dims)
        try:
            value = _decode_value(raw)
            if value.v != VERSION:
                raise ValueError(f"expected a value of version {VERSION}, got {value.v}")
            state = self._begin(user_id, value.image)
        except (*UNREADABLE, ValueError) as error:
            self._note_refused(error)
            return UserState(user_id, self._dims)
        state.base, state.served, state.partition = value.image, value.served, value.partition
        rewind = before is not None and value.partition == before.partition
        for entry in value.since:
            if rewind and before is not None and entry.offset >= before.offset:
                break
            state.apply(entry, self._table.row(entry.item_id), self._config)
            state.since.append(entry)
        if any(len(entry.step) not in (0, 2 * self._dims) for entry in value.since):
            self._note_misfit()
        if before is not None and value.partition != before.partition:
            state.offset = NOWHERE  # the topic was repartitioned: offsets of the old partition say nothing
            state.base, state.since = state.image(self._table.ids), []
        return state

    def _begin(self, user_id: str, raw: bytes) -> UserState:
        if not raw:
            return UserState(user_id, self._dims)
        image = decode_image(raw)
        if len(image.vector) not in (0, 4 * self._dims):
            self._note_misfit()
        return UserState.from_image(user_id, image, self._dims, self._table.row)

    def _note_refused(self, error: Exception) -> None:
        self.refused += 1
        if self.refused & (self.refused - 1) == 0:  # the first, the second, the fourth ...
            log.warning(
                "%d stored user states were not ours or of another version, their users start afresh: %s",
                *(self.refused, error),
            )

    def _note_misfit(self) -> None:
        self.misfits += 1
        if self.misfits & (self.misfits - 1) == 0:
            log.warning("%d times, factors of a user were not of %d dims and left out", self.misfits, self._dims)

    def load(self, user_id: str, raw: bytes | None, before: Source | None = None) -> None:
        """Take a stored value into the working set (see `decode`)."""
        self._states[user_id] = self.decode(user_id, raw, before)

    def dirty(self) -> dict[str, bytes]:
        """Values to write, by user."""
        return {
            user_id: _encode(_Value(VERSION, state.base, state.partition, state.since, state.served))
            for user_id, state in self._dirty.items()
        }

    def clean(self) -> None:
        """What `dirty` gave has been written; the least recently used may go."""
        self._dirty.clear()
        self.trim()

    def trim(self) -> None:
        """Hold to the cap."""
        while len(self._states) > self._config.max_users:
            user_id, _ = self._states.popitem(last=False)
            self._dirty.pop(user_id, None)

    def drop_all(self) -> None:
        """Forget everybody: what is stored is read again."""
        self._states.clear()
        self._dirty.clear()

    def remap(self, new_index: IntArray) -> None:
        """The item table was compacted."""
        for state in self._states.values():
            own = state.own[: state.n]
            rows = new_index[own["item"]]
            own = own[rows >= 0]
            own["item"] = rows[rows >= 0]
            state.n = len(own)
            state.own[: state.n] = own
            state.sequence = remembered(new_index[np.array(state.sequence, np.int32)].tolist())
