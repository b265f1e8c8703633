"""The search against planted landscapes: what it finds, what it refuses, and that it can be gone on with anywhere."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from infra.tuning.search import MARGINS, ROUND, Proposal, Result, Search
from infra.tuning.space import Knob, Point, Space
from infra.tuning.trial import RUNGS, Judged, Slice
from streams.config import PipelineConfig

SPACE = Space(
    PipelineConfig(),
    (
        Knob("blend.lr", (0.01, 0.02, 0.03, 0.05, 0.08), 0),
        Knob("blend.eps", (0.03, 0.1, 0.3, 1.0), 1),
        Knob("sources.knn.k", (50, 100, 200, 400), 1),
        Knob("sources.entry", (500.0, 2_000.0, 8_000.0), 2),
        Knob("sources.factors.last", (3, 5, 10), 2),
    ),
)
Landscape = Callable[[Point], tuple[float, float]]


def judged(search: Search, proposal: Proposal, land: Landscape) -> Result:
    """As a trial: given up where it is behind at a rung."""
    fit, validation = land(proposal.point)
    rungs = [fit * 0.9 for _ in RUNGS]
    for n, bar in enumerate(search.bars):
        if rungs[n] < bar:
            return Result(proposal.number, proposal.point, proposal.why, Judged(rungs[: n + 1], None, None, 1.0))
    slices = (Slice(500, {"ndcg@20": value}) for value in (fit, validation))
    return Result(proposal.number, proposal.point, proposal.why, Judged(rungs, *slices, 1.0))


def run(land: Landscape, rounds: int, seed: int = 0) -> Search:
    search = Search(SPACE, "ndcg@20", seed)
    for _ in range(rounds):
        search.close([judged(search, proposal, land) for proposal in search.propose()])
    return search


def hill(point: Point) -> tuple[float, float]:
    """Best at the ends of the first three knobs, and the same in both slices."""
    distance = abs(point[0] - 4) + 2 * abs(point[1] - 3) + abs(point[2] - 0) + 0.1 * (point[3] + point[4])
    return 0.3 - 0.01 * distance, 0.31 - 0.01 * distance


def test_trial_0_is_the_start_and_has_no_bars() -> None:
    search = Search(SPACE, "ndcg@20", 0)
    [first] = search.propose()
    assert (first.number, first.point, first.why, search.bars) == (0, SPACE.start, "default", ())


def test_the_top_of_a_hill_is_found_whatever_the_seed() -> None:
    for seed in range(10):
        chosen = run(hill, 14, seed).chosen()
        assert chosen.point[:3] == (4, 3, 0), (seed, chosen)


def test_where_nothing_is_better_the_start_stays() -> None:
    def pit(point: Point) -> tuple[float, float]:
        distance = sum(abs(a - b) for a, b in zip(point, SPACE.start, strict=True))
        return 0.3 - 0.0001 * distance, 0.3 - 0.0001 * distance

    assert run(pit, 8).chosen().number == 0


def test_what_the_validation_does_not_confirm_is_not_taken() -> None:
    def overfitted(point: Point) -> tuple[float, float]:
        fit, _ = hill(point)
        return fit, 0.2 - fit

    search = run(overfitted, 8)
    assert len(search.bests) > 2, "the search itself does not look at the validation"
    assert search.chosen().number == 0


def test_the_chosen_one_is_never_below_the_start_on_either_slice() -> None:
    for seed in range(30):
        noise = random.Random(seed)
        values: dict[Point, tuple[float, float]] = {}

        def land(point: Point) -> tuple[float, float]:
            return values.setdefault(point, (0.3 + noise.gauss(0, 0.01), 0.3 + noise.gauss(0, 0.01)))  # noqa: B023

        chosen = run(land, 5, seed).chosen().judged
        start = values[SPACE.start]
        assert chosen.fit is not None
        assert chosen.validation is not None
        assert chosen.fit.means["ndcg@20"] >= start[0]
        assert chosen.validation.means["ndcg@20"] >= start[1]


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_won_at_another_metrics_cost_is_not_taken(which: int) -> None:
    search = Search(SPACE, "ndcg@20", 0)
    for _ in range(5):
        done = []
        for proposal in search.propose():
            plain = judged(search, proposal, hill)
            slices = [plain.judged.fit, plain.judged.validation]
            if slices[0] is not None and slices[1] is not None:
                # With each step to the top, the hit rate of one slice falls.
                slices = [
                    msgspec.structs.replace(s, means=s.means | {"hr@20": 0.5 - s.means["ndcg@20"] * (n == which)})
                    for n, s in enumerate(slices)
                    if s is not None
                ]
            done.append(
                msgspec.structs.replace(
                    plain, judged=msgspec.structs.replace(plain.judged, fit=slices[0], validation=slices[1])
                )
            )
        search.close(done)
    assert len(search.bests) > 2
    assert search.chosen().number == 0


def test_no_point_is_tried_twice_and_a_small_space_ends() -> None:
    search = Search(Space(PipelineConfig(), SPACE.knobs[3:]), "ndcg@20", 0)
    points: list[Point] = []
    for _ in range(100):
        proposals = search.propose()
        if not proposals:
            break
        assert len(proposals) <= ROUND
        points += [p.point for p in proposals]
        search.close([judged(search, p, lambda point: (0.3 + 0.01 * sum(point), 0.3)) for p in proposals])
    assert len(points) == len(set(points)) <= 9
    assert search.propose() == []


def test_the_same_seed_gives_the_same_trials_and_another_one_others() -> None:
    one, same, other = (run(hill, 6, seed) for seed in (3, 3, 4))
    assert one.results == same.results
    assert [r.point for r in one.results.values()] != [r.point for r in other.results.values()]


def test_results_that_are_known_already_lead_to_the_same_proposals() -> None:
    """As after a kill: the rounds are gone through again with what is on disk."""
    whole = run(hill, 6)
    again = Search(SPACE, "ndcg@20", 0)
    while again.results.keys() != whole.results.keys():
        proposals = again.propose()
        assert [whole.results[p.number].point for p in proposals] == [p.point for p in proposals]
        again.close([whole.results[p.number] for p in proposals])
    assert again.chosen() == whole.chosen()


def test_a_trial_is_measured_against_the_best_so_far() -> None:
    search = run(hill, 6)
    best = search.results[search.bests[-1]].judged
    assert search.bars == tuple(margin * rung for margin, rung in zip(MARGINS, best.rungs, strict=True))
    assert any(result.judged.fit is None for result in search.results.values())


def test_steps_that_were_good_apart_are_tried_together() -> None:
    found = {result.why for seed in range(5) for result in run(hill, 8, seed).results.values()}
    assert found >= {"default", "step", "jump", "further", "together"}
