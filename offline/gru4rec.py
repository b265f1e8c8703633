"""GRU4Rec: one GRU layer over the session, item vectors shared by input and output.

Hidasi et al., "Session-based recommendations with recurrent neural networks" (ICLR 2016), with the sampling and the losses of
Hidasi and Karatzoglou (CIKM 2018). Sessions go through side by side, as there; where the paper refills a lane when its session
ends, sessions of like length share a batch here: nothing is carried over, the gradient goes through the whole session, and
the layer runs as one fused kernel.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import losses
from .model import Count, Dropout, ModelConfig, SessionModel, Weight


class Config(ModelConfig, frozen=True, kw_only=True):
    """``dropout``: of the inputs and of the queries. ``reg``: score regularisation of BPR-max. ``scale``: scores are cosines times
    this; 0: inner products.
    """

    dims: Count = 128
    length: Count = 20
    dropout: Dropout = 0.3
    loss: Literal["softmax", "bpr-max"] = "softmax"
    reg: Weight = 1.0
    scale: Weight = 0.0


class Gru4Rec(SessionModel):
    """Queries are the GRU's hidden states."""

    kind: ClassVar[str] = "gru4rec"
    config_type: ClassVar[type[ModelConfig]] = Config
    config: Config

    def __init__(self, config: Config, items: int) -> None:
        super().__init__(config, items)
        self.gru = nn.GRU(config.dims, config.dims, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)

    def vectors(self) -> Tensor:
        return F.normalize(self.items.weight, dim=1) if self.config.scale else self.items.weight

    def vectors_of(self, rows: Tensor) -> Tensor:
        found: Tensor = self.items(rows)
        return F.normalize(found, dim=-1) if self.config.scale else found

    def forward(self, rows: Tensor) -> Tensor:
        inputs = self.dropout(self.vectors_of(rows))
        with torch.autocast(
            rows.device.type, enabled=False
        ):  # it would take cuDNN's GRU to float16, whatever was asked for
            hidden: Tensor = self.gru(inputs.float())[0]
        dropped: Tensor = self.dropout(hidden)
        return F.normalize(dropped, dim=-1) * self.config.scale if self.config.scale else dropped

    def objective(self, positive: Tensor, scores: Tensor, hit: Tensor, log_count: Tensor) -> Tensor:
        if self.config.loss == "bpr-max":
            return losses.bpr_max(positive, scores, hit, self.config.reg)
        return losses.sampled_softmax(positive, scores, hit, log_count)
