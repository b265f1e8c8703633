"""The online rim: Faust, Kafka, Redis and HTTP round the pipeline.

``faust -A streams.app worker`` finds the application as the attribute ``app``. It is built on first use from the
settings of the process, through the entry point ``default`` of group ``headrace.app``: they are read elsewhere.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from online_models.errors import ServiceError

ENTRY_POINTS = "headrace.app"


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = entry_points(group=ENTRY_POINTS, name="default")
    if not found:
        raise ServiceError(
            f"an entry point 'default' in group {ENTRY_POINTS!r}",
            "none",
            "install the package headrace (pip install -e .)",
        )
    globals()["app"] = app = next(iter(found)).load()()
    return app
