"""Beside: work on a copy of what there is, on another core, while the original goes on."""

from __future__ import annotations

import math
import mmap
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt


def shared(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Zeros that this process and those that it forks have in common."""
    kind = np.dtype(dtype)
    memory = mmap.mmap(-1, max(math.prod(shape) * kind.itemsize, 1))
    return np.frombuffer(memory, kind, math.prod(shape)).reshape(shape)


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """Do ``work`` in a fork of this process while the body runs, and wait for it; only what it writes to `shared` arrays is seen here.

    With one core, or no fork, it is done before the body instead, so it must leave everything but those arrays as it finds them. Raises
    RuntimeError where the fork fails; what failed stands on stderr.
    """
    if _cores() < 2 or "fork" not in multiprocessing.get_all_start_methods():
        work()
        yield
        return

    def alone() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the original hears of it, and ends the copy
        work()

    copy = multiprocessing.get_context("fork").Process(target=alone, daemon=True)
    with warnings.catch_warnings():
        # newer Pythons warn of threads, which a fork has none of; those here are the idle ones of numpy's BLAS, which minds forks
        warnings.simplefilter("ignore", DeprecationWarning)
        copy.start()
    try:
        yield
        copy.join()
    except BaseException:
        copy.kill()
        copy.join()
        raise
    if copy.exitcode:
        raise RuntimeError(f"a process that was forked ended with {copy.exitcode}")


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
