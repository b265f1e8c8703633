"""How long a model is on trial before it has everybody's requests, or nobody's: in events of a log."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from infra.settings import Settings
from online_models import embeddings
from online_models.deep import Version
from online_models.embeddings import Artefact
from online_models.prepared import prepare
from streams.contracts.events import Event, Source
from streams.hotswap import Versions
from streams.pipeline import Pipeline
from streams.replay import Replay
from streams.trial import Phase


def random_like(good: Artefact, folder: Path, seed: int) -> Path:
    """An artefact in order in all ways, with vectors that mean nothing."""
    vectors = np.random.default_rng(seed).normal(size=good.vectors.shape).astype(np.float32)
    embeddings.write(
        folder, kind="bprmf", ids=good.ids, vectors=vectors, trained=good.manifest.trained, created=seed,
        description={"kind": "bprmf", "config": {"length": 10, "decay": 0.8}},
    )  # fmt: skip
    return folder


def events_of(log: str) -> list[Event]:
    """The events that a replay of the log would learn."""
    return [event for event, _ in Replay(log, Settings().pipeline, None, None)._events()]


def trial(pipeline: Pipeline, events: Iterator[tuple[Event, Source]], version: Path, name: str) -> str:
    """Put a version on trial and play on until it is decided; a row of the table."""
    versions: Versions = pipeline.versions
    candidate = Version(prepare(version), pipeline.knowledge.items)
    versions.aligning(candidate)()
    versions.begin(candidate)
    decided: list[str] = []
    versions.changed = lambda t: decided.append(
        f"{t.phase.value} | {t.difference.n:,} | {t.difference.mean:+.4f} | {t.own.mean:+.4f}"
    )
    played = 0
    for event, source in events:
        pipeline.process([(event, source)])
        played += 1
        if decided and not decided[-1].startswith(Phase.CANARY.value):
            return f"| {name} | {played:,} | {decided[-1]} |"
    return f"| {name} | {played:,}, then the log ended | undecided | | | |"


@click.command()
@click.argument("log")
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--skip", default=40_000, show_default=True, help="Events before the trial; train MODEL on no later ones."
)
@click.option("--seeds", default=3, show_default=True, help="Random versions.")
def command(log: str, model: Path, skip: int, seeds: int) -> None:
    """Try MODEL on the stream of LOG, then versions with random vectors against it, and print when they are decided."""
    events = events_of(log)
    click.echo(
        "| on trial | events | decision | compared moments | NDCG@20 of the blend | of its own list |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        random = [random_like(embeddings.read(model), Path(folder) / str(n), n) for n in range(seeds)]
        for n, version in enumerate((model, *random)):
            pipeline = Pipeline(Settings().pipeline)
            flow = ((event, Source(0, at)) for at, event in enumerate(events))
            for event, source in itertools.islice(flow, skip):
                pipeline.process([(event, source)])
            if n:
                pipeline.versions.install(Version(prepare(model), pipeline.knowledge.items))
            click.echo(
                trial(pipeline, flow, version, f"random {n}, against the model" if n else "the model, against none")
            )
