"""Where to look next: rounds of small steps from the best settings so far, raced against them; a function of seed and results.

A round tries what was best in the round before together, the same steps once more, steps of one knob each, and one jump of
several. Those that fall behind the best at a rung are given up (racing, as in Maron and Moore, "Hoeffding races", NIPS 1993, with fixed
margins: the moments are the same, so differences are paired). What is taken in the end has to be better on the validation slice too, which
the search itself never looks at.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from .space import Point, Space
from .trial import RUNGS, Judged, Slice

ROUND = 4
"""Trials of a round, whatever the number of processes: the same for all, so that they come to the same."""

MARGINS = (0.993, 0.998)
"""Shares of the best one's metric that a trial has to reach at the rungs."""

GAIN = 1e-4
"""What is not better by this share is not better."""

MANY = 6
"""Values of a knob from which on a step passes one over."""

JUMP = 3
"""Knobs that are turned at once in a jump."""

assert len(MARGINS) == len(RUNGS)  # noqa: S101


class Result(msgspec.Struct, frozen=True):
    """A trial that was done: where, why there, and what came of it."""

    number: int
    point: Point
    why: str
    judged: Judged


@dataclass(frozen=True)
class Proposal:
    """A trial to be done."""

    number: int
    point: Point
    why: str


class Search:
    """Gives rounds of proposals; `close` takes the results of a round. Trial 0 is the start itself."""

    def __init__(self, space: Space, metric: str, seed: int) -> None:
        self._space, self._metric = space, metric
        self._rng = random.Random(seed)
        self._seen: set[Point] = set()
        self._queue: list[dict[int, int]] = []
        self._steps: list[dict[int, int]] = []
        """What made the last round's trials better than the best before them, the best first."""
        self.results: dict[int, Result] = {}
        self.bests: list[int] = []
        """The trials that were the best so far, in order."""

    def propose(self) -> list[Proposal]:
        """The next round; empty where there is nothing left to try."""
        if not self.results:
            self._seen.add(self._space.start)
            return [Proposal(0, self._space.start, "default")]
        best = self._best.point
        wanted: list[tuple[str, dict[int, int]]] = []
        if len(self._steps) > 1:
            wanted.append(("together", {knob: step for steps in self._steps[1:] for knob, step in steps.items()}))
        if self._steps:
            wanted.append(("further", {knob: (step > 0) - (step < 0) for knob, step in self._steps[0].items()}))
        found: list[tuple[str, Point]] = []
        for why, steps in wanted:
            self._take(found, why, best, steps)
        refilled = False
        while len(found) < ROUND - 1:
            if not self._queue:
                if refilled:
                    break
                self._refill()
                refilled = True
                continue
            self._take(found, "step", best, self._queue.pop(0))
        for _ in range(100):
            knobs = self._rng.sample(range(len(self._space.knobs)), min(JUMP, len(self._space.knobs)))
            if len(found) >= ROUND or self._take(
                found, "jump", best, {k: self._rng.choice((-2, -1, 1, 2)) for k in knobs}
            ):
                break
        first = max(self.results) + 1
        return [Proposal(first + n, point, why) for n, (why, point) in enumerate(found)]

    def _take(self, found: list[tuple[str, Point]], why: str, best: Point, steps: Mapping[int, int]) -> bool:
        point = self._space.moved(best, steps)
        if point is None or point in self._seen:
            return False
        self._seen.add(point)
        found.append((why, point))
        return True

    def _refill(self) -> None:
        """A step of each knob, both ways, a longer one of knobs with many values; the important ones first, in an order of chance among
        equals."""
        moves = []
        for n, knob in enumerate(self._space.knobs):
            step = 2 if len(knob.values) >= MANY else 1
            moves += [(knob.tier, {n: step}), (knob.tier, {n: -step})]
        self._rng.shuffle(moves)
        self._queue = [steps for _, steps in sorted(moves, key=lambda move: move[0])]

    def close(self, results: list[Result]) -> None:
        """A round is over, or as much of it as there was time for."""
        better: list[Result] = []
        for result in sorted(results, key=lambda r: r.number):
            self.results[result.number] = result
            if not self.bests or self._fit(result) > self._fit(self._best) * (1.0 + GAIN):
                better.append(result)
        better.sort(key=lambda r: (-self._fit(r), r.number))
        before = self._best.point if self.bests else self._space.start
        self._steps = [
            {n: there - here for n, (here, there) in enumerate(zip(before, r.point, strict=True)) if there != here}
            for r in better
        ]
        if better:
            self.bests.append(better[0].number)

    @property
    def bars(self) -> tuple[float, ...]:
        """What a trial has to reach at the rungs; nothing before there is a best one."""
        if not self.bests:
            return ()
        return tuple(m * rung for m, rung in zip(MARGINS, self._best.judged.rungs, strict=True))

    @property
    def _best(self) -> Result:
        return self.results[self.bests[-1]]

    def _fit(self, result: Result) -> float:
        return result.judged.fit.means[self._metric] if result.judged.fit is not None else -1.0

    def chosen(self) -> Result:
        """Where the smaller one of the two slices' gains is largest: what the search found and the validation confirms.

        Those that are below the start in any metric on either slice are out: what is won at another's cost is seldom won for long. The
        start, where none is left.
        """
        start = self.results[0].judged

        def gains(result: Result, metric: str) -> list[float]:
            slices = zip(_slices(result.judged), _slices(start), strict=True)
            return [here.means[metric] - there.means[metric] for here, there in slices]

        def able(result: Result) -> bool:
            if result.judged.fit is None or min(gains(result, self._metric)) <= 0.0:
                return False
            return all(min(gains(result, metric)) >= 0.0 for metric in result.judged.fit.means)

        candidates = [result for result in self.results.values() if able(result)]
        return max(candidates, key=lambda r: (min(gains(r, self._metric)), -r.number), default=self.results[0])


def _slices(judged: Judged) -> tuple[Slice, Slice]:
    assert judged.fit is not None  # noqa: S101 - the callers look at trials that came to their end
    assert judged.validation is not None  # noqa: S101
    return judged.fit, judged.validation
