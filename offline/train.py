"""The trainer that all models share: batches, steps, validation, checkpoints.

Everything random is a function of the seed, the epoch and the step, so a run that was killed goes on as if it had not been.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from online_models.errors import InputError

from . import checkpoints, parallel
from .dataset import Sessions
from .devices import compiled, device_of, enough_memory, reproducible
from .evaluate import queries, ranks
from .model import Count, DeviceBatch, Sampler, SessionModel, Weight

log = logging.getLogger("headrace")


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``epochs`` at most; training ends after ``patience`` epochs without a better MRR on the validation window.

    ``tokens``: places in a batch. ``negatives`` are shared by a batch and drawn by popularity^``alpha``; the batch's targets
    are negatives too. ``clip``: largest norm of a gradient. ``distil``: weight of what the previous version says of exemplars.
    ``schedule``: of the learning rate over all ``epochs``; "linear" ends near zero. ``threads``: of the CPU, 0 is torch's choice.
    ``check_s``: seconds between checkpoints. ``validate``: events, about,
    that an epoch is validated on. ``compile``: the loss for the GPU, which takes up to some minutes before the first steps.
    """

    epochs: Count = 10
    patience: Count = 2
    lr: Annotated[float, msgspec.Meta(gt=0)] = 2e-3
    schedule: Literal["constant", "linear"] = "constant"
    weight_decay: Weight = 0.0
    tokens: Count = 1024
    negatives: Count = 2048
    alpha: Weight = 0.5
    clip: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    distil: Weight = 0.5
    seed: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, msgspec.Meta(ge=0)] = 0
    check_s: Weight = 60.0
    validate: Count = 20_000
    compile: bool = True


@dataclass(frozen=True)
class Progress:
    """Where a run is: ``step`` of ``steps`` in this epoch, mean loss since its start, events/s, seconds to its end."""

    epoch: int
    step: int
    steps: int
    loss: float
    events_per_s: float
    eta_s: float


@dataclass
class Run:
    """How the training went: one entry an epoch of each list, the best epoch's metrics, events learned, seconds."""

    losses: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best: int = -1
    events: int = 0
    seconds: float = 0.0


def fit(
    model: SessionModel,
    sessions: Sessions,
    config: TrainConfig,
    validation: tuple[Sessions, int] | None = None,
    teacher: SessionModel | None = None,
    old: NDArray[np.bool_] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Callable[[Progress], None] = lambda p: None,
) -> Run:
    """Train ``model`` in place; it ends with the weights of its best epoch.

    ``validation``: sessions, and the time (ms) from which their targets are judged; if there are none, all epochs are
    learned. ``old`` marks the sessions that are exemplars, which
    ``teacher`` has seen. What ``progress`` raises ends the training; the checkpoint is then of that step.
    Raises InputError when the loss is no number, ServiceError when memory is short.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    with (
        parallel.group(device_of(config.device)) as device,
        reproducible(config.seed, device),
        enough_memory(config.tokens, config.negatives),
    ):
        model.to(device)
        if teacher is not None:
            teacher.to(device).eval().requires_grad_(False)
        if validation is not None and not queries(*validation).any():
            validation = None
        model.prepare(sessions, config.seed)
        trainer = _Trainer(model, sessions, config, validation, teacher, old, device, progress)
        trainer.state = _State(mark=_fingerprint(model, sessions, config, validation, teacher, old))
        if checkpoint is not None and resume:
            trainer.load(checkpoint)
        parallel.same(model)
        return trainer.run(checkpoint if parallel.rank() == 0 else None)


@dataclass
class _State:
    """What a checkpoint holds besides tensors."""

    mark: str
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    learned: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)


class _Trainer:
    def __init__(
        self, model: SessionModel, sessions: Sessions, config: TrainConfig, validation: tuple[Sessions, int] | None,
        teacher: SessionModel | None, old: NDArray[np.bool_] | None, device: torch.device,
        progress: Callable[[Progress], None],
    ) -> None:  # fmt: skip
        self.model, self.sessions, self.config, self.device = model, sessions, config, device
        self.teacher, self.old, self.progress = teacher, old, progress
        self.validation = validation and (_some(validation[0], config.validate, config.seed), validation[1])
        self.sampler = Sampler(sessions, len(model.bias), config.negatives, config.alpha, device)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self.loss = compiled(model.loss, device) if config.compile else model.loss
        self.best: dict[str, torch.Tensor] | None = None
        self.state = _State("")

    def run(self, checkpoint: Path | None) -> Run:
        state, config = self.state, self.config
        while state.epoch < config.epochs and not self._enough():
            self._epoch(checkpoint)
            state.losses.append(state.loss / max(1, state.learned))
            if self.validation is not None:
                state.validation.append(self._validate())
                if int(np.argmax(state.validation)) == state.epoch:
                    self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            state.epoch, state.step, state.loss, state.learned = state.epoch + 1, 0, 0.0, 0
            if checkpoint is not None:
                self.save(checkpoint)
        if self.best is not None:
            self.model.load_state_dict(self.best)
        best = int(np.argmax(state.validation)) if state.validation else len(state.losses) - 1
        events = len(state.losses) * int(np.maximum(self.sessions.lengths - 1, 0).sum())
        return Run(state.losses, state.validation, best, events, state.seconds)

    def _enough(self) -> bool:
        scores = self.state.validation
        return bool(scores) and len(scores) - 1 - int(np.argmax(scores)) >= self.config.patience

    def _epoch(self, checkpoint: Path | None) -> None:
        """Learn the epoch's batches from ``state.step`` on."""
        state, config, model = self.state, self.config, self.model
        rng = np.random.default_rng([config.seed, state.epoch])
        batches = parallel.share(model.epoch(self.sessions, config.tokens, rng, self.old))
        model.train()
        total = torch.zeros((), device=self.device)
        began = saved = time.monotonic()
        learned = 0
        for step in range(state.step, len(batches)):
            batch = batches[step]
            if config.schedule == "linear":
                done = (state.epoch + step / len(batches)) / config.epochs
                for group in self.optimizer.param_groups:
                    group["lr"] = config.lr * (1 - done)
            number = step * parallel.size() + parallel.rank()
            torch.manual_seed(hash((config.seed, state.epoch, number)) & 0x7FFFFFFF)
            draw = self.sampler.draw(batch.events, np.random.default_rng([config.seed, state.epoch, number]))
            with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
                loss = self.loss(DeviceBatch.of(batch, self.device), draw, self.teacher, config.distil)
            if loss.requires_grad:  # else the model has made its step itself
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                parallel.averaged(model)
                torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
                self.optimizer.step()
            total += loss.detach() * batch.events
            learned += batch.events
            last = step + 1 == len(batches)
            now = time.monotonic()
            due = checkpoint is not None and now - saved >= config.check_s
            if last or due or step % 50 == 49:
                state.loss += self._finite(total, state.epoch, step)
                total.zero_()
                state.step, state.learned = step + 1, state.learned + learned
                state.seconds += now - began
                rate = parallel.size() * learned / max(now - began, 1e-9)
                left = parallel.size() * sum(b.events for b in batches[step + 1 :]) / max(rate, 1e-9)
                at = Progress(state.epoch, step + 1, len(batches), state.loss / max(1, state.learned), rate, left)
                try:
                    self.progress(at)
                except Exception:
                    if checkpoint is not None:
                        self.save(checkpoint)
                    raise
                began, learned = now, 0
            if due and checkpoint is not None:
                self.save(checkpoint)
                saved = now

    def _finite(self, total: torch.Tensor, epoch: int, step: int) -> float:
        value = float(total)
        if not math.isfinite(value):
            raise InputError(
                "a finite loss",
                f"{value} in epoch {epoch}, at step {step} or up to 50 before",
                f"lower the learning rate (--set lr={self.config.lr / 4:g})",
            )
        return value

    def _validate(self) -> float:
        assert self.validation is not None  # noqa: S101
        found = ranks(self.model, self.validation[0], self.validation[1])
        return parallel.agreed(float(found.scores("mrr@20").mean()) if len(found) else 0.0, self.device)

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        checkpoints.save(
            path, self.model.state_dict(), self.optimizer.state_dict(), self.best, msgspec.to_builtins(self.state)
        )

    def load(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one. Raises NotThisRun when it is of another run."""
        found = checkpoints.load(path, self.device)
        if found is None:
            return
        state = msgspec.convert(found["state"], _State)
        if state.mark != self.state.mark:
            remedy = "resume with the same data and settings, or start without --resume"
            raise checkpoints.NotThisRun(f"a checkpoint of this run at {path}", "one of other data or settings", remedy)
        self.model.load_state_dict(found["model"])
        self.optimizer.load_state_dict(found["optimizer"])
        self.best, self.state = found["best"], state
        if parallel.rank() == 0:
            log.info("goes on in epoch %d, of which %d steps are done: %s", state.epoch + 1, state.step, path)


def _some(sessions: Sessions, events: int, seed: int) -> Sessions:
    """About so many events of whole sessions, chosen by chance."""
    share = events / max(1, len(sessions.items))
    return sessions if share >= 1 else sessions.pick(np.random.default_rng(seed).random(len(sessions)) < share)


def _fingerprint(
    model: SessionModel, sessions: Sessions, config: TrainConfig, validation: tuple[Sessions, int] | None,
    teacher: SessionModel | None, old: NDArray[np.bool_] | None,
) -> str:  # fmt: skip
    """What must be equal for a run to go on: the data, the model and what decides each step and the end."""
    digest = hashlib.sha256()
    judged, since = validation or (None, 0)
    for each in (sessions, judged):
        for array in (each.items, each.times, each.starts, each.users) if each is not None else ():
            digest.update(array.tobytes())
    digest.update(b"" if old is None else old.tobytes())
    own = model.state_dict()
    fixed = [buffer for name, buffer in model.named_buffers() if name not in own]  # what a catalogue says of the items
    for tensor in (*fixed, *(teacher.state_dict().values() if teacher is not None else ())):
        digest.update(tensor.cpu().numpy().tobytes())
    plain: dict[str, Any] = msgspec.to_builtins(config)
    for free in (
        "patience",
        "check_s",
        "device",
        "threads",
        "compile",
        *(["epochs"] if config.schedule == "constant" else []),
    ):
        plain.pop(free)
    shapes = {name: list(tensor.shape) for name, tensor in own.items()}
    shape = [model.kind, msgspec.to_builtins(model.config), plain, shapes, since, parallel.size()]
    digest.update(msgspec.json.encode(shape))
    return digest.hexdigest()
