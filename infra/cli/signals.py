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


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """Within the block SIGINT raises KeyboardInterrupt, SIGTERM and SIGHUP raise SystemExit with 128 and their number, so that what
    it has opened is closed. Signals that come after the first one are ignored: the closing is not cut off.

    SIGINT is heard where the shell has it ignored too, SIGHUP is not (``nohup``).
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}

    def leave(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    for number in numbers:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
