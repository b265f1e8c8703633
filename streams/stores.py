"""Where users' states live: Redis in production, a dictionary in tests. One MGET and one write a micro-batch."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Protocol, TypeVar

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from online_models.errors import ServiceError

log = logging.getLogger("headrace")

Result = TypeVar("Result")

# SET with a lifetime for all keys in one command: a sixth of the client's cost of as many SETs in a pipeline, and MSET
# knows no lifetime. A value begins with the claim of its writer; one that was written under a later claim stays.
WRITE = """
local late = 0
for i = 1, #KEYS do
  local head = redis.call('GETRANGE', KEYS[i], 0, 7)
  if #head == 8 and struct.unpack('>I8', head) > tonumber(ARGV[2]) then
    late = late + 1
  else
    redis.call('SET', KEYS[i], ARGV[i + 2], 'PX', ARGV[1])
  end
end
return late
"""
HEAD = struct.Struct(">Q")
PASSING = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError, OSError)
LASTING = (AuthenticationError, AuthorizationError)
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0

FIRST_SWEEP = 1_024
"""Values in memory before the first search for those whose lifetime has passed; the next is due at twice what is left."""


class SessionStore(Protocol):
    """Bytes by user. A write replaces the value and its lifetime; a value whose lifetime has passed is gone."""

    async def mget(self, users: Sequence[str]) -> list[bytes | None]:
        """The values, in the order of ``users``; None where there is none."""
        ...

    async def mset(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        """Write all; each lives ``ttl_s`` seconds from now. Raises ServiceError where somebody with a later claim has
        written one of them: then we own these users no longer, and have not noticed."""
        ...

    async def claim(self) -> None:
        """The users of our partitions are ours from now on: who wrote under an earlier claim cannot write over us."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class MemoryStore:
    """A dictionary with lifetimes; ``clock`` gives seconds.

    >>> store = MemoryStore()
    >>> asyncio.run(store.mset({"ada": b"1"}, ttl_s=60))
    >>> asyncio.run(store.mget(["ada", "bob"]))
    [b'1', None]
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._values: dict[str, tuple[bytes, float]] = {}
        self._sweep_at = FIRST_SWEEP

    async def mget(self, users: Sequence[str]) -> list[bytes | None]:
        now = self._clock()
        found = (self._values.get(user) for user in users)
        return [entry[0] if entry and entry[1] > now else None for entry in found]

    async def mset(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        now = self._clock()
        self._values.update({user: (value, now + ttl_s) for user, value in values.items()})
        if len(self._values) >= self._sweep_at:
            self._values = {user: entry for user, entry in self._values.items() if entry[1] > now}
            self._sweep_at = max(2 * len(self._values), FIRST_SWEEP)

    @property
    def size(self) -> int:
        """Values held: those that live, and at most as many again whose lifetime has passed."""
        return len(self._values)

    async def claim(self) -> None:
        """Nothing: nobody else has this dictionary."""

    async def close(self) -> None:
        self._values.clear()


class RedisStore:
    """Keys ``headrace:<prefix>session:<user>`` of one Redis.

    While Redis is away, a call waits and tries again: the micro-batch stands still and nothing is lost. Whoever cannot
    wait sets a limit of its own (`asyncio.wait_for`). A refused password or permission raises ServiceError at once.
    """

    def __init__(self, url: str, prefix: str = "") -> None:
        self._redis: Any = redis.asyncio.Redis.from_url(
            url, socket_timeout=5.0, socket_connect_timeout=2.0, retry=Retry(NoBackoff(), 0)
        )
        self._prefix = f"headrace:{prefix}session:"
        self._script: str | None = None
        self._claim = 0
        self._away_since: float | None = None
        self._waiting = 0
        self.reconnects = 0
        """Times that Redis was away."""

    async def mget(self, users: Sequence[str]) -> list[bytes | None]:
        if not users:
            return []
        keys = [self._prefix + user for user in users]
        found: list[bytes | None] = await self._patiently(lambda: self._redis.mget(keys))
        return [None if value is None else value[HEAD.size :] for value in found]

    async def mset(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        if not values:
            return
        keys = [self._prefix + user for user in values]
        head = HEAD.pack(self._claim)
        arguments = (*keys, max(1, int(ttl_s * 1000)), self._claim, *(head + value for value in values.values()))
        late = await self._patiently(lambda: self._write(len(keys), arguments))
        if late:
            raise ServiceError(
                "users whose states are ours to write", f"{late} of {len(keys)} written by another worker since",
                "this worker was cut off for too long; start it again",
            )  # fmt: skip

    async def claim(self) -> None:
        seconds, micros = await self._patiently(self._redis.time)  # one clock for all workers
        self._claim = seconds * 1_000_000 + micros

    async def check(self, patience_s: float) -> None:
        """Raise ServiceError unless Redis answers within ``patience_s`` seconds."""
        try:
            await asyncio.wait_for(self._patiently(self._redis.ping), patience_s)
        except asyncio.TimeoutError:
            raise ServiceError("a Redis", "no answer", "start it or correct --redis (HEADRACE_REDIS)") from None

    async def close(self) -> None:
        await self._redis.aclose()

    async def _write(self, count: int, arguments: tuple[Any, ...]) -> int:
        if self._script is None:
            self._script = await self._redis.script_load(WRITE)
        try:
            return int(await self._redis.evalsha(self._script, count, *arguments))
        except NoScriptError:  # Redis has been restarted
            return int(await self._redis.eval(WRITE, count, *arguments))

    async def _patiently(self, call: Callable[[], Awaitable[Result]]) -> Result:
        pause, waiting = FIRST_PAUSE, False
        try:
            while True:
                try:
                    result = await call()
                except LASTING as error:
                    raise ServiceError("a Redis that lets us in", str(error), "correct user and password") from error
                except PASSING as error:
                    self._waiting += not waiting
                    waiting = True
                    self._away(error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                except RedisError as error:
                    raise ServiceError("a Redis that obeys", repr(error), "give it memory, rights and EVAL") from error
                else:
                    break
        finally:
            self._waiting -= waiting
        self._answered()
        return result

    def _away(self, error: Exception) -> None:
        if self._away_since is None:
            self._away_since = monotonic()
            log.warning("Redis is away, waiting for it: %s", error)

    def _answered(self) -> None:
        """It is back when no call waits any more: one that is out of memory answers those who read, and them alone."""
        if self._away_since is not None and not self._waiting:
            self.reconnects += 1
            log.warning("Redis is back after %.1f s", monotonic() - self._away_since)
            self._away_since = None
