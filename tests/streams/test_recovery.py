"""A worker that dies or is stopped anywhere comes back and publishes the very lists of an undisturbed run; nothing is learned twice."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from streams import sessions
from streams.config import PipelineConfig
from streams.contracts.events import Source
from tests.worlds import Killed, Worker, World, shop_log

CONFIG = PipelineConfig()


def undisturbed(log):
    world = World()
    worker = Worker(world, log, CONFIG, random.Random(0))
    worker.run()
    return world, worker


@pytest.mark.parametrize("seed", range(40))
def test_lists_and_counts_after_any_number_of_deaths(seed, monkeypatch):
    if seed % 2:
        monkeypatch.setattr(sessions, "FOLD", 1 + seed % 4)  # images made ahead, as of a busy user
    log = shop_log(260, seed=seed)
    want, reference = undisturbed(log)
    rng = random.Random(seed)
    world = World()
    ends = 0
    while True:
        stop_at = rng.randint(1, 20) if rng.random() < 0.3 else -1
        confirms = rng.random() < 0.7
        worker = Worker(world, log, CONFIG, rng, die_at=rng.randint(1, 250), stop_at=stop_at, confirm_commits=confirms)
        ends += 1
        try:
            if worker.run():
                break
        except Killed:
            continue
    assert ends > 3
    assert set(world.published) == set(want.published)
    for request, copies in world.published.items():
        assert set(copies) == set(want.published[request]), f"{request} differs after {ends} lives"
    n = len(reference.pipeline.knowledge.items)
    ours, theirs = worker.pipeline.knowledge, reference.pipeline.knowledge
    assert ours.items.ids == theirs.items.ids
    assert ours.items.count[:n].tolist() == theirs.items.count[:n].tolist()
    assert len(world.interactions) == len(want.interactions), "an interaction was published twice or lost"
    assert (ours.blend.weights == theirs.blend.weights).all()


def test_states_that_outlive_their_topics_take_new_events():
    """Redis was kept, the broker is new: its offsets start again and say nothing of what is in the states."""
    old, new = shop_log(200, seed=1), shop_log(150, seed=2)
    kept = undisturbed(old)[0].store
    worker = Worker(World(store=dict(kept)), new, CONFIG, random.Random(0))
    first = {event.user_id: n for n, event in reversed(list(enumerate(new)))}
    before = {user: worker.pipeline.sessions.decode(user, kept.get(user), Source(0, n)) for user, n in first.items()}
    worker.run()
    for user, count in Counter(event.user_id for event in new).items():
        assert worker.pipeline.sessions.get(user).n_events == before[user].n_events + count
