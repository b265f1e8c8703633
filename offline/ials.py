"""iALS: factors by alternating least squares, all that was not had counting a little as not wanted.

Hu, Koren and Volinsky (ICDM 2008), with the objective and the regularisation by frequency of Rendle et al., "Revisiting the performance
of iALS on item recommendation benchmarks" (RecSys 2022). A session is a user; an epoch is one sweep, users first, which are then
forgotten: they follow from the items, in the stream too (fold-in).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
import torch
from torch import Tensor

from online_models.errors import InputError

from . import parallel
from .dataset import Batch, Sessions
from .model import DeviceBatch, Draw, ModelConfig, SessionModel, Weight

_PLACES = 1 << 16


class Config(ModelConfig, frozen=True, kw_only=True):
    """``unobserved``: weight of a pair that did not happen, one that did having 1; ``reg``, ``nu``: of a vector with n pairs
    ``reg · (n + unobserved · others)^nu``.
    """

    unobserved: Weight = 0.1
    reg: Annotated[float, msgspec.Meta(gt=0)] = 0.01
    nu: Weight = 1.0


class Ials(SessionModel):
    """Queries are fold-ins: what the session's vector would be, had it been one of the training."""

    kind: ClassVar[str] = "ials"
    config_type: ClassVar[type[ModelConfig]] = Config
    config: Config
    gram: Tensor

    def __init__(self, config: Config, items: int) -> None:
        super().__init__(config, items)
        self.register_buffer("gram", self._gram(self.items.weight.detach()))

    def prepare(self, sessions: Sessions, seed: int) -> None:
        if parallel.size() > 1:
            raise InputError("one process for iALS", str(parallel.size()), "start it without torchrun")

    def epoch(self, sessions: Sessions, tokens: int, rng: np.random.Generator, old: Any) -> list[Batch]:
        """All at once: ``users`` is the session of each event."""
        items = sessions.items[None]
        none = np.zeros(1, np.bool_)
        return [Batch(items, items, np.ones_like(items, np.bool_), sessions.owner, none)]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def loss(self, batch: DeviceBatch, draw: Draw, teacher: Any, distil: float) -> Tensor:
        """One sweep, in float32; the mean squared error of what happened, before it."""
        items, owner, weight = batch.items[0], batch.users, self.items.weight
        with torch.autocast(items.device.type, enabled=False):
            users = self._solved(weight, items, owner, int(owner[-1]) + 1)
            error = (1 - (users[owner] * weight[items]).sum(1)).square().mean()
            order = torch.argsort(items, stable=True)
            weight.copy_(self._solved(users, owner[order], items[order], len(weight)))
            self.gram.copy_(self._gram(weight))
        return error

    def _gram(self, vectors: Tensor) -> Tensor:
        return self.config.unobserved * (vectors.T @ vectors)

    def _reg(self, count: Tensor, others: int) -> Tensor:
        found: Tensor = self.config.reg * (count + self.config.unobserved * others) ** self.config.nu
        return found

    def _solved(self, fixed: Tensor, partner: Tensor, owner: Tensor, owners: int) -> Tensor:
        """[owners, dims] the best vectors against the ``fixed`` ones of their partners; ``owner`` is sorted."""
        count = torch.bincount(owner, minlength=owners)
        start = torch.cumsum(count, 0) - count
        out = torch.zeros(owners, fixed.shape[1], device=fixed.device)
        gram = self._gram(fixed)
        one = torch.eye(fixed.shape[1], device=fixed.device)
        order = torch.argsort(count, descending=True, stable=True)
        order = order[: int((count > 0).sum())]
        place = 0
        while place < len(order):
            width = int(count[order[place]])
            group = order[place : place + max(1, min(1024, _PLACES // width))]
            place += len(group)
            at = torch.arange(width, device=fixed.device)
            inside = at < count[group, None]
            theirs = fixed[partner[torch.where(inside, start[group, None] + at, 0)]] * inside[:, :, None]
            reg = self._reg(count[group].float(), len(fixed))
            left = gram + theirs.transpose(1, 2) @ theirs + reg[:, None, None] * one
            out[group] = torch.linalg.solve(left, theirs.sum(1))
        return out

    def forward(self, rows: Tensor) -> Tensor:
        vectors = self.items(rows)
        one = torch.eye(vectors.shape[2], device=vectors.device)
        left, right = self.gram.expand(len(rows), -1, -1), torch.zeros_like(vectors[:, 0])
        found = []
        for n in range(rows.shape[1]):
            v = vectors[:, n]
            left, right = left + v[:, :, None] * v[:, None], right + v
            reg = self._reg(torch.tensor(n + 1.0), len(self.bias))
            found.append(torch.linalg.solve(left + reg * one, right))
        return torch.stack(found, 1)
