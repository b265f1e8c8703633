"""Two towers: a user's history on one side, an item's id and content on the other, met in an inner product.

Covington et al. (RecSys 2016) and Yi et al., "Sampling-bias-corrected neural modeling" (RecSys 2019): in-batch softmax with logQ.
The content of an item (`offline.features`) is added to its own vector, so that an item with few events stands where its like are.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .features import Features
from .history import HistoryConfig, recent_mean
from .model import Count, Dropout, ModelConfig, SessionModel


class Config(HistoryConfig, frozen=True, kw_only=True):
    """``hidden``: units of the user's tower; ``buckets``: of hashed content words."""

    hidden: Count = 128
    dropout: Dropout = 0.2
    buckets: Count = 1 << 14


class TwoTower(SessionModel):
    """Queries are a small network over the mean of the history's item vectors, added to that mean."""

    kind: ClassVar[str] = "two_tower"
    config_type: ClassVar[type[ModelConfig]] = Config
    config: Config
    words: Tensor
    weights: Tensor

    def __init__(self, config: Config, items: int) -> None:
        super().__init__(config, items)
        self.up, self.down = nn.Linear(config.dims, config.hidden), nn.Linear(config.hidden, config.dims)
        self.drop = nn.Dropout(config.dropout)
        self.content: nn.Parameter | None = None
        self.register_buffer("words", torch.zeros(0, 0, dtype=torch.int64), persistent=False)
        self.register_buffer("weights", torch.zeros(0, 0), persistent=False)

    def describe(self, features: Features) -> None:
        with torch.no_grad():
            self.items.weight.mul_(0.1)  # an item without events stands where its content is
        self.content = nn.Parameter(torch.zeros(self.config.buckets, self.config.dims))
        self.words, self.weights = torch.from_numpy(features.words), torch.from_numpy(features.weights)

    def encoder(self) -> dict[str, Tensor]:
        return {k: v for k, v in super().encoder().items() if k != "content"}

    def vectors(self) -> Tensor:
        return self.vectors_of(torch.arange(len(self.bias), device=self.bias.device))

    def vectors_of(self, rows: Tensor) -> Tensor:
        own: Tensor = self.items(rows)
        if self.content is None:
            return own
        at = rows.ravel()
        said = F.embedding_bag(self.words[at], self.content, per_sample_weights=self.weights[at], mode="sum")
        return own + said.view_as(own)

    def forward(self, rows: Tensor) -> Tensor:
        mean = recent_mean(self.drop(self.vectors_of(rows)), self.config.decay)
        query: Tensor = mean + self.down(torch.relu(self.up(mean)))
        return query
