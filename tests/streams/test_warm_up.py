"""After warming up nothing is left to be compiled on the path of an event."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import pkgutil, importlib
import online_models, streams
from numba.core.dispatcher import Dispatcher
from streams.config import PipelineConfig, SourcesConfig, UntriedConfig
from streams.contracts.catalogue import Item
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

config = PipelineConfig(max_items=40, sources=SourcesConfig(untried=UntriedConfig(kappa=5.0, bonus=1.0)))
warm_up(config)
ready = compiled()
assert sum(ready.values()) > 10, ready
pipeline = Pipeline(config, stored=True)
for n, event in enumerate(shop_log(400)):
    pipeline.on_event(event, Source(0, n))
    pipeline.catalogue_update(event.item_id, Item(item_id=event.item_id, categories=[str(n % 5)], price=1.0 + n % 9))
pipeline.recommend("u1", 20)
late = {name: count for name, count in compiled().items() if count != ready.get(name)}
assert not late, f"compiled only by a real event: {late}"
"""


def test_nothing_is_compiled_by_a_real_event():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
