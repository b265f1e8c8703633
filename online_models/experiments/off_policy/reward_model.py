"""A reward model that needs nothing but the log: the mean reward of each item in each position, shrunk and cross-fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import InputError
from .logged import Floats, Ints, column, integers, table


@dataclass(frozen=True)
class CellMeans:
    """Mean rewards by fold, position and action. A row is never predicted by a model that has seen it, nor its block:
    otherwise the correction in DR would be made small by the very noise that it is to correct.

    A cell's mean is drawn towards that of its position by credibility n / (n + k), k = variance within cells over variance
    between them (Bühlmann and Straub, "Glaubwürdigkeit für Schadensätze", 1970). For rewards that depend on
    more, fit a model of your own and give `Logged` its predictions.

    >>> rng = np.random.default_rng(0)
    >>> action = rng.integers(0, 2, 4000)
    >>> reward = (rng.random(4000) < np.where(action == 1, 0.8, 0.2)).astype(float)
    >>> model = CellMeans.fit(action, np.zeros(4000, int), reward, n_actions=2)
    >>> model.table.shape, model.table.mean(axis=0).round(1).tolist()
    ((5, 1, 2), [[0.2, 0.8]])
    """

    table: Floats
    """[folds, positions, actions]: what a model says that was fitted without that fold."""
    fold: Ints
    position: Ints
    action: Ints

    @classmethod
    def fit(
        cls,
        action: Any,
        position: Any,
        reward: Any,
        n_actions: int,
        *,
        block: Any = None,
        folds: int = 5,
        seed: int = 0,
    ) -> CellMeans:
        """``action`` in 0..n_actions-1, ``position`` from 0, ``reward``: [n]. Blocks are dealt to ``folds`` by ``seed``."""
        rewards = column("reward", reward)
        n = len(rewards)
        actions, positions = integers("action", action, n), integers("position", position, n)
        blocks = np.arange(n) if block is None else np.unique(integers("block", block, n), return_inverse=True)[1]
        units = int(blocks.max(initial=-1)) + 1
        if not 2 <= folds <= units:
            raise InputError(f"2 to {units} folds", str(folds), "give fewer folds or more blocks")
        if actions.min() < 0 or actions.max() >= n_actions or positions.min() < 0:
            found = f"actions {actions.min()}..{actions.max()}, positions from {positions.min()}"
            raise InputError(f"actions 0..{n_actions - 1} and positions from 0", found, "number both from 0")
        shape = (int(positions.max()) + 1, n_actions)
        dealt = np.random.default_rng(seed).permutation(units) % folds
        fold = dealt[blocks.reshape(-1)].astype(np.int64)
        cell = positions * n_actions + actions
        tables = [_credible(cell[fold != f], rewards[fold != f], shape) for f in range(folds)]
        return cls(np.stack(tables), fold, positions, actions)

    @property
    def predicted(self) -> Floats:
        """q̂ of the logged actions [n]."""
        return np.asarray(self.table[self.fold, self.position, self.action], np.float64)

    def expected(self, target: Any) -> Floats:
        """Σ_a π_e(a) q̂(a) for each row [n]; ``target`` [n, actions] is the evaluation policy's distribution in each row."""
        chances = table("target", target, len(self.fold), self.table.shape[2])
        return np.asarray(np.einsum("na,na->n", chances, self.table[self.fold, self.position]), np.float64)

    def expected_by_position(self, target: Any) -> Floats:
        """The same for a policy that depends on the position only: ``target`` [positions, actions]."""
        chances = table("target", target, self.table.shape[1], self.table.shape[2])
        return np.asarray(np.einsum("pa,fpa->fp", chances, self.table)[self.fold, self.position], np.float64)


def _credible(cell: Ints, reward: Floats, shape: tuple[int, int]) -> Floats:
    """Shrunk means [positions, actions] of rows in ``cell``."""
    size = shape[0] * shape[1]
    count = np.bincount(cell, minlength=size).reshape(shape).astype(np.float64)
    total = np.bincount(cell, reward, size).reshape(shape)
    squares = np.bincount(cell, reward**2, size).reshape(shape)
    mean = np.divide(total, count, out=np.zeros(shape), where=count > 0)
    overall = total.sum() / max(count.sum(), 1.0)
    out = np.empty(shape)
    for p in range(shape[0]):
        n = count[p].sum()
        if n == 0.0:
            out[p] = overall
            continue
        centre, seen = total[p].sum() / n, int((count[p] > 0).sum())
        within = float(np.sum(squares[p] - count[p] * mean[p] ** 2)) / max(n - seen, 1.0)
        room = n - float(np.sum(count[p] ** 2)) / n
        apart = float(np.sum(count[p] * (mean[p] - centre) ** 2)) - (seen - 1) * within
        trust = np.zeros(shape[1])
        # cells that differ by no more than chance, or of one row each, all get their position's mean
        if apart > 0.0 and room > 0.0 and n > seen:
            np.divide(count[p] * apart, count[p] * apart + within * room, out=trust, where=count[p] > 0)
        out[p] = trust * mean[p] + (1.0 - trust) * centre
    return out
