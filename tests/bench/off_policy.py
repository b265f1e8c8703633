"""Open Bandit data: the value of each policy estimated from the other's log, beside what it really earned."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from online_models.errors import InputError
from online_models.experiments.off_policy import (
    GIVEN,
    CellMeans,
    Estimate,
    Inference,
    Logged,
    Result,
    effective_sample_size,
    evaluate,
    ipw,
    on_policy,
)  # fmt: skip

EXTRACT = Path(__file__).parents[1] / "online_models/experiments/data/open_bandit.npz"
CAMPAIGNS = ("all", "men", "women")
MANY = 200_000
"""Rows from which on intervals are made from standard errors: the bootstrap says the same, later."""


@dataclass(frozen=True)
class Log:
    """Impressions of one policy: item and position from 0, click, propensity."""

    action: np.ndarray
    position: np.ndarray
    reward: np.ndarray
    propensity: np.ndarray

    def __len__(self) -> int:
        return len(self.action)


def extract(campaign: str) -> tuple[dict[str, Log], np.ndarray]:
    """Both logs of the committed sample, and the Thompson sampling policy [positions, items]."""
    with np.load(EXTRACT, allow_pickle=False) as found:
        arrays = dict(found)
    bts = arrays[f"{campaign}_bts_policy"] / 100_000
    logs = {}
    for policy in ("random", "bts"):
        action, position, reward = (arrays[f"{campaign}_{policy}_{c}"] for c in ("action", "position", "reward"))
        uniform = np.full(len(action), 1 / bts.shape[1])
        propensity = arrays[f"{campaign}_{policy}_pscore"].astype(float) if policy == "bts" else uniform
        logs[policy] = Log(action.astype(int), position.astype(int), reward.astype(float), propensity)
    return logs, bts


def published(folder: Path, policy: str, campaign: str) -> Log:
    """One log as ZOZO publishes it: FOLDER/{random,bts}/{campaign}/{campaign}.csv."""
    path = folder / policy / campaign / f"{campaign}.csv"
    if not path.is_file():
        raise click.ClickException(f"expected {path}, found none; give the folder that holds random/ and bts/")
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        head = next(rows)
        chance = "propensity_score" if "propensity_score" in head else "action_prob"
        at = [head.index(name) for name in ("item_id", "position", "click", chance)]
        table = np.array([[float(row[i]) for i in at] for row in rows])
    item, position, reward, propensity = table.T
    return Log(item.astype(int), position.astype(int) - int(position.min()), reward, propensity)


def logged(log: Log, target: np.ndarray) -> Logged:
    """The log for a policy [positions, items] to be evaluated on, with a cross-fitted reward model."""
    model = CellMeans.fit(log.action, log.position, log.reward, target.shape[1])
    return Logged(
        reward=log.reward, propensity=log.propensity, target=target[log.position, log.action],
        predicted=model.predicted, expected=model.expected_by_position(target),
    )  # fmt: skip


def row(result: Result, truth: float) -> str:
    """One estimator's line of the table."""
    if not isinstance(result, Estimate):
        return f"| {result.estimator} | no estimate: {result.reason} | – | – | – | {result.ess:,.0f} | – |"
    name = " ".join([result.estimator, *(f"{k} {v:.3g}" for k, v in result.settings.items())])
    given = " *" if result.method.endswith(GIVEN) else ""
    inside = "yes" if result.low <= truth <= result.high else "no"
    return (
        f"| {name} | {100 * result.value:.3f} | {100 * result.low:.3f} to {100 * result.high:.3f}{given} | "
        f"{100 * (result.value / truth - 1):+.0f} % | {inside} | {result.ess:,.0f} | {result.rests_on:,.0f} |"
    )


def measure(campaign: str, evaluated: str, logs: dict[str, Log], bts: np.ndarray, clip: float) -> None:
    """Print the table of one campaign and direction."""
    by = "random" if evaluated == "bts" else "bts"
    log, other = logs[by], logs[evaluated]
    how = Inference(method="normal" if max(len(log), len(other)) > MANY else "bootstrap")
    ones = np.ones(len(other))
    truth = on_policy(Logged(other.reward, ones, ones), how)
    if not isinstance(truth, Estimate):
        raise click.ClickException(f"expected clicks in the log of {evaluated}, got: {truth.reason}")
    target = bts if evaluated == "bts" else np.full_like(bts, 1 / bts.shape[1])
    data = logged(log, target)
    click.echo(
        f"\nCampaign {campaign}: the value of `{evaluated}` from {len(log):,} impressions of `{by}` with "
        f"{int(log.reward.sum())} clicks. On its own {len(other):,} impressions `{evaluated}` earned "
        f"{100 * truth.value:.3f} ({100 * truth.low:.3f} to {100 * truth.high:.3f}) clicks per 100; `{by}` "
        f"{100 * log.reward.mean():.3f}. Largest weight {data.weights.max():.1f}, mean {data.weights.mean():.3f}, "
        f"effective rows {effective_sample_size(data.weights):,.0f}; {truth.method}.\n"
    )
    click.echo(
        "| estimator | clicks per 100 | 95 % interval | error | holds the on-policy value | effective rows | rests on |"
    )
    click.echo("|---|---|---|---|---|---|---|")
    results = evaluate(data, inference=how)
    results.insert(2, ipw(data, clip, how))
    for result in results:
        click.echo(row(result, truth.value))


@click.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--campaign", "campaigns", multiple=True, type=click.Choice(CAMPAIGNS), help="Default: all three.")
@click.option("--clip", default=10.0, show_default=True, help="Largest weight of the clipped IPW.")
def command(folder: Path | None, campaigns: tuple[str, ...], clip: float) -> None:
    """Estimate each policy of Open Bandit data from the other's log and print values, intervals, errors and effective rows.

    FOLDER holds the full data as published (https://research.zozo.com/data.html); without it, the sample that the tests use.
    """
    for campaign in campaigns or CAMPAIGNS:
        logs, bts = extract(campaign)
        try:
            if folder is not None:
                logs = {policy: published(folder, policy, campaign) for policy in ("random", "bts")}
            for evaluated in ("bts", "random"):
                measure(campaign, evaluated, logs, bts, clip)
        except InputError as error:
            raise click.ClickException(str(error)) from error
    click.echo("\n\\* takes the reward model as it is: too narrow by as much as the model may be wrong")
