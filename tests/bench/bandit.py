"""A bandit over three rankers on a recorded log: what it earns, and what its log says that each ranker is worth."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from online_models.experiments.bandit import Arm, ArmValue, allocate
from online_models.experiments.off_policy import Estimate, Inference, Logged, snipw
from online_models.items import hash_id
from tests.bench.rankers import NAMES, K, play


@click.command()
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
@click.option("--skip", default=5_000, show_default=True, help="Events that are only learned.")
@click.option("--every", default=200, show_default=True, help="Lists between two allocations.")
@click.option("--floor", default=0.05, show_default=True, help="Least share of a ranker.")
def command(log: Path, seed: int, skip: int, every: int, floor: float) -> None:
    """Let Thompson sampling choose a ranker for each list over LOG; a hit is the next item in the list."""
    arms = [Arm() for _ in NAMES]
    allocation = allocate(arms, floor)
    values = [ArmValue(floor) for _ in NAMES]
    users, chosen, rewards, propensities, hits, shares = [], [], [], [], [], []
    for at, user, item, lists in play(log):
        if at < skip:
            continue
        if len(chosen) % every == 0:
            allocation = allocate(arms, floor)
        arm, propensity = allocation.draw(hash_id(f"{seed}:{at}"))
        all_hits = [item in each[:K] for each in lists]
        hit = all_hits[arm]
        arms[arm] += Arm(int(hit), int(not hit))
        for which, value in enumerate(values):
            value.update(which == arm, hit, allocation.probabilities[which])
        users.append(user)
        chosen.append(arm)
        rewards.append(float(hit))
        propensities.append(propensity)
        hits.append(all_hits)
        shares.append(allocation.probabilities)
    report(
        log, arms, values, np.array(users), np.array(chosen), np.array(rewards), np.array(propensities), np.array(hits)
    )
    for part in (0.01, 0.05, 0.25, 1.0):
        upto = max(1, int(part * len(shares)))
        share = " / ".join(f"{p:.2f}" for p in shares[upto - 1])
        click.echo(f"Shares after {upto:,} lists: {share}")


def report(
    log: Path, arms: list[Arm], values: list[ArmValue], users: np.ndarray, chosen: np.ndarray, rewards: np.ndarray,
    propensities: np.ndarray, hits: np.ndarray,
) -> None:  # fmt: skip
    """Print what was earned, and each arm's worth by its raw share, by self-normalised IPW, always valid, and in truth."""
    truth = hits.mean(axis=0)
    click.echo(
        f"{log.name}: {len(chosen):,} lists of {K}. Hit rate of the bandit {rewards.mean():.4f}, of an even split "
        f"{truth.mean():.4f}, of the best ranker alone {truth.max():.4f}\n"
    )
    click.echo(
        "| ranker | shown | share of hits | self-normalised IPW, 95 % by user | always valid, 95 % | true hit rate |"
    )
    click.echo("|---|---|---|---|---|---|")
    for at, name in enumerate(NAMES):
        shown = arms[at].successes + arms[at].failures
        data = Logged(rewards, propensities, (chosen == at).astype(float), block=users)
        found = snipw(data, inference=Inference(min_ess=50.0))
        weighted = (
            f"{found.value:.4f} ({found.low:.4f} to {found.high:.4f})" if isinstance(found, Estimate) else found.reason
        )
        low, high = values[at].interval
        click.echo(
            f"| {name} | {shown:,} | {arms[at].successes / max(shown, 1):.4f} | {weighted} | "
            f"{low:.4f} to {high:.4f} | {truth[at]:.4f} |"
        )
    click.echo()
