"""What all deep models are: item vectors, and a function from a session to a query vector after each of its events.

The score of an item is ``query · vector + bias``. A model file holds a frozen ``Config`` and a class; `KINDS` names them.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from online_models.errors import InputError

from . import losses
from .dataset import Batch, Negatives, Sessions, batches
from .features import Features

KINDS: Mapping[str, str] = {
    "gru4rec": "Gru4Rec", "sasrec": "SasRec", "caser": "Caser", "two_tower": "TwoTower", "neumf": "NeuMf", "bprmf": "BprMf",
    "ials": "Ials",
}  # fmt: skip
"""Model name (and module) → its class."""


Count = Annotated[int, msgspec.Meta(ge=1)]
Weight = Annotated[float, msgspec.Meta(ge=0)]
Dropout = Annotated[float, msgspec.Meta(ge=0, lt=1)]


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every model has. ``dims``: of the vectors; ``length``: latest events of a session that are looked at."""

    dims: Count = 64
    length: Count = 50


@dataclass(frozen=True)
class Draw:
    """The shared negatives of one batch: rows [c], and the logarithm of how often each item [items] is expected among targets and
    draws together (``log_count``), and among the draws alone (``log_drawn``).
    """

    rows: Tensor
    log_count: Tensor
    log_drawn: Tensor


class SessionModel(nn.Module, ABC):
    """Base of the models. ``forward`` gives the queries; `loss` is the sampled softmax over them unless a model has its own."""

    kind: ClassVar[str]
    config_type: ClassVar[type[ModelConfig]]
    config: ModelConfig

    def __init__(self, config: ModelConfig, items: int) -> None:
        super().__init__()
        self.config = config
        self.items = nn.Embedding(items, config.dims)
        self.bias = nn.Parameter(torch.zeros(items))
        nn.init.normal_(self.items.weight, std=config.dims**-0.5)

    @abstractmethod
    def forward(self, rows: Tensor) -> Tensor:
        """Queries [sessions, length, dims] after each event of ``rows`` [sessions, length]; later events do not matter."""

    def vectors(self) -> Tensor:
        """The item vectors [items, dims] that queries are multiplied with."""
        return self.items.weight

    def encoder(self) -> dict[str, Tensor]:
        """The weights, besides the item vectors, that ``forward`` needs."""
        return {k: v for k, v in self.state_dict().items() if k not in ("items.weight", "bias")}

    def prepare(self, sessions: Sessions, seed: int) -> None:
        """Called once before training, with what will be learned."""

    def describe(self, features: Features) -> None:
        """Take what the catalogue says of the items. Raises InputError where a model does not look at it."""
        raise InputError(
            "a model that reads a catalogue (two_tower)", self.kind, "train that one, or without a catalogue"
        )

    def epoch(self, sessions: Sessions, tokens: int, rng: np.random.Generator, old: Any) -> list[Batch]:
        """The batches of one epoch."""
        return batches(sessions, tokens, self.config.length, rng, old)

    def loss(self, batch: DeviceBatch, draw: Draw, teacher: SessionModel | None, distil: float) -> Tensor:
        """Mean loss over the batch's targets; ``teacher`` is what the exemplars were known by, ``distil`` the weight of that."""
        queries = self(batch.items)
        flat, targets = queries[batch.mask], batch.targets[batch.mask]
        candidates = torch.cat([targets, draw.rows])
        vectors = self.vectors_of(candidates)
        bias = self.bias[candidates]
        scores = flat @ vectors.T + bias
        positive = (flat * vectors[: len(targets)]).sum(1) + bias[: len(targets)]
        total = self.objective(positive, scores, targets[:, None] == candidates, draw.log_count[candidates])
        if teacher is not None and distil > 0 and batch.has_old:
            chosen = batch.old[:, None].expand_as(batch.mask)[batch.mask]
            known = candidates < len(teacher.bias)
            with torch.no_grad():
                taught = teacher(batch.items[batch.old])[batch.mask[batch.old]]
                at = candidates[known]
                theirs = taught @ teacher.vectors_of(at).T + teacher.bias[at]
            mine = scores[chosen][:, known]
            total = total + distil * losses.distillation(mine, theirs, draw.log_count[at]) * chosen.float().mean()
        return total

    def vectors_of(self, rows: Tensor) -> Tensor:
        """The vectors of some rows [n, dims]."""
        return cast(Tensor, self.items(rows))

    def objective(self, positive: Tensor, scores: Tensor, hit: Tensor, log_count: Tensor) -> Tensor:
        """The loss of n targets against shared candidates (`offline.losses`)."""
        return losses.sampled_softmax(positive, scores, hit, log_count)


@dataclass(frozen=True)
class DeviceBatch:
    """A `Batch` as tensors on the device. ``has_old``: whether any session is an exemplar, known without asking the device."""

    items: Tensor
    targets: Tensor
    mask: Tensor
    users: Tensor
    old: Tensor
    has_old: bool

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> DeviceBatch:
        """Copy to the device."""

        def on(array: np.ndarray[Any, Any]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)

        b = batch
        return cls(on(b.items), on(b.targets), on(b.mask), on(b.users), on(b.old), bool(b.old.any()))


class Sampler:
    """Draws the shared negatives, and knows how often each item is expected among a batch's candidates."""

    def __init__(self, sessions: Sessions, items: int, count: int, alpha: float, device: torch.device) -> None:
        counts = np.bincount(sessions.items, minlength=items)
        self._negatives = Negatives(counts, alpha)
        self._count, self._device = count, device
        self._as_target = torch.from_numpy(np.maximum(counts, 0.5) / counts.sum()).to(device)
        self._drawn = torch.from_numpy(self._negatives.probability * count).to(device)
        self._log_drawn = torch.log(self._drawn).float()

    def draw(self, targets: int, rng: np.random.Generator) -> Draw:
        """Negatives for a batch with so many targets."""
        rows = torch.from_numpy(self._negatives.draw(self._count, rng)).to(self._device)
        return Draw(rows, torch.log(self._as_target * targets + self._drawn).float(), self._log_drawn)


def model_class(kind: str) -> type[SessionModel]:
    """The class of a model's name. Raises InputError for one that is not there."""
    if kind not in KINDS:
        raise InputError(f"one of {', '.join(KINDS)}", repr(kind), "name one of these models")
    return cast(type[SessionModel], getattr(importlib.import_module(f"offline.{kind}"), KINDS[kind]))


def settings_of(kind: str, config: Mapping[str, Any] | None = None) -> ModelConfig:
    """The settings of a kind; ``config`` are those that differ from the defaults. Raises InputError for what it does not have."""
    try:
        return msgspec.convert(dict(config or {}), model_class(kind).config_type)
    except msgspec.ValidationError as error:
        raise InputError(f"settings of {kind} as documented", str(error), "correct them") from error


def build(kind: str, items: int, config: Mapping[str, Any] | None = None, seed: int = 1) -> SessionModel:
    """A new model of a kind; ``config`` are the fields of its Config that differ from the defaults.

    Its random start is a function of ``seed``.
    """
    settings = settings_of(kind, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_class(kind)(settings, items)
