"""SASRec: a causal transformer over the session, item vectors shared by input and output.

Kang and McAuley, "Self-attentive sequential recommendation" (ICDM 2018), with what has been found better since: norms before the
blocks, sampled softmax in place of one negative (Klenitskiy and Vasilev, RecSys 2023), distances in place of positions (Press et al., ICLR
2022, learned here), and optionally queries in the space of the items themselves, compared by cosine (CORE: Hou et al., SIGIR 2022).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import losses
from .model import Count, Dropout, ModelConfig, SessionModel, Weight


class Config(ModelConfig, frozen=True, kw_only=True):
    """``dropout``: of inputs and blocks. ``readout`` "state": the query is the last block's output, "items": a weighted mean of the
    session's item vectors, which is quick to learn but blind to direction, "both": their sum. ``scale``: scores are cosines
    times this; 0: inner products.
    """

    dims: Count = 128
    length: Count = 50
    layers: Count = 2
    heads: Count = 2
    dropout: Dropout = 0.4
    loss: Literal["softmax", "bce"] = "softmax"
    readout: Literal["state", "items", "both"] = "both"
    scale: Weight = 14.0

    def __post_init__(self) -> None:
        if self.dims % self.heads:
            raise ValueError(f"dims {self.dims} do not divide among {self.heads} heads")


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each added to what came in."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.dims
        self.heads, self.drop = config.heads, nn.Dropout(config.dropout)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        self.distance = nn.Parameter(torch.zeros(config.heads, config.length))

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, biases(self.distance, n))
        x = x + self.drop(self.out(mixed.transpose(1, 2).reshape(b, n, d)))
        out: Tensor = x + self.drop(self.down(F.relu(self.up(self.norm2(x)))))
        return out


def biases(distance: Tensor, n: int) -> Tensor:
    """[heads, n, n] what attention adds for each distance between query and key; minus infinity for later keys."""
    at = torch.arange(n, device=distance.device)
    back = at[:, None] - at
    return distance[:, back.clamp(min=0)].masked_fill(back < 0, float("-inf"))


class SasRec(SessionModel):
    """Queries are the last block's output, or the items weighted by one more attention."""

    kind: ClassVar[str] = "sasrec"
    config_type: ClassVar[type[ModelConfig]] = Config
    config: Config

    def __init__(self, config: Config, items: int) -> None:
        super().__init__(config, items)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm, self.drop = nn.LayerNorm(config.dims), nn.Dropout(config.dropout)
        if config.readout != "state":
            self.pair = nn.Linear(config.dims, 2 * config.dims)
            self.distance = nn.Parameter(torch.zeros(1, config.length))
        if config.readout == "both":
            self.beyond = nn.Linear(config.dims, config.dims)
            nn.init.zeros_(self.beyond.weight)

    def vectors(self) -> Tensor:
        return F.normalize(self.items.weight, dim=1) if self.config.scale else self.items.weight

    def vectors_of(self, rows: Tensor) -> Tensor:
        found: Tensor = self.items(rows)
        return F.normalize(found, dim=-1) if self.config.scale else found

    def forward(self, rows: Tensor) -> Tensor:
        own = self.drop(self.vectors_of(rows))
        x = own * self.config.dims**0.5
        for block in self.blocks:
            x = block(x)
        state: Tensor = self.norm(x)
        if self.config.readout != "state":
            q, k = self.pair(state).chunk(2, 2)
            mean = F.scaled_dot_product_attention(q, k, own, biases(self.distance, rows.shape[1]))
            state = (
                mean + self.beyond(self.drop(state)) * self.config.dims**-0.5 if self.config.readout == "both" else mean
            )
        return F.normalize(state, dim=-1) * self.config.scale if self.config.scale else state

    def objective(self, positive: Tensor, scores: Tensor, hit: Tensor, log_count: Tensor) -> Tensor:
        if self.config.loss == "bce":
            n = len(positive)
            at = torch.arange(n, device=scores.device)
            drawn = n + at % (scores.shape[1] - n)
            return losses.one_negative(positive, scores[at, drawn].masked_fill(hit[at, drawn], losses.NEVER))
        return losses.sampled_softmax(positive, scores, hit, log_count)
