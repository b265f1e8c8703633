"""How often the statistics of experiments are wrong, and how much they find, over thousands of made-up experiments."""

from __future__ import annotations

from collections.abc import Iterator

import click
import numpy as np
from numpy.typing import NDArray
from scipy import special

from online_models.experiments import mixtures
from online_models.experiments.srm import sequential_p
from tests.bench.simulated import WORLDS, Looks, World, play, staying

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ALPHA = 0.05
TUNING = 5_000.0
MARGIN = 0.05


def half_widths(looks: Looks, tau: float) -> dict[str, Floats]:
    """In standard errors, by interval; (looks,) or (experiments, looks)."""
    once = np.full(len(looks.n), special.ndtri(1.0 - ALPHA / 2.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "fixed": once,
            "GAVI": mixtures.two_sided(looks.n * mixtures.best_rho2(TUNING, ALPHA), ALPHA),
            "mSPRT": mixtures.two_sided(tau**2 / looks.error**2, ALPHA),
        }


def misses(looks: Looks, half: Floats, truth: float) -> Bools:
    """(experiments, looks) Where there is an interval and it leaves out the truth."""
    with np.errstate(invalid="ignore"):
        return looks.known & (np.abs(looks.estimate - truth) > half * looks.error)


def share(found: Bools) -> str:
    return f"{100.0 * found.mean():.1f} %"


def two_variants(world: World, experiments: int, seed: int) -> Iterator[str]:
    """Rows of the table: without an effect, then with one."""
    null = play(world, experiments, seed=seed)
    planted = play(world, experiments, seed=seed + 1, lift=world.lift)
    for adjust in null:
        widths = {False: half_widths(null[adjust], world.lift), True: half_widths(planted[adjust], world.lift)}
        for name in widths[False]:
            wrong = misses(null[adjust], widths[False][name], 0.0)
            off = misses(planted[adjust], widths[True][name], world.lift)
            found = misses(planted[adjust], widths[True][name], 0.0) & (planted[adjust].estimate > 0.0)
            for last in (True, False) if name == "fixed" else (False,):
                at = slice(-1, None) if last else slice(None)
                ever = found[:, at].any(axis=1)
                first = np.where(ever, found[:, at].argmax(axis=1), -1) if not last else np.full(len(ever), -1)
                units = planted[adjust].n[np.median(first[ever]).astype(int)] if ever.any() else np.nan
                yield (
                    f"| {world.name} | {name}{', adjusted' if adjust else ''} | {'the last' if last else 'all'} "
                    f"| {share(wrong[:, at].any(axis=1))} | {share(~off[:, at].any(axis=1))} "
                    f"| {100.0 * world.lift:.0f} % | {share(ever)} | {units:,.0f} |"
                )


def guardrails(world: World, experiments: int, seed: int) -> str:
    """A row: said of a loss that is just the margin, and of no loss."""
    said = []
    for lift in (-MARGIN, 0.0):
        looks = play(world, experiments, seed=seed, lift=lift, looks=120)[world.metric.covariate]
        half = mixtures.one_sided(looks.n * mixtures.best_rho2(2.0 * TUNING, 2.0 * ALPHA), ALPHA)
        with np.errstate(invalid="ignore"):
            holds = looks.known & (looks.estimate - half * looks.error > -MARGIN)
            breached = looks.known & (looks.estimate + half * looks.error < -MARGIN)
        said += [share(holds.any(axis=1)), share(breached.any(axis=1))]
    return f"| {world.name} | {' | '.join(said)} |"


def mismatches(share_of_one: float, experiments: int, seed: int, looks: int = 100, batch: int = 200) -> list[Bools]:
    """Alarms at 1 %, (experiments, looks): of the chi-square test and of the sequential one, for equal shares."""
    rng = np.random.default_rng(seed)
    one = np.cumsum(rng.binomial(batch, share_of_one, (experiments, looks)), axis=1)
    n = batch * np.arange(1, looks + 1)
    chi_square = special.chdtrc(1, (2.0 * one - n) ** 2 / n)
    return [chi_square < 0.01, sequential_p(np.stack([one, n - one], axis=-1), [0.5, 0.5]) < 0.01]


@click.command()
@click.option("--experiments", default=10_000, show_default=True, help="Of each kind.")
@click.option("--seed", default=0, show_default=True)
def command(experiments: int, seed: int) -> None:
    """Simulate experiments without an effect and with a planted one; look after every batch; print what was concluded."""
    click.echo(
        f"{experiments:,} experiments of each kind, 2 × 50 units a batch, 60 batches; alpha 5 %, GAVI for {TUNING:,.0f}"
    )
    click.echo("\n| metric | interval | looks | false positives | covers the truth | effect | finds it | after units |")
    click.echo("|---|---|---|---|---|---|---|---|")
    for world in WORLDS:
        for row in two_variants(world, experiments, seed):
            click.echo(row)
    click.echo("\n| 2 × 1,000 units that stay, totals that grow | looks | false positives |\n|---|---|---|")
    looks = staying(experiments // 5, seed=seed)
    for name, half in half_widths(looks, 0.2).items():
        click.echo(f"| {name} | all | {share(misses(looks, half, 0.0).any(axis=1))} |")
    click.echo(
        "\n| guardrail, margin 5 % | holds, at a loss of 5 % | breached, at 5 % | holds, at 0 % | breached, at 0 % |"
    )
    click.echo("|---|---|---|---|---|")
    for world in WORLDS[:3]:
        click.echo(guardrails(world, experiments, seed))
    click.echo("\n| mismatch of shares, alarm at 1 % | looks | alarms at 50 : 50 | at 52 : 48 |")
    click.echo("|---|---|---|---|")
    right, wrong = mismatches(0.5, experiments, seed), mismatches(0.52, experiments, seed)
    for name, which, at in (
        ("chi-square", 0, slice(-1, None)),
        ("chi-square", 0, slice(None)),
        ("sequential", 1, slice(None)),
    ):
        cells = [share(found[which][:, at].any(axis=1)) for found in (right, wrong)]
        click.echo(f"| {name} | {'the last' if at.start else 'all'} | {' | '.join(cells)} |")
