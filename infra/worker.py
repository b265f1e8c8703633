"""Run a worker in this process until it is told to stop, or until something of ours fails."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import warnings

from infra.settings import Settings, load
from streams.app.agents import Headrace, Options
from streams.pipeline import Pipeline

log = logging.getLogger("headrace")

STOP_LIMIT_S = 8.0
"""A worker has to be gone 10 s after SIGTERM, whatever its surroundings do."""


def build(settings: Settings) -> Headrace:
    """The Faust application of these settings. Nothing is connected before it is started."""
    options = Options(
        brokers=settings.brokers,
        redis=settings.redis,
        web=settings.web_address,
        data_dir=settings.data_dir,
        topic_prefix=settings.topic_prefix,
        worker=settings.worker,
    )
    return Headrace(options, lambda topic: Pipeline(settings.pipeline, topic=topic, stored=True))


def default_app() -> Headrace:
    """The application of this process's settings, for ``faust -A streams.app worker``."""
    return build(load())


def run(settings: Settings, log_level: str = "info") -> None:
    """Work until SIGTERM or SIGINT. Raises what ended the worker otherwise (ServiceError, SnapshotError, or a bug), and after a
    clean stop by SIGINT KeyboardInterrupt.

    Messages go to stderr: at ``info`` one line at the start, one when ready, and what needs somebody's attention.
    """
    _configure_logging(log_level)
    if asyncio.run(_run(settings)) == signal.SIGINT:
        raise KeyboardInterrupt


async def _run(settings: Settings) -> int | None:
    """The signal that ended it, if one did."""
    app = build(settings)
    app.in_worker = True
    stop = asyncio.Event()
    got: list[int] = []
    loop = asyncio.get_running_loop()

    def note(number: int) -> None:
        got.append(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, note, number)
    start = asyncio.ensure_future(app.start())
    told = asyncio.ensure_future(stop.wait())
    await asyncio.wait({start, told}, return_when=asyncio.FIRST_COMPLETED)
    if not told.done() and start.exception() is None:
        gc.collect()
        gc.freeze()  # libraries and what was restored: looking through them again and again would stop the stream for 0.2 s
        ended = asyncio.ensure_future(app.wait_until_stopped())
        await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
    told.cancel()
    if not start.done():
        start.cancel()
        await asyncio.wait({start}, timeout=1.0)
    failure = (start.exception() if start.done() and not start.cancelled() else None) or app.crash_reason
    ending = asyncio.ensure_future(app.stop())
    await asyncio.wait({ending}, timeout=STOP_LIMIT_S)
    failure = failure or app.crash_reason or (ending.exception() if ending.done() else None)
    if isinstance(failure, asyncio.CancelledError):
        failure = None  # Faust's word for a service that was stopped in the middle of a rebalance
    left_over = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left_over:
        task.cancel()
    if left_over:
        await asyncio.wait(left_over, timeout=1.0)
    if any(not task.done() for task in left_over):
        _leave(failure)
    if failure is not None:
        raise failure
    return got[0] if got else None


def _leave(failure: BaseException | None) -> None:
    """End the process here: clients whose broker does not answer ignore that their tasks are cancelled."""
    if failure is not None:
        log.error("%s", failure)
    log.error("stopped without an answer from the broker; what was not committed will be delivered again")
    logging.shutdown()
    os._exit(1)


def _configure_logging(level: str) -> None:
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    logging.getLogger("headrace").setLevel(level.upper())
    if level == "debug":
        logging.getLogger().setLevel(logging.INFO)
    else:
        # What they would say about a failure is raised and said by us, without the same traceback for each service.
        for name in ("faust", "mode", "streams.app"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        for name in ("aiokafka", "kafka"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        warnings.simplefilter("ignore", ResourceWarning)
