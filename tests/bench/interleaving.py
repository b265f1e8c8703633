"""Two rankers in one list, credited by the item that came next: how soon it is clear which is better, against a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from online_models.experiments.average_sequence import AverageSequence
from online_models.experiments.draws import bits
from online_models.experiments.interleaving import Preference, team_draft
from online_models.items import hash_id
from tests.bench.rankers import NAMES, K, play

PAIRS = (("popular", "trending"), ("trending", "follows"), ("popular", "follows"), ("popular", "popular"))


class Interleaving:
    """A pair in one list of K."""

    def __init__(self, control: int, treatment: int) -> None:
        self.pair, self.read, self.decided = (control, treatment), Preference(), 0

    def learn_one(self, n: int, item: int, lists: Sequence[list[int]], key: int) -> None:
        """One moment, the n-th."""
        self.read.update(team_draft(lists[self.pair[0]], lists[self.pair[1]], K, key), [item])
        if not self.decided and self.read.preferred is not None:
            self.decided = n

    def row(self) -> str:
        r = self.read
        return f"{r.wins:,} : {r.losses:,} | {told(r.mean or 0.0, r.interval)} | {when(self.decided)}"


class Split:
    """The same pair by coin: each list is one ranker's. ±2 for a hit is the difference of hit rates on average."""

    def __init__(self, control: int, treatment: int) -> None:
        self.pair, self.read, self.decided = (control, treatment), AverageSequence(-2.0, 2.0), 0

    def learn_one(self, n: int, item: int, lists: Sequence[list[int]], key: int) -> None:
        """One moment, the n-th."""
        side = bits(key, K) >> 63
        self.read.update((2.0 if side else -2.0) * (item in lists[self.pair[side]][:K]))
        low, high = self.read.interval
        if not self.decided and not low <= 0.0 <= high:
            self.decided = n

    def row(self) -> str:
        return f"{told(self.read.mean, self.read.interval)} | {when(self.decided)}"


def told(mean: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def when(decided: int) -> str:
    return f"{decided:,}" if decided else "never"


@click.command()
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Of the coins.")
@click.option("--skip", default=5_000, show_default=True, help="Events that are only learned.")
def command(log: Path, seed: int, skip: int) -> None:
    """Interleave pairs of simple rankers over LOG and print the preference, and after how many lists it is certain."""
    pairs = [(NAMES.index(a), NAMES.index(b)) for a, b in PAIRS]
    reads = [(Interleaving(*pair), Split(*pair)) for pair in pairs]
    make_key: Callable[[int], int] = lambda at: hash_id(f"{seed}:{at}")  # noqa: E731
    n = 0
    for at, _, item, lists in play(log):
        if at < skip:
            continue
        n += 1
        for both in reads:
            for read in both:
                read.learn_one(n, item, lists, make_key(at))
    click.echo(f"{log.name}: {n:,} lists of {K}\n")
    click.echo(
        "| control | treatment | lists won : lost | preference for the treatment | certain after lists | "
        "split: difference of hit rates | certain after lists |\n|---|---|---|---|---|---|---|"
    )
    for (control, treatment), (interleaved, split) in zip(PAIRS, reads, strict=True):
        click.echo(f"| {control} | {treatment} | {interleaved.row()} | {split.row()} |")
