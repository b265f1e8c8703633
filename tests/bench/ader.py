"""A deep model alone on the ADER benchmark, trained incrementally: warm start, exemplars of the past, distillation.

Protocol of Mi, Lin and Faltings (RecSys 2020): learn the periods before t, rank every next item of period t among all items seen
before it. Items that no earlier period holds are dropped from the test, and sessions that are left with one event.
"""

from __future__ import annotations

import copy
import gzip
import json
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from infra.cli.train import config_of
from infra.quality.ader import START_MS, STEP_MS
from offline import artefacts, exemplars
from offline.dataset import Sessions, joined
from offline.evaluate import ranks
from offline.job import JobConfig
from offline.model import SessionModel, build
from offline.train import fit
from online_models.embeddings import Trained

METRICS = ("hr@20", "mrr@20")


def read(folder: Path, periods: int) -> tuple[list[Sessions], list[str]]:
    """Periods 0 to ``periods``, items numbered in order of first appearance, and their ids; the places in the files are the times."""
    found: list[Sessions] = []
    rows: dict[bytes, int] = {}
    clock = 0
    for period in range(periods + 1):
        lines = gzip.decompress((folder / f"period_{period}.txt.gz").read_bytes()).split(b"\n")
        pairs = [line.split() for line in lines if line]
        items = np.array([rows.setdefault(item, len(rows)) for _, item in pairs], np.int64)
        names = np.array([int(session) for session, _ in pairs])
        _, first, number = np.unique(names, return_index=True, return_inverse=True)
        order = np.argsort(first[number], kind="stable")
        starts = np.flatnonzero(np.diff(first[number][order], prepend=-1))
        times = np.arange(clock, clock + len(items))[order]
        users = np.arange(len(starts))
        found.append(Sessions(items[order], times, np.append(starts, len(items)).astype(np.int64), users))
        clock += len(items)
    return found, [item.decode() for item in rows]


@dataclass(frozen=True)
class Period:
    """What came out of one period."""

    period: int
    items: int
    queries: int
    seconds: float
    scores: dict[str, float]


def one(
    periods: list[Sessions], t: int, config: JobConfig, live: SessionModel | None, more: int
) -> tuple[Period, SessionModel]:
    """Learn what is before period ``t``, then rank period ``t``; the first training has the epochs of the config, later ones ``more``."""
    items = 1 + max(int(p.items.max()) for p in periods[:t])
    model = build(config.model, items, config.settings, config.train.seed)
    learned, old = periods[t - 1], None
    train = config.train
    if live is not None:
        artefacts.warm_start(model, live)
        past = periods[0]
        for p in periods[1 : t - 1]:
            past = joined(past, p)
        repeated = exemplars.choose(past, config.exemplars, config.train.seed + t)
        old = np.arange(len(repeated) + len(learned)) < len(repeated)
        learned = joined(repeated, learned)
        train = type(train)(**{n: getattr(train, n) for n in train.__struct_fields__} | {"epochs": more})
    teacher = copy.deepcopy(live) if live is not None and train.distil > 0 else None
    run = fit(model, learned, train, teacher=teacher, old=old)
    seen = np.zeros(1 + max(int(p.items.max()) for p in periods), bool)
    for p in periods[:t]:
        seen[p.items] = True
    test = periods[t].keep(seen[periods[t].items])
    found = ranks(model, test.pick(test.lengths > 1))
    return Period(t, items, len(found), run.seconds, found.summary()), model


def _save(model: SessionModel, ids: list[str], folder: Path, learned: list[Sessions]) -> None:
    """A version as an artefact. Times are those that `headrace bench` gives the events."""
    events = sum(len(p.items) for p in learned)
    folder.parent.mkdir(parents=True, exist_ok=True)
    newest = START_MS + (events - 1) * STEP_MS
    artefacts.save(model, ids, folder, Trained(START_MS, newest, events), created=newest)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="sasrec", show_default=True)
@click.option("--periods", default=16, show_default=True, help="Tested periods: 1 to this one.")
@click.option("--epochs", default=10, show_default=True, help="On period 0.")
@click.option("--more", default=4, show_default=True, help="Epochs on each later period, from the last version on.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write the versions as DIR/1, DIR/2 ... for `headrace bench quality --model DIR`.",
)
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="A setting of model or trainer.")
def command(
    folder: Path, model: str, periods: int, epochs: int, more: int, out: Path | None, values: tuple[str, ...]
) -> None:
    """Train through the periods in FOLDER and print R@20 / MRR@20 of each as a Markdown table, with the means."""
    config = config_of(model, values, {"epochs": epochs})
    found, ids = read(folder, periods)
    click.echo("| period | items | queries | training s | R@20 | MRR@20 |\n|---|---|---|---|---|---|")
    live: SessionModel | None = None
    done: list[Period] = []
    began = time.monotonic()
    for t in range(1, periods + 1):
        p, live = one(found, t, config, live, more)
        if out is not None:
            _save(live, ids[: p.items], out / str(t), found[:t])
        done.append(p)
        r, m = (p.scores[name] for name in METRICS)
        click.echo(f"| {t} | {p.items:,} | {p.queries:,} | {p.seconds:.0f} | {r:.4f} | {m:.4f} |")
    means = {name: round(sum(p.scores[name] for p in done) / len(done), 4) for name in METRICS}
    total = time.monotonic() - began
    click.echo(f"| mean | | | {total:.0f} in all | **{means['hr@20']:.4f}** | **{means['mrr@20']:.4f}** |")
    click.echo(json.dumps({"folder": folder.name, "model": model, "epochs": [epochs, more], "set": values} | means))
