"""The worker's HTTP: recommendations on request and what made them, health, readiness, metrics, and a page that names them."""

from __future__ import annotations

import asyncio
import html
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from streams.contracts.events import MAX_ID
from streams.contracts.recommendations import Recommendation
from streams.explain import explain
from streams.metrics import WorkerMetrics
from streams.pipeline import Pipeline
from streams.stores import SessionStore
from streams.user_state import UserState

log = logging.getLogger("headrace")

MAX_K = 200
STORE_PATIENCE_S = 2.0

Answer = tuple[int, bytes]
Note = Callable[[Recommendation, bytes], None]
"""Takes each list that is answered and will be shown, and the body of the answer."""

_INDEX = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Headrace worker</title></head>
<body>
<h1>Headrace worker</h1>
<p>State: {state}</p>
<ul>
<li><code>/recommendations/USER?k=20</code>: the list of a user, as JSON; for example
<a href="recommendations/1?k=5&amp;expose=false">of user 1</a>.
With <code>expose=false</code> it is for a look only, and no exposure</li>
<li><code>/explain/USER?item=ITEM</code>: what makes the score of an item for a user, as JSON</li>
<li><a href="readyz">/readyz</a>: whether it has its partitions and its state</li>
<li><a href="healthz">/healthz</a>: what it is doing</li>
<li><a href="metrics">/metrics</a>: metrics, as Prometheus reads them</li>
</ul>
</body>
</html>
"""
"""The links are relative: the worker may stand behind a path of a gateway."""


class _Refused(Exception):
    """A request that is not answered, with the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class WebServer:
    """Serves one worker on ``address`` (host, port; port 0 picks a free one, see `start`).

    ``state()`` is ``ready`` or says what the worker is waiting for. Until ``serve`` has been called there is no
    pipeline to ask, and requests for lists get 503.
    """

    def __init__(self, address: tuple[str, int], state: Callable[[], str], metrics: WorkerMetrics) -> None:
        self._address, self._state, self._metrics = address, state, metrics
        self._pipeline: Pipeline | None = None
        self._store: SessionStore | None = None
        self._note: Note = lambda made, body: None
        self._encode = msgspec.json.Encoder().encode
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/recommendations/{user_id:.*}", self._recommendations),
                web.get("/explain/{user_id:.*}", self._explanation),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._page),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    def serve(self, pipeline: Pipeline, store: SessionStore, note: Note | None = None) -> None:
        """Answer requests from now on, and ``note`` each list that will be shown."""
        self._pipeline, self._store = pipeline, store
        self._note = note or self._note

    async def start(self) -> str:
        """Listen and return ``host:port``. Raises OSError if the port is taken."""
        await self._runner.setup()
        host, port = self._address
        await web.TCPSite(self._runner, host, port).start()
        bound = self._runner.addresses[0]
        return f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"

    async def stop(self) -> None:
        """Finish requests under way and close the port."""
        await self._runner.cleanup()

    async def _recommendations(self, request: web.Request) -> web.Response:
        # Whoever asks for the head alone is a health check or a probe, and shows nothing.
        expose = "false" if request.method == "HEAD" else request.query.get("expose", "true")
        return await self._answer(self._recommend(request.match_info["user_id"], request.query.get("k"), expose))

    async def _explanation(self, request: web.Request) -> web.Response:
        return await self._answer(self._explain(request.match_info["user_id"], request.query.get("item", "")))

    async def _answer(self, made: Awaitable[Answer]) -> web.Response:
        start = time.perf_counter()
        status, body = await made
        self._metrics.requests.labels(str(status)).inc()
        self._metrics.request_seconds.observe(time.perf_counter() - start)
        return web.Response(status=status, body=body, content_type="application/json")

    async def _recommend(self, user_id: str, k_text: str | None, expose: str) -> Answer:
        try:
            pipeline, state = await self._known(user_id)
            k = pipeline.config.k
            if k_text is not None:
                if not (k_text.isascii() and k_text.isdecimal() and len(k_text) < 9 and 1 <= int(k_text) <= MAX_K):
                    raise _Refused(400, f"expected k from 1 to {MAX_K}, got {k_text[:32]!r}")
                k = int(k_text)
            if expose not in ("true", "false"):
                raise _Refused(400, f"expected expose=true or expose=false, got {expose[:32]!r}")
        except _Refused as refused:
            return self._refuse(refused)
        made = pipeline.recommend(user_id, k, state)
        body = self._encode(made)
        if expose == "true":
            self._note(made, body)
        return 200, body

    async def _explain(self, user_id: str, item_id: str) -> Answer:
        try:
            if not 1 <= len(item_id) <= MAX_ID:
                raise _Refused(400, f"expected ?item= with an id of 1 to {MAX_ID} characters, got {len(item_id)}")
            pipeline, state = await self._known(user_id)
        except _Refused as refused:
            return self._refuse(refused)
        return 200, self._encode(explain(pipeline, user_id, item_id, state))

    async def _known(self, user_id: str) -> tuple[Pipeline, UserState]:
        """The pipeline, and what is known of a user. Raises `_Refused`."""
        if not 1 <= len(user_id) <= MAX_ID:
            raise _Refused(400, f"expected a user id of 1 to {MAX_ID} characters, got {len(user_id)}")
        if self._pipeline is None or self._store is None:
            raise _Refused(503, f"expected a worker with its state, got one that is {self._state()}; try again")
        state = self._pipeline.sessions.peek(user_id)
        if state is None:  # not ours, or not seen lately: what is stored is as fresh as the last micro-batch
            try:
                [raw] = await asyncio.wait_for(self._store.mget([user_id]), STORE_PATIENCE_S)
            except asyncio.TimeoutError:
                raise _Refused(503, "expected the users' states, got no answer from Redis; try again") from None
            state = self._pipeline.sessions.decode(user_id, raw)
        return self._pipeline, state

    def _refuse(self, refused: _Refused) -> Answer:
        return refused.status, self._encode({"error": str(refused)})

    async def _index(self, request: web.Request) -> web.Response:
        return web.Response(text=_INDEX.format(state=html.escape(self._state())), content_type="text/html")

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"state": self._state()})

    async def _readyz(self, request: web.Request) -> web.Response:
        state = self._state()
        return web.json_response({"state": state}, status=200 if state == "ready" else 503)

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics.page(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )
