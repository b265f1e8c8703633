"""The worker's HTTP, asked over a socket."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from html import unescape
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
import pytest

from streams.app.asked import WAITING, Asked
from streams.app.publisher import Outgoing
from streams.contracts.events import Event, Source
from streams.contracts.recommendations import After, Exposure, ModelVersion, Recommendation
from streams.metrics import WorkerMetrics
from streams.pipeline import Pipeline
from streams.stores import MemoryStore
from streams.web import WebServer


class Client:
    """A web server with its pipeline and store, and a session that asks it."""

    def __init__(self) -> None:
        self.state = "starting"
        self.pipeline, self.store = Pipeline(stored=True), MemoryStore()
        self.server = WebServer(("127.0.0.1", 0), lambda: self.state, WorkerMetrics())

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(f"http://{self.address}{path}") as response:
            text = await response.text()
            return response.status, json.loads(text) if response.content_type == "application/json" else text

    async def see(self, user: str, *items: str) -> None:
        """Let the pipeline handle views of the user and write the state, as a worker would."""
        for n, item in enumerate(items):
            event = Event(event_id=f"{user}{n}", timestamp=10**12 + n, user_id=user, item_id=item, event_type="view")
            self.pipeline.process([(event, Source(0, n))])
        await self.store.mset(self.pipeline.sessions.dirty(), 60)
        self.pipeline.sessions.clean()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = Client()
    client.address = await client.server.start()
    async with aiohttp.ClientSession() as client.session:
        yield client
    await client.server.stop()


@pytest.fixture
async def serving(client: Client) -> Client:
    client.state = "ready"
    client.server.serve(client.pipeline, client.store)
    return client


async def test_health_and_readiness(client: Client) -> None:
    assert await client.get("/healthz") == (200, {"state": "starting"})
    assert await client.get("/readyz") == (503, {"state": "starting"})
    assert (await client.get("/recommendations/ada"))[0] == 503
    client.state = "ready"
    assert await client.get("/readyz") == (200, {"state": "ready"})


async def test_the_page_at_the_address_that_a_worker_names_leads_to_what_is_there(serving: Client) -> None:
    status, page = await serving.get("/")
    assert status == 200
    assert "State: ready" in page
    links = re.findall(r'href="([^"]+)"', page)
    assert [unescape(link) for link in links] == ["recommendations/1?k=5&expose=false", "readyz", "healthz", "metrics"]
    for link in links:
        assert (await serving.get(f"/{unescape(link)}"))[0] == 200


async def test_the_page_is_there_before_the_worker_is_ready_and_holds_no_markup_of_others(client: Client) -> None:
    client.state = "waiting for <b>"
    assert "State: waiting for &lt;b&gt;" in (await client.get("/"))[1]


async def test_a_known_user_gets_a_list_best_first(serving: Client) -> None:
    await serving.see("bob", "a", "b", "c", "a", "b")
    await serving.see("ada", "a")
    status, body = await serving.get("/recommendations/ada?k=2")
    assert status == 200
    assert body["user_id"] == "ada"
    assert len(body["items"]) == 2
    scores = [item["score"] for item in body["items"]]
    assert scores == sorted(scores, reverse=True)


async def test_a_user_of_another_worker_is_read_from_the_store(serving: Client) -> None:
    await serving.see("bob", "a", "b", "c", "d")
    await serving.see("ada", "a")
    own = await serving.get("/recommendations/ada")
    serving.pipeline.sessions.drop_all()
    assert await serving.get("/recommendations/ada") == own
    assert serving.pipeline.sessions.peek("ada") is None, "a request caches nothing that would become stale"


async def test_an_unknown_user_gets_the_fallback_and_is_not_remembered(serving: Client) -> None:
    await serving.see("bob", "a", "b", "c")
    status, body = await serving.get("/recommendations/nobody%2Fhere?k=3")
    assert (status, body["user_id"]) == (200, "nobody/here")
    assert body["items"]
    assert body["generic"]
    assert len(serving.pipeline.sessions) == 1


@pytest.mark.parametrize("k", ["0", "201", "-1", "abc", "", "1.5", "９", "9" * 30])
async def test_a_bad_k_is_told(serving: Client, k: str) -> None:
    status, body = await serving.get(f"/recommendations/ada?k={k}")
    assert status == 400
    assert body["error"].startswith("expected k from 1 to 200, got ")


@pytest.mark.parametrize("user", ["", "x" * 257])
async def test_a_bad_user_is_told(serving: Client, user: str) -> None:
    status, body = await serving.get(f"/recommendations/{user}")
    assert status == 400
    assert "user id of 1 to 256 characters" in body["error"]


async def test_without_redis_the_answer_is_503_soon(serving: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(users: Sequence[str]) -> list[bytes | None]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(serving.store, "mget", never)
    monkeypatch.setattr("streams.web.STORE_PATIENCE_S", 0.05)
    status, body = await serving.get("/recommendations/ada")
    assert (status, "Redis" in body["error"]) == (503, True)


async def test_an_item_of_a_users_list_is_explained(serving: Client) -> None:
    await serving.see("bob", "a/b", "b", "c", "a/b", "b")
    await serving.see("ada", "c")
    top = (await serving.get("/recommendations/ada"))[1]["items"][0]
    path = "/explain/ada?item=" + quote(top["item_id"], safe="")
    own = await serving.get(path)
    status, body = own
    assert (status, body["rank"], body["source"], body["reason"]) == (200, 1, top["source"], top["reason"])
    assert sum(group["contribution"] for group in body["groups"]) == pytest.approx(top["score"], abs=1e-5)
    serving.pipeline.sessions.drop_all()
    assert await serving.get(path) == own, "of a user of another worker the stored state is explained"


@pytest.mark.parametrize("query", ["", "?item=", "?item=" + "x" * 257])
async def test_what_to_explain_has_to_be_said(serving: Client, query: str) -> None:
    status, body = await serving.get(f"/explain/ada{query}")
    assert status == 400
    assert body["error"].startswith("expected ?item= with an id of 1 to 256 characters, got ")


async def test_nothing_is_explained_before_there_is_a_state(client: Client) -> None:
    assert (await client.get("/explain/ada?item=a"))[0] == 503


async def test_metrics_count_requests(serving: Client) -> None:
    await serving.get("/recommendations/ada?k=0")
    status, page = await serving.get("/metrics")
    assert status == 200
    assert 'headrace_requests_total{status="400"} 1.0' in page
    assert "headrace_latency_seconds_bucket" in page


async def test_numbers_of_the_pipeline_are_read_when_asked_for() -> None:
    metrics = WorkerMetrics()
    numbers = {"users": 1.0, "hits": {"knn": 0.5}}
    metrics.read("headrace_pipeline_", "name", lambda: numbers)
    numbers["users"] = 2.0
    page = metrics.page().decode()
    assert "headrace_pipeline_users 2.0" in page
    assert 'headrace_pipeline_hits{name="knn"} 0.5' in page


async def test_a_list_is_noted_with_the_event_that_it_knows_of(client: Client) -> None:
    noted: list[tuple[Recommendation, bytes]] = []
    client.server.serve(client.pipeline, client.store, lambda made, body: noted.append((made, body)))
    await client.see("ada", "a", "b")
    status, body = await client.get("/recommendations/ada")
    await client.get("/recommendations/nobody")
    await client.get("/recommendations/ada?k=0")
    (of_ada, raw), (of_nobody, _) = noted
    assert (status, json.loads(raw)) == (200, body)
    assert body["after"] == {"partition": 0, "offset": 1}
    assert (of_ada.after, of_nobody.after) == (After(0, 1), None)


async def test_a_list_that_is_only_looked_at_is_not_noted(client: Client) -> None:
    noted: list[str] = []
    client.server.serve(client.pipeline, client.store, lambda made, body: noted.append(made.request_id))
    await client.see("ada", "a", "b")
    shown, looked = [await client.get(f"/recommendations/ada?k=5&expose={expose}") for expose in ("true", "false")]
    async with client.session.head(f"http://{client.address}/recommendations/ada?k=5") as response:
        assert response.status == 200
    assert looked == shown
    assert noted == [shown[1]["request_id"]]
    refused = await client.get("/recommendations/ada?expose=no")
    assert refused == (400, {"error": "expected expose=true or expose=false, got 'no'"})


async def test_a_list_that_is_asked_for_again_is_the_same_and_a_longer_one_is_another(serving: Client) -> None:
    await serving.see("ada", "a", "b")
    first, again, longer = [(await serving.get(f"/recommendations/ada?k={k}"))[1] for k in (5, 5, 6)]
    assert again == first
    assert longer["request_id"] != first["request_id"]
    await serving.see("bob", "a", "c")
    assert (await serving.get("/recommendations/ada?k=5"))[1]["request_id"] == first["request_id"]
    event = Event(event_id="later", timestamp=10**12 + 9, user_id="bob", item_id="c", event_type="view")
    serving.pipeline.process([(event, Source(0, 9))])
    assert (await serving.get("/recommendations/ada?k=5"))[1]["request_id"] != first["request_id"]


class Broker:
    """Takes records once it is ``there``."""

    def __init__(self) -> None:
        self.there, self.taken = asyncio.Event(), list[Outgoing]()

    async def publish(self, records: Iterable[Outgoing]) -> None:
        await self.there.wait()
        self.taken += records


async def test_lists_under_an_experiment_are_published_and_no_answer_waits_for_that() -> None:
    broker, metrics = Broker(), WorkerMetrics()
    asked = Asked(broker, "recommendations", metrics)  # type: ignore[arg-type]
    publishing = asyncio.create_task(asked.publish())
    plain = Recommendation(
        request_id="r", user_id="ada", timestamp=1, caused_by=None, items=[], model=ModelVersion("m", "1")
    )
    split = msgspec.structs.replace(plain, experiments=[Exposure("x", "new")])
    asked.note(plain, b"plain")
    asked.note(split, b"first")
    await asyncio.sleep(0)
    for _ in range(WAITING + 3):
        asked.note(split, b"more")
    broker.there.set()
    await asked.finish()
    publishing.cancel()
    assert broker.taken[0] == Outgoing("recommendations", b"ada", b"first")
    assert len(broker.taken) == WAITING + 1
    assert b'headrace_asked_total{what="lost"} 3.0' in metrics.page()
