"""NeuMF: a weighted inner product (GMF) and a small network (MLP) over the same pair of vectors, learned together.

He et al., "Neural collaborative filtering" (WWW 2017). The stream multiplies a query with item vectors, which a network over pairs is not;
Rendle et al. (RecSys 2020) found the inner product the better half. So both halves share the item vectors here, each prediction is
learned with and without the network, and the GMF half is what leaves the training.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from . import losses
from .history import HistoryConfig, recent_mean
from .model import Count, DeviceBatch, Draw, Dropout, ModelConfig, SessionModel


class Config(HistoryConfig, frozen=True, kw_only=True):
    """``hidden``: units of the network; ``against``: how many of a batch's negatives it sees."""

    hidden: Count = 64
    against: Count = 64
    dropout: Dropout = 0.2


class NeuMf(SessionModel):
    """Queries are means of the history, each dimension with a weight."""

    kind: ClassVar[str] = "neumf"
    config_type: ClassVar[type[ModelConfig]] = Config
    config: Config

    def __init__(self, config: Config, items: int) -> None:
        super().__init__(config, items)
        self.gate = nn.Parameter(torch.full((config.dims,), config.dims**0.5))
        self.user, self.item = nn.Linear(config.dims, config.hidden), nn.Linear(config.dims, config.hidden, bias=False)
        self.out, self.drop = nn.Linear(config.hidden, 1, bias=False), nn.Dropout(config.dropout)

    def forward(self, rows: Tensor) -> Tensor:
        return recent_mean(self.drop(self.items(rows)), self.config.decay) * self.gate

    def loss(self, batch: DeviceBatch, draw: Draw, teacher: Any, distil: float) -> Tensor:
        alone = super().loss(batch, draw, teacher, distil)
        history = recent_mean(self.drop(self.items(batch.items)), self.config.decay)[batch.mask]
        targets, others = batch.targets[batch.mask], draw.rows[: self.config.against]
        share = torch.log(torch.tensor(max(1, len(others)) / max(1, len(draw.rows)), device=others.device))
        positive = self._pairs(history, self.items(targets)[:, None])[:, 0] + self.bias[targets]
        scores = self._pairs(history, self.items(others)[None]) + self.bias[others]
        hit = targets[:, None] == others
        return alone + losses.sampled_softmax(positive, scores, hit, draw.log_drawn[others] + share)

    def _pairs(self, history: Tensor, items: Tensor) -> Tensor:
        """[n, c] scores of ``history`` [n, dims] with ``items`` [n or 1, c, dims]."""
        inner = ((history * self.gate)[:, None] * items).sum(2)
        network: Tensor = self.out(torch.relu(self.user(history)[:, None] + self.item(items)))[:, :, 0]
        return inner + network
