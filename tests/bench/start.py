"""The weights that the blend starts with: made from logs, and what those of the other logs are worth to each, as a Markdown table."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import click
import msgspec

from infra.settings import Settings
from online_models.blend import CONTEXT_NAMES
from online_models.metrics import NAMES
from online_models.start import Learned, mean, shipped, write
from streams.config import PipelineConfig
from streams.prequential import FRESH, Prequential
from streams.replay import WARM_UP, Replay

PARTS = 0, 0.05, 0.1, 0.25, 0.5, 1.0
NDCG = NAMES.index("ndcg@20")


@click.command()
@click.argument("logs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write the mean over LOGS here.")
@click.option("--first", type=int, default=10_000, show_default=True, help="Events of each log to measure on.")
def command(logs: tuple[Path, ...], out: Path | None, first: int) -> None:
    """Learn the first fifth of each of LOGS from plain weights. Print NDCG@20 of the first events of each, all judged, from
    plain weights and from the mean of the other logs."""
    learned = {log: _learned(log) for log in logs}
    click.echo("| log | start | " + " | ".join(f"to {share:.0%}" for share in PARTS[1:]) + " | all |")
    click.echo("|---|---|" + "---|" * len(PARTS))
    for log in logs if len(logs) > 1 else ():
        others = mean([x for other, x in learned.items() if other != log], CONTEXT_NAMES)
        for start in ("plain", "shipped"):
            with patch.dict("streams.models.STARTS", shipped=partial(shipped, found=others)):
                cells = " | ".join(f"{value:.4f}" for value in _ndcg(log, first, _config(start)))
            click.echo(f"| {log.name.split('.')[0]} | {'the others’' if start == 'shipped' else start} | {cells} |")
    if out is not None:
        write(out, mean(list(learned.values()), CONTEXT_NAMES))


def _config(start: str) -> PipelineConfig:
    config = Settings().pipeline
    return msgspec.structs.replace(config, blend=msgspec.structs.replace(config.blend, start=start))


def _learned(log: Path) -> Learned:
    """Of the part of the log that `headrace replay` does not judge."""
    fifth = math.ceil(WARM_UP * Replay(str(log), _config("plain")).scan().events)
    replay = Replay(str(log), _config("plain"), limit=fifth)
    replay.run()
    knowledge = replay.pipeline.knowledge
    blend = knowledge.blend
    return Learned(knowledge.features, blend.weights, blend.squares, int(blend.updates[0]))


def _ndcg(log: Path, first: int, config: PipelineConfig) -> list[float]:
    """By parts of the first events, and of all of them."""
    replay = Replay(str(log), config, limit=first)
    pipeline, scan = replay.pipeline, replay.scan()
    judged = pipeline.prequential = Prequential(pipeline.knowledge.lists, first=0, curve_every=1)
    pipeline.rating_max = scan.rating_max
    for event, source in replay._events():
        pipeline.process([(event, source)])
    pipeline.finish()
    at = judged.names.index(FRESH)
    sums = [(0, 0.0)]
    for share in PARTS[1:]:
        until = [(n, float(s[at][NDCG])) for number, n, s in judged.curve if number <= share * scan.events]
        sums.append(until[-1] if until else (0, 0.0))
    pairs = [*pairwise(sums), (sums[0], sums[-1])]
    return [(b[1] - a[1]) / max(b[0] - a[0], 1) for a, b in pairs]
