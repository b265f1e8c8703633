"""Beside: work on a copy of what there is, on another core if there is one, while the original goes on."""

from __future__ import annotations

import ctypes
import math
import mmap
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

FORKS = sys.platform == "linux"
PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when its parent ends."""


def shared(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Zeros that this process and those that it forks have in common."""
    kind = np.dtype(dtype)
    memory = mmap.mmap(-1, max(math.prod(shape) * kind.itemsize, 1))
    return np.frombuffer(memory, kind, math.prod(shape)).reshape(shape)


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """Do ``work`` in a fork of this process while the body runs, and wait for it; only what it writes to `shared` arrays is seen here.
    The fork ends when this process does.

    Elsewhere than on Linux, where libraries may not mind forks, it is done before the body instead. Raises RuntimeError where the
    fork fails; what failed stands on stderr.
    """
    if not FORKS:
        work()
        yield
        return
    copy = multiprocessing.get_context("fork").Process(target=_alone, args=(work, os.getpid()), daemon=True)
    with warnings.catch_warnings():
        # newer Pythons warn of other threads: numpy's BLAS minds forks, and a bar that is drawn in one is not touched by the copy
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


def _alone(work: Callable[[], None], original: int) -> None:
    """In the copy. What it says goes to the real stderr: another thread of the original may have held the lock of a console."""
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the original hears of it, and ends the copy
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == original:
        work()
