"""After warming up nothing is left to be compiled on the path of an event."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import pkgutil, importlib
import online_models, streams
from numba.core.dispatcher import Dispatcher
from streams.config import PipelineConfig
from streams.contracts.events import Source
from streams.pipeline import Pipeline
from streams.warm_up import warm_up
from tests.worlds import shop_log

def compiled():
    found = {}
    for package in (online_models, streams):
        for info in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            for name, value in vars(importlib.import_module(info.name)).items():
                if isinstance(value, Dispatcher):
                    found[value.py_func.__module__, name] = len(value.signatures)
    return found

warm_up(PipelineConfig())
ready = compiled()
assert sum(ready.values()) > 10, ready
pipeline = Pipeline(PipelineConfig(max_items=40), stored=True)
for n, event in enumerate(shop_log(400)):
    pipeline.on_event(event, Source(0, n))
pipeline.recommend("u1", 20)
late = {name: count for name, count in compiled().items() if count != ready.get(name)}
assert not late, f"compiled only by a real event: {late}"
"""


def test_nothing_is_compiled_by_a_real_event():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
