"""Over hundreds of experiments that are looked at all the time, the sequences are wrong as rarely as they say.

`python -m tests.bench experiments` is the same with ten thousand.
"""

from __future__ import annotations

import numpy as np
import pytest

from online_models.experiments import effects
from online_models.experiments.sums import Sums
from tests.bench import experiments as bench
from tests.bench.simulated import WORLDS, World, compare, moments, play, staying

MANY = 400
BOUND = 0.05 + 3.0 * (0.05 * 0.95 / MANY) ** 0.5


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
@pytest.mark.parametrize("adjust", [False, True], ids=["plain", "adjusted"])
def test_the_arrays_of_the_simulation_are_what_compare_says(world: World, adjust: bool) -> None:
    rng, shape = np.random.default_rng(4), (3, 8, 50)
    columns = [world.draw(rng, shape, lift) for lift in (0.0, 0.3)]
    looks = compare(*map(moments, columns), world.metric, adjust and world.metric.covariate, 100)
    for e in range(shape[0]):
        for k in range(shape[1]):
            a, b = (
                Sums.of_units(np.stack([c[e, : k + 1].ravel() for c in variant], axis=1).tolist(), len(variant))
                for variant in columns
            )
            found = effects.compare(a, b, world.metric, adjust=adjust)
            assert isinstance(found, effects.Effect) == looks.known[e, k]
            if isinstance(found, effects.Effect):
                assert (found.estimate, found.error) == pytest.approx((looks.estimate[e, k], looks.error[e, k]))


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_sequences_hold_at_every_look_and_a_fixed_interval_does_not(world: World) -> None:
    for lift, seed in ((0.0, 1), (world.lift, 2)):
        for looks in play(world, MANY, lift=lift, seed=seed).values():
            wrong = {
                name: bench.misses(looks, half, lift).any(axis=1).mean()
                for name, half in bench.half_widths(looks, world.lift).items()
            }
            assert wrong["GAVI"] <= BOUND
            assert wrong["mSPRT"] <= BOUND
            assert wrong["fixed"] > 2.0 * BOUND


@pytest.mark.parametrize("world", WORLDS[2:], ids=lambda world: world.name)
def test_a_covariate_finds_more_of_what_is_there(world: World) -> None:
    found = {}
    for adjust, looks in play(world, MANY, lift=world.lift, seed=3).items():
        found[adjust] = bench.misses(looks, bench.half_widths(looks, world.lift)["GAVI"], 0.0).any(axis=1).mean()
    assert found[True] > 1.3 * found[False] > 0.1


def test_mismatches_are_false_alarms_as_rarely_as_they_say() -> None:
    right, wrong = bench.mismatches(0.5, MANY, 1), bench.mismatches(0.52, MANY, 2)
    assert right[0][:, -1].mean() < 0.03
    assert right[0].any(axis=1).mean() > 0.05
    assert right[1].any(axis=1).mean() < 0.03
    assert wrong[1].any(axis=1).mean() > 0.9


def test_totals_that_grow_while_nobody_comes_do_not_make_sequences_miss() -> None:
    """Their theory is for units that come; what is asked for is that they hold here too."""
    looks = staying(MANY, units=200, rate=0.25)
    wrong = {
        name: bench.misses(looks, half, 0.0).any(axis=1).mean() for name, half in bench.half_widths(looks, 0.2).items()
    }
    assert max(wrong["GAVI"], wrong["mSPRT"]) <= BOUND < 0.5 * wrong["fixed"]
