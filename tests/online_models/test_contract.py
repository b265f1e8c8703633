"""Every source that is found in the package keeps every check, and every check finds a source that breaks it."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import online_models
from online_models import checks
from online_models.base import Source
from online_models.deep import Deep

BUILD: dict[str, dict[str, dict[str, Any]]] = {
    # A source that needs no arguments needs no line here. Caps are small: the checks have to reach them. Popularity
    # decays so fast that float32 tells all scores apart: two that differ by less are listed in their exact order.
    "Popularity": {"": {"half_lives": [10.0, 100.0, 1000.0]}},
    "CoVisitation": {
        "following": {"name": "following", "window": 1, "last": 1, "half_life": 50.0},
        "near": {"name": "near", "window": 3, "last": 2, "half_life": 500.0, "row_cap": 8},
        "far": {"name": "far", "window": 10, "last": 10, "half_life": 1e5, "step": 0.9, "max_age_ms": 1 << 60, "both": True},
    },
    "SessionKNN": {
        "user": {"unit": "user", "m": 64, "k": 20, "width": 8, "capacity": 128},
        "session": {"unit": "session", "m": 16, "k": 5, "width": 32, "capacity": 128},
    },
    "MatrixFactorization": {
        "": {"dims": 8, "window": 100, "scan": 1000},
        "scan": {"dims": 8, "window": 100, "scan": 20},
        "isgd": {"dims": 8, "loss": "isgd"},
        "isgd-negatives": {"dims": 8, "loss": "isgd-negatives", "scan": 20},
    },
    "Ratings": {"": {"max_users": 64}},
}  # fmt: skip
"""Class → name of a variant → arguments."""


def sources() -> Iterator[type]:
    """All but the deep model, which is nothing without the version that a query names: see `test_deep`."""
    for found in pkgutil.iter_modules(online_models.__path__, "online_models."):
        module = importlib.import_module(found.name)
        for _, thing in inspect.getmembers(module, inspect.isclass):
            if thing.__module__ == module.__name__ and hasattr(thing, "candidates") and thing not in (Source, Deep):
                yield thing


def builders() -> dict[str, Callable[[], Source]]:
    found = {}
    for cls in sources():
        for variant, arguments in BUILD.get(cls.__name__, {"": {}}).items():
            found["-".join(filter(None, (cls.__name__, variant)))] = lambda cls=cls, a=arguments: cls(**a)
    return found


BUILDERS = builders()


def test_the_sources_are_found() -> None:
    assert {"Popularity", "Recency", "Repeats", "Ratings"} <= {name.partition("-")[0] for name in BUILDERS}
    assert BUILD.keys() <= {cls.__name__ for cls in sources()}
    for build in BUILDERS.values():
        assert isinstance(build(), Source)
        assert len(set(build().lists)) == len(build().lists) > 0


@pytest.mark.parametrize("check", checks.all_checks(), ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", BUILDERS)
def test_every_source_keeps(name: str, check: checks.Check) -> None:
    check(BUILDERS[name])


SCRIPT = """
from online_models import checks
from tests.online_models.test_contract import BUILDERS
print(*(f"{name} {checks.digest(build())}" for name, build in BUILDERS.items()), sep="\\n")
"""


def test_the_hash_seed_of_python_plays_no_part() -> None:
    told = set()
    for seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
        told.add(run.stdout)
    [lines] = told
    assert lines.split()[::2] == list(BUILDERS)
    assert len(set(lines.split()[1::2])) == len(BUILDERS)
