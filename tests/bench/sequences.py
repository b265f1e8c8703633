"""Leave-one-out on purchase histories: the last item of each is to be found among all that its user has not had yet.

The last but one decides when training ends. Lines are ``user item item …`` in order of time (the files of S3-Rec, CIKM 2020).
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import click
import numpy as np
import torch

from infra.cli.train import config_of
from offline.dataset import Sessions
from offline.model import SessionModel, build
from offline.train import fit

TRAIN, VALIDATION, TEST = 0, 1, 2


def read(path: Path) -> Sessions:
    """All histories; the times say what each event is for."""
    histories = [np.array(line.split()[1:], np.int64) for line in gzip.decompress(path.read_bytes()).splitlines()]
    items = np.unique(np.concatenate(histories), return_inverse=True)[1]
    starts = np.concatenate([[0], np.cumsum([len(h) for h in histories])]).astype(np.int64)
    times = np.full(len(items), TRAIN, np.int64)
    times[starts[1:] - 1], times[starts[1:] - 2] = TEST, VALIDATION
    return Sessions(items, times, starts, np.arange(len(histories)))


@torch.no_grad()
def last_ranks(model: SessionModel, histories: Sessions, chunk: int = 256) -> np.ndarray:
    """[users] the place, from 0, of the last item among those that its user has not had; halves at ties."""
    model.eval()
    vectors, device = model.vectors().T.contiguous(), model.bias.device
    out = np.empty(len(histories))
    length = model.config.length
    for begin in range(0, len(histories), chunk):
        before = [histories.items[a : b - 1] for a, b in zip(*ends(histories, begin, chunk), strict=True)]
        rows = np.zeros((len(before), length), np.int64)
        for n, seen in enumerate(before):
            rows[n, : min(length, len(seen))] = seen[-length:]
        last = torch.tensor([min(length, len(seen)) - 1 for seen in before], device=device)
        queries = model(torch.from_numpy(rows).to(device))[torch.arange(len(before), device=device), last]
        scores = (queries @ vectors + model.bias).cpu()
        targets = torch.from_numpy(histories.items[histories.starts[1:][begin : begin + chunk] - 1])
        theirs = scores.gather(1, targets[:, None]).clone()
        for n, seen in enumerate(before):
            scores[n, torch.from_numpy(seen)] = -torch.inf
        level = (scores == theirs).sum(1).clamp(min=1)
        out[begin : begin + chunk] = ((scores > theirs).sum(1) + 0.5 * (level - 1)).numpy()
    return out


def ends(histories: Sessions, begin: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last place of some histories."""
    return histories.starts[:-1][begin : begin + count], histories.starts[1:][begin : begin + count]


@click.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", default="sasrec", show_default=True)
@click.option("--epochs", default=60, show_default=True, help="At most.")
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="A setting of model or trainer.")
def command(path: Path, model: str, epochs: int, values: tuple[str, ...]) -> None:
    """Train on the histories in PATH and print HR@10 / NDCG@10 of their last items as JSON."""
    config = config_of(model, values, {"epochs": epochs})
    histories = read(path)
    built = build(model, int(histories.items.max()) + 1, config.settings, config.train.seed)
    learned = histories.keep(histories.times == TRAIN)
    run = fit(built, learned, config.train, (histories.keep(histories.times <= VALIDATION), VALIDATION))
    ranks = last_ranks(built, histories)
    found = {
        "file": path.name, "model": model, "set": values, "epochs": [run.best + 1, len(run.losses)],
        "hr@10": round(float((ranks < 10).mean()), 4),
        "ndcg@10": round(float(np.where(ranks < 10, 1 / np.log2(ranks + 2), 0).mean()), 4),
        "events_per_s": round(run.events / run.seconds),
    }  # fmt: skip
    click.echo(json.dumps(found))
