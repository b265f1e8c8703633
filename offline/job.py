"""One training from a log to an artefact: split, vocabulary, warm start, fit, save."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from online_models import embeddings
from online_models.embeddings import Manifest, Trained
from online_models.errors import InputError

from . import artefacts, dataset, exemplars, features, parallel
from .devices import device_of
from .evaluate import ranks
from .log import Log
from .model import Count, build
from .train import Progress, Run, TrainConfig, fit


class JobConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``holdout``: share of the newest events that is left for the gate, unseen. ``validation``: share before it that decides when
    to stop; it is learned by nobody either. ``exemplars``: older sessions that a warm start repeats, at most.
    """

    model: str = "gru4rec"
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    train: TrainConfig = msgspec.field(default_factory=TrainConfig)
    holdout: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.1
    validation: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1
    min_count: Count = 1
    exemplars: Annotated[int, msgspec.Meta(ge=0)] = 30_000


@dataclass(frozen=True)
class Result:
    """What was written, and how the training went. ``first``: whether this process, of several, is the one to say so."""

    manifest: Manifest
    run: Run
    first: bool = True


def train(
    log: Log,
    out: Path,
    config: JobConfig,
    live: Path | None = None,
    resume: bool = False,
    progress: Callable[[Progress], None] = lambda p: None,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    catalogue: Path | None = None,
) -> Result:
    """Train on ``log`` and write the artefact folder ``out``, which must not be there yet.

    With ``live``, a version of the same model, only what happened since it is learned, beside exemplars of the time before, on which its
    own opinion counts (incremental mode). Of that time ``log`` may hold a part. ``catalogue``: what
    `two_tower` reads of the items besides. The checkpoint lies beside ``out`` until that is written.
    """
    refuse_existing(out)
    everything = dataset.sessions_of(log)
    gate_at = dataset.boundary(everything, config.holdout) if config.holdout else int(everything.times.max()) + 1
    seen, _ = dataset.split(everything, gate_at)
    stop_at = dataset.boundary(seen, config.validation)
    learned, judged = dataset.split(seen, stop_at)
    previous = embeddings.verify(live) if live is not None else None
    words = dataset.vocabulary(log, learned, previous.ids if previous else (), config.min_count)
    learned = learned.with_rows(words.rows)
    learned = learned.keep(learned.items >= 0)
    if not (learned.lengths > 1).any():
        found = f"none before {stop_at} among {len(learned.items):,} events"
        raise InputError("sessions of two events or more", found, "train on a longer log, or lower min_count")
    dataset.refuse_leakage(learned.trained(), stop_at)
    model = build(config.model, len(words.ids), config.settings, config.train.seed)
    if catalogue is not None:
        model.describe(features.read(catalogue, words.ids, getattr(model.config, "buckets", 1)))
    old, teacher, trained = None, None, learned.trained()
    if previous is not None:
        teacher = artefacts.load(previous)
        artefacts.warm_start(model, teacher)
        before, until = previous.manifest.trained, previous.manifest.trained.to_ms
        more = int((learned.times > until).sum())
        trained = Trained(min(before.from_ms, trained.from_ms), trained.to_ms, before.events + more)
        learned, old = exemplars.mixed(learned, until, len(previous.ids), config.exemplars, config.train.seed)
    checkpoint = checkpoint_of(out)
    window = (judged.with_rows(words.rows), stop_at)
    with parallel.group(device_of(config.train.device)):
        run = fit(model, learned, config.train, window, teacher, old, checkpoint, resume, progress)
        first = parallel.rank() == 0
        if first:
            metrics = ranks(model, window[0], stop_at).summary()
            artefacts.save(model.cpu(), words.ids, out, trained, now_ms(), metrics, int(seen.times.max()))
            checkpoint.unlink(missing_ok=True)
        parallel.wait()
    return Result(embeddings.read_manifest(out), run, first)


def refuse_existing(out: Path) -> None:
    """Raise InputError if there is something where an artefact is to be written."""
    if out.exists():
        raise InputError("an output folder that is not there yet", str(out), "name another --out, or remove it")


def checkpoint_of(out: Path) -> Path:
    """Where the checkpoint of a training lies that will write ``out``."""
    return out.with_name(out.name + ".checkpoint")
