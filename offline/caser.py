"""Caser: convolutions over the latest events as if they were an image, [events, dims].

Tang and Wang, "Personalized top-N sequential recommendation via convolutional sequence embedding" (WSDM 2018), without the
user's own vector: sessions are anonymous, and a table of users would not fit the stream.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dataset import Batch, Sessions, batches
from .model import Count, Dropout, ModelConfig, SessionModel

_PIECE = 50


class Config(ModelConfig, frozen=True, kw_only=True):
    """``length``: events in the image; ``horizontal``: filters of each height; ``vertical``: filters over all events."""

    length: Count = 5
    horizontal: Count = 16
    vertical: Count = 4
    dropout: Dropout = 0.3


class Caser(SessionModel):
    """Queries are one layer over what the filters find."""

    kind: ClassVar[str] = "caser"
    config_type: ClassVar[type[ModelConfig]] = Config
    config: Config

    def __init__(self, config: Config, items: int) -> None:
        super().__init__(config, items)
        d, n = config.dims, config.length
        self.across = nn.ModuleList(nn.Linear(height * d, config.horizontal) for height in range(1, n + 1))
        self.down = nn.Linear(n, config.vertical, bias=False)
        self.out = nn.Linear(n * config.horizontal + config.vertical * d, d)
        self.drop = nn.Dropout(config.dropout)

    def epoch(self, sessions: Sessions, tokens: int, rng: np.random.Generator, old: Any) -> list[Batch]:
        """Sessions stay whole: every event sees the ``length`` before it."""
        return batches(sessions, tokens, max(_PIECE, self.config.length), rng, old)

    def forward(self, rows: Tensor) -> Tensor:
        b, m, n = len(rows), rows.shape[1], self.config.length
        padded = F.pad(self.drop(self.items(rows)), (0, 0, n - 1, 0))
        images = padded.unfold(1, n, 1)  # [sessions, length, dims, events]
        found = []
        for height, layer in enumerate(self.across, 1):
            strips = images.unfold(3, height, 1).permute(0, 1, 3, 4, 2)  # [sessions, length, places, height, dims]
            found.append(torch.relu(layer(strips.reshape(b, m, n - height + 1, -1))).amax(2))
        found.append(self.down(images).transpose(2, 3).reshape(b, m, -1))
        query: Tensor = self.out(self.drop(torch.cat(found, 2)))
        return query
