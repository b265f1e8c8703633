"""A worker that dies anywhere comes back and publishes the very lists of an undisturbed run; nothing is learned twice."""

from __future__ import annotations

import random

import pytest

from streams.config import PipelineConfig
from tests.worlds import Killed, Worker, World, shop_log

CONFIG = PipelineConfig()


def undisturbed(log):
    world = World()
    worker = Worker(world, log, CONFIG, random.Random(0))
    worker.run()
    return world, worker


@pytest.mark.parametrize("seed", range(40))
def test_lists_and_counts_after_any_number_of_deaths(seed):
    log = shop_log(260, seed=seed)
    want, reference = undisturbed(log)
    rng = random.Random(seed)
    world = World()
    deaths = 0
    while True:
        worker = Worker(world, log, CONFIG, rng, die_at=rng.randint(1, 250), confirm_commits=rng.random() < 0.7)
        try:
            worker.run()
            break
        except Killed:
            deaths += 1
    assert deaths > 2
    assert set(world.published) == set(want.published)
    for request, copies in world.published.items():
        assert set(copies) == set(want.published[request]), f"{request} differs after {deaths} deaths"
    n = len(reference.pipeline.knowledge.items)
    ours, theirs = worker.pipeline.knowledge, reference.pipeline.knowledge
    assert ours.items.ids == theirs.items.ids
    assert ours.items.count[:n].tolist() == theirs.items.count[:n].tolist()
    assert len(world.interactions) == len(want.interactions), "an interaction was published twice or lost"
    assert (ours.blend.weights == theirs.blend.weights).all()
