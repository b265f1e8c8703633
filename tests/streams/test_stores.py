"""One contract for every session store, and what Redis does besides: it waits, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.exceptions import AuthenticationError, NoScriptError, OutOfMemoryError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from online_models.errors import ServiceError
from streams.stores import FIRST_SWEEP, MemoryStore, RedisStore, SessionStore


class Clock:
    """Seconds that a test moves on."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
async def store(request: pytest.FixtureRequest, topic_prefix: str) -> AsyncIterator[SessionStore]:
    if request.param == "memory":
        found: SessionStore = MemoryStore()
    else:
        found = RedisStore(request.getfixturevalue("redis_url"), topic_prefix)
    yield found
    await found.close()


async def test_values_come_back_in_the_order_asked_for(store: SessionStore) -> None:
    await store.mset({"ada": b"1", "bob": b"\x00\xff", "éva": b""}, ttl_s=60)
    assert await store.mget(["éva", "nobody", "bob", "ada", "ada"]) == [b"", None, b"\x00\xff", b"1", b"1"]


async def test_a_write_replaces_the_value(store: SessionStore) -> None:
    await store.mset({"ada": b"old"}, ttl_s=60)
    await store.mset({"ada": b"new"}, ttl_s=60)
    assert await store.mget(["ada"]) == [b"new"]


async def test_nothing_asked_and_nothing_written(store: SessionStore) -> None:
    await store.mset({}, ttl_s=60)
    assert await store.mget([]) == []


async def test_a_value_is_gone_after_its_lifetime_and_a_write_renews_it(store: SessionStore) -> None:
    await store.mset({"ada": b"1", "bob": b"1"}, ttl_s=0.2)
    await store.mset({"bob": b"2"}, ttl_s=60)
    await asyncio.sleep(0.3)
    assert await store.mget(["ada", "bob"]) == [None, b"2"]


async def test_a_large_batch(store: SessionStore) -> None:
    values = {f"user-{n}": bytes([n % 256]) * 2000 for n in range(3000)}
    await store.mset(values, ttl_s=60)
    assert await store.mget(list(values)) == list(values.values())


async def test_memory_lifetimes_follow_the_clock() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await store.mset({"ada": b"1"}, ttl_s=10)
    clock.now += 9.9
    assert await store.mget(["ada"]) == [b"1"]
    clock.now += 0.2
    assert await store.mget(["ada"]) == [None]


async def test_memory_gives_back_what_nobody_asks_for_again() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    for n in range(20_000):
        clock.now += 1
        await store.mset({f"user-{n}": b"1"}, ttl_s=100)
        assert store.size <= FIRST_SWEEP
    assert await store.mget([f"user-{n}" for n in range(20_000)]) == [None] * 19_900 + [b"1"] * 100
    many = {f"user-{n}": b"2" for n in range(5_000)}
    await store.mset(many, ttl_s=100)
    assert await store.mget(list(many)) == list(many.values())


@pytest.mark.integration
async def test_prefixes_keep_two_shops_apart(redis_url: str, topic_prefix: str) -> None:
    one, other = RedisStore(redis_url, f"{topic_prefix}a-"), RedisStore(redis_url, f"{topic_prefix}b-")
    await one.mset({"ada": b"1"}, ttl_s=60)
    assert await other.mget(["ada"]) == [None]
    await one.close()
    await other.close()


class FakeRedis:
    """Fails as told, once for each error, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.evals: list[str] = []

    async def mget(self, keys: list[str]) -> list[bytes | None]:
        if self.errors:
            raise self.errors.pop(0)
        return [bytes(8) + b"v" for _ in keys]

    async def time(self) -> tuple[int, int]:
        return 1_700_000_000, 5

    async def script_load(self, script: str) -> str:
        return "sha"

    async def evalsha(self, sha: str, *_: Any) -> int:
        if self.errors:
            raise self.errors.pop(0)
        self.evals.append("evalsha")
        return 0

    async def eval(self, script: str, *_: Any) -> int:
        self.evals.append("eval")
        return 0


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeRedis], RedisStore]:
    def make(fake: FakeRedis) -> RedisStore:
        store = RedisStore("redis://127.0.0.1:1/0")
        monkeypatch.setattr(store, "_redis", fake)
        return store

    return make


async def test_a_call_waits_until_redis_is_back(faked: Callable[[FakeRedis], RedisStore]) -> None:
    fake = FakeRedis(RedisConnectionError("reset"), TimeoutError(), ConnectionResetError())
    store = faked(fake)
    assert await store.mget(["ada"]) == [b"v"]
    assert store.reconnects == 1


async def test_an_outage_is_logged_and_counted_once_however_many_wait(
    faked: Callable[[FakeRedis], RedisStore], caplog: pytest.LogCaptureFixture
) -> None:
    store = faked(FakeRedis(*(RedisConnectionError("refused") for _ in range(250))))
    assert await asyncio.gather(*(store.mget(["ada"]) for _ in range(200))) == [[b"v"]] * 200
    assert [record.message[:13] for record in caplog.records] == ["Redis is away", "Redis is back"]
    assert store.reconnects == 1


async def test_who_gives_up_does_not_end_an_outage(
    faked: Callable[[FakeRedis], RedisStore], caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeRedis(*(RedisConnectionError("refused") for _ in range(100)))
    store = faked(fake)
    for _ in range(20):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(store.mget(["ada"]), 0.01)
    assert (len(caplog.records), store.reconnects) == (1, 0)
    fake.errors.clear()
    await store.mget(["ada"])
    fake.errors.append(RedisConnectionError("refused"))
    await store.mget(["ada"])
    assert (len(caplog.records), store.reconnects) == (4, 2)


async def test_a_redis_that_is_full_is_away_until_it_takes_what_waits(
    faked: Callable[[FakeRedis], RedisStore], caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeRedis(*(OutOfMemoryError("maxmemory") for _ in range(3)))
    store = faked(fake)
    fake.mget = FakeRedis().mget  # type: ignore[method-assign]
    write = asyncio.create_task(store.mset({"ada": b"1"}, ttl_s=60))
    while not write.done():
        assert await store.mget(["ada"]) == [b"v"]
        await asyncio.sleep(0.001)
    await write
    assert [record.message[:13] for record in caplog.records] == ["Redis is away", "Redis is back"]


async def test_a_restarted_redis_has_forgotten_the_script(faked: Callable[[FakeRedis], RedisStore]) -> None:
    fake = FakeRedis(NoScriptError("No matching script"))
    store = faked(fake)
    await store.mset({"ada": b"1"}, ttl_s=60)
    await store.mset({"ada": b"1"}, ttl_s=60)
    assert fake.evals == ["eval", "evalsha"]


@pytest.mark.parametrize("error", [AuthenticationError("WRONGPASS"), ResponseError("NOPERM no rights")])
async def test_what_waiting_cannot_heal_is_told_at_once(
    faked: Callable[[FakeRedis], RedisStore], error: Exception
) -> None:
    with pytest.raises(ServiceError, match="expected a Redis"):
        await faked(FakeRedis(error)).mget(["ada"])


async def test_a_redis_that_never_answers_is_told_after_the_patience() -> None:
    store = RedisStore("redis://127.0.0.1:1/0")
    with pytest.raises(ServiceError, match="HEADRACE_REDIS"):
        await store.check(patience_s=0.2)
    await store.close()


@pytest.mark.integration
async def test_who_was_cut_off_does_not_write_over_the_one_who_took_over(redis_url: str, topic_prefix: str) -> None:
    old, new = RedisStore(redis_url, topic_prefix), RedisStore(redis_url, topic_prefix)
    await old.claim()
    await old.mset({"ada": b"3 events", "bob": b"1"}, ttl_s=60)
    await new.claim()
    await new.mset({"ada": b"40 events"}, ttl_s=60)
    with pytest.raises(ServiceError, match="1 of 2 written by another worker"):
        await old.mset({"ada": b"4 events", "bob": b"2"}, ttl_s=60)
    assert await new.mget(["ada", "bob"]) == [b"40 events", b"2"]
    await old.claim()  # its partitions are its own again
    await old.mset({"ada": b"41 events"}, ttl_s=60)
    assert await new.mget(["ada"]) == [b"41 events"]
    await old.close()
    await new.close()
