"""What models without a sequence encoder share: a user is the recent history, later events counting more."""

from __future__ import annotations

from typing import Annotated

import msgspec
import torch
from torch import Tensor

from .model import ModelConfig


class HistoryConfig(ModelConfig, frozen=True, kw_only=True):
    """``decay``: how much less each event counts than the one after it."""

    decay: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.8


def recent_mean(vectors: Tensor, decay: float) -> Tensor:
    """[sessions, length, dims]: the mean of ``vectors`` up to each event, weights decaying backwards.

    >>> recent_mean(torch.tensor([[[1.0], [4.0]]]), 0.5).ravel().tolist()
    [1.0, 3.0]
    """
    at = torch.arange(vectors.shape[1], device=vectors.device)
    back = at[:, None] - at
    weight = torch.where(back >= 0, torch.pow(torch.tensor(decay, device=vectors.device), back.clamp(min=0)), 0.0)
    mean: Tensor = (weight / weight.sum(1, keepdim=True)).to(vectors.dtype) @ vectors
    return mean
