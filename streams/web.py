"""The worker's HTTP: recommendations on request, health, readiness, metrics, and a page that names them."""

from __future__ import annotations

import asyncio
import html
import logging
import time
from collections.abc import Callable

import msgspec
from aiohttp import web

from streams.contracts.events import MAX_ID
from streams.contracts.recommendations import Recommendation
from streams.metrics import WorkerMetrics
from streams.pipeline import Pipeline
from streams.stores import SessionStore

log = logging.getLogger("headrace")

MAX_K = 200
STORE_PATIENCE_S = 2.0

Answer = tuple[int, bytes]
Note = Callable[[Recommendation, bytes], None]
"""Takes each list that is answered, and the body of the answer."""

_INDEX = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Headrace worker</title></head>
<body>
<h1>Headrace worker</h1>
<p>State: {state}</p>
<ul>
<li><code>/recommendations/USER?k=20</code>: the list of a user, as JSON; for example <a href="recommendations/1?k=5">of user 1</a></li>
<li><a href="readyz">/readyz</a>: whether it has its partitions and its state</li>
<li><a href="healthz">/healthz</a>: what it is doing</li>
<li><a href="metrics">/metrics</a>: metrics, as Prometheus reads them</li>
</ul>
</body>
</html>
"""
"""The links are relative: the worker may stand behind a path of a gateway."""


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
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._page),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    def serve(self, pipeline: Pipeline, store: SessionStore, note: Note | None = None) -> None:
        """Answer requests for lists from now on, and ``note`` each."""
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
        start = time.perf_counter()
        status, body = await self._recommend(request.match_info["user_id"], request.query.get("k"))
        self._metrics.requests.labels(str(status)).inc()
        self._metrics.request_seconds.observe(time.perf_counter() - start)
        return web.Response(status=status, body=body, content_type="application/json")

    async def _recommend(self, user_id: str, k_text: str | None) -> Answer:
        if not 1 <= len(user_id) <= MAX_ID:
            return self._refuse(400, f"expected a user id of 1 to {MAX_ID} characters, got {len(user_id)}")
        if self._pipeline is None or self._store is None:
            return self._refuse(503, f"expected a worker with its state, got one that is {self._state()}; try again")
        k = self._pipeline.config.k
        if k_text is not None:
            if not (k_text.isascii() and k_text.isdecimal() and len(k_text) < 9 and 1 <= int(k_text) <= MAX_K):
                return self._refuse(400, f"expected k from 1 to {MAX_K}, got {k_text[:32]!r}")
            k = int(k_text)
        state = self._pipeline.sessions.peek(user_id)
        if state is None:  # not ours, or not seen lately: what is stored is as fresh as the last micro-batch
            try:
                [raw] = await asyncio.wait_for(self._store.mget([user_id]), STORE_PATIENCE_S)
            except asyncio.TimeoutError:
                return self._refuse(503, "expected the users' states, got no answer from Redis; try again")
            state = self._pipeline.sessions.decode(user_id, raw)
        made = self._pipeline.recommend(user_id, k, state)
        body = self._encode(made)
        self._note(made, body)
        return 200, body

    def _refuse(self, status: int, message: str) -> Answer:
        return status, self._encode({"error": message})

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
