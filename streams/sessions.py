"""The working set of user states, and what of them is stored.

A stored value (Redis) is an *image* plus the *events since*. The image is never newer than the committed offset of the
user's partition, so the state can be rebuilt as it was before any event that may be delivered again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from online_models.base import IntArray
from online_models.items import ItemTable

from .config import PipelineConfig
from .contracts.events import Source
from .user_state import NOWHERE, Entry, UserState


class _Value(msgspec.Struct, array_like=True):
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
            if state.since and state.since[-1].offset < self.committed.get(partition, 0):
                state.base, state.since = state.image(self._table.ids), []
            state.since.append(entry)
        state.partition = partition
        state.apply(entry, self._table.row(entry.item_id), self._config)
        self._dirty[state.user_id] = state

    def note_intent(self, state: UserState, intent: float) -> None:
        """The probability that goes out with the latest event belongs to the state from then on."""
        state.intent = intent
        if state.since:
            state.since[-1] = msgspec.structs.replace(state.since[-1], intent=intent)

    def missing(self, users: Iterable[str]) -> list[str]:
        """Those whose state must be loaded first."""
        return [u for u in dict.fromkeys(users) if u not in self._states]

    def decode(self, user_id: str, raw: bytes | None, before: Source | None = None) -> UserState:
        """A state from its stored value, as it was before the event at ``before`` where that event is already in it."""
        if raw is None:
            return UserState(user_id, self._dims)
        value = _decode_value(raw)
        if value.image:
            state = UserState.from_image(user_id, value.image, self._dims, self._table.row)
        else:
            state = UserState(user_id, self._dims)
        state.base, state.served, state.partition = value.image, value.served, value.partition
        rewind = before is not None and value.partition == before.partition
        for entry in value.since:
            if rewind and before is not None and entry.offset >= before.offset:
                break
            state.apply(entry, self._table.row(entry.item_id), self._config)
            state.since.append(entry)
        if before is not None and value.partition != before.partition:
            state.offset = NOWHERE  # the topic was repartitioned: offsets of the old partition say nothing
            state.base, state.since = state.image(self._table.ids), []
        return state

    def load(self, user_id: str, raw: bytes | None, before: Source | None = None) -> None:
        """Take a stored value into the working set (see `decode`)."""
        self._states[user_id] = self.decode(user_id, raw, before)

    def dirty(self) -> dict[str, bytes]:
        """Values to write, by user."""
        return {
            user_id: _encode(_Value(state.base, state.partition, state.since, state.served))
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

    def drop_partition(self, partition: int) -> None:
        """The partition is no longer ours: forget its users."""
        for user_id in [u for u, s in self._states.items() if s.partition == partition]:
            del self._states[user_id]
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
