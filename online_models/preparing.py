"""``python -m online_models.preparing FOLDER SHA256 OUT [RESTLESS_S]``: make an artefact ready on what time and cores the stream
beside it leaves; for ``RESTLESS_S`` seconds there is no stream yet."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, process_time, sleep

from .errors import ArtefactError

NOT_IN_ORDER = 3
"""Exit status where the artefact must not be used; after any other than 0 it may be another time."""
REST, SLICE_S = 0.8, 0.005
"""Share of its time that preparing spends asleep, and how long it works at a stretch: the stream beside it needs caches and
memory too, not only a core."""


@contextmanager
def _gently(restless_s: float) -> Iterator[None]:
    """Work for a few milliseconds at a time and, once so many seconds have passed, sleep in between, whatever is being done."""
    os.nice(10)
    last, begin = process_time(), monotonic() + restless_s

    def rest(*_: object) -> None:
        nonlocal last
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        if monotonic() >= begin:
            sleep(max(process_time() - last, 0.0) * REST / (1.0 - REST))
        last = process_time()
        signal.setitimer(signal.ITIMER_PROF, SLICE_S)  # of CPU time

    signal.signal(signal.SIGPROF, rest)
    signal.setitimer(signal.ITIMER_PROF, SLICE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)


def main() -> None:
    """See the module."""
    folder, sha256, out, restless_s = (*sys.argv[1:], "0")[:4]
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    from .prepared import prepare, save  # numpy looks now for how many cores there are: its threads would not rest

    if cores:
        os.sched_setaffinity(0, cores)
    try:
        with _gently(float(restless_s)):
            save(prepare(Path(folder), sha256 or None), Path(out))
    except ArtefactError as error:
        print(error, file=sys.stderr)
        sys.exit(NOT_IN_ORDER)
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
