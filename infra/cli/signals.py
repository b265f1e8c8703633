"""How a command that runs until it is told to stop hears of it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from threading import Event
from types import FrameType


@contextlib.contextmanager
def until_told() -> Iterator[tuple[Event, Callable[[], bool]]]:
    """An event that SIGTERM or SIGINT sets, and whether it was SIGINT. A second one ends the process as usual.

    It also hears SIGINT where the shell has it ignored, as for a job in the background of a script.
    """
    stop, got = Event(), []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        got.append(number)
        back()
        stop.set()

    for number in before:
        signal.signal(number, note)
    try:
        yield stop, lambda: signal.SIGINT in got
    finally:
        back()
