"""``python -m tests.bench``: all benchmarks on The Complete Journey, or one of them on logs of yours."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from infra.demo import fetch_shop
from tests.bench import (
    ader,
    arms,
    bandit,
    determinism,
    experiments,
    interleaving,
    live,
    losses,
    models,
    off_policy,
    per_event,
    quality,
    readout,
    sequences,
    split,
    start,
    steps,
    swap,
    trial,
)


@click.group(invoke_without_command=True)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Measure. Figures are only comparable within one run on one machine."""
    if ctx.invoked_subcommand is not None:
        return
    with tempfile.TemporaryDirectory() as folder:
        log = str(fetch_shop(Path(folder), 40_000).log)
        ctx.invoke(quality.command, logs=(log,), scorer=None)
        ctx.invoke(live.command, log=log, kafka=None, events=20_000, kills=0)


main.add_command(quality.command, "quality")
main.add_command(live.command, "live")
main.add_command(losses.command, "losses")
main.add_command(determinism.command, "determinism")
main.add_command(models.command, "models")
main.add_command(ader.command, "ader")
main.add_command(sequences.command, "sequences")
main.add_command(swap.command, "swap")
main.add_command(experiments.command, "experiments")
main.add_command(split.command, "split")
main.add_command(start.command, "start")
main.add_command(steps.command, "steps")
main.add_command(arms.command, "arms")
main.add_command(off_policy.command, "off-policy")
main.add_command(interleaving.command, "interleaving")
main.add_command(bandit.command, "bandit")
main.add_command(trial.command, "trial")
main.add_command(readout.command, "readout")
main.add_command(per_event.command, "per-event")

if __name__ == "__main__":
    main()
