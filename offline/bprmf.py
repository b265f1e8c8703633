"""BPR-MF: factors of users and items, so that what was had comes before what was not.

Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback" (UAI 2009). Only the items' vectors leave the training:
in the stream a user is the recent history, so nothing is tied to a user who has not come back.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dataset import Sessions
from .history import HistoryConfig, recent_mean
from .model import DeviceBatch, Draw, ModelConfig, SessionModel, Weight


class Config(HistoryConfig, frozen=True, kw_only=True):
    """``reg``: of the vectors that a batch uses."""

    reg: Weight = 1e-3


class BprMf(SessionModel):
    """Queries are means of the history's item vectors; users' own vectors are there to learn by."""

    kind: ClassVar[str] = "bprmf"
    config_type: ClassVar[type[ModelConfig]] = Config
    config: Config
    users: nn.Embedding

    def prepare(self, sessions: Sessions, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.users = nn.Embedding(int(sessions.users.max()) + 1, self.config.dims).to(self.bias.device)
            nn.init.normal_(self.users.weight, std=self.config.dims**-0.5)

    def encoder(self) -> dict[str, Tensor]:
        return {k: v for k, v in super().encoder().items() if not k.startswith("users.")}

    def forward(self, rows: Tensor) -> Tensor:
        return recent_mean(self.items(rows), self.config.decay)

    def loss(self, batch: DeviceBatch, draw: Draw, teacher: Any, distil: float) -> Tensor:
        had = batch.mask.nonzero()[:, 0]
        users = self.users(batch.users[had])
        targets = batch.targets[batch.mask]
        wanted, others = self.items(targets), self.items(draw.rows)
        difference = (users * wanted).sum(1, keepdim=True) - users @ others.T
        bpr = F.softplus(-difference).masked_fill(targets[:, None] == draw.rows, 0.0).mean()
        size = users.square().sum(1).mean() + wanted.square().sum(1).mean() + others.square().sum(1).mean()
        total: Tensor = bpr + self.config.reg * size
        return total
