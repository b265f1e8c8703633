"""Next-item ranks of a model on the sessions of a window: every event after a session's first is a query.

Metrics are those of `online_models.metrics` for one target a query.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from online_models.metrics import K

from .dataset import Sessions
from .log import Ints
from .model import SessionModel

Floats = NDArray[np.float64]

MISS = np.inf


@dataclass(frozen=True)
class Ranks:
    """``ranks`` [queries] from 0, halves at ties, infinite where the model could not name the item; ``session`` [queries]."""

    ranks: Floats
    session: Ints

    def __len__(self) -> int:
        return len(self.ranks)

    def scores(self, metric: str) -> Floats:
        """[queries] values of "hr@20", "mrr@20" or "ndcg@20" (recall and hit rate are one for one target).

        >>> Ranks(np.array([0.0, 3.0, 20.0]), np.arange(3)).scores("mrr@20").tolist()
        [1.0, 0.25, 0.0]
        """
        inside = self.ranks < K
        place = np.where(inside, self.ranks, 0.0)
        gain = {"hr@20": np.ones_like(place), "mrr@20": 1 / (1 + place), "ndcg@20": 1 / np.log2(place + 2)}[metric]
        return np.where(inside, gain, 0.0)

    def summary(self) -> dict[str, float]:
        """The means, as the manifest has them."""
        return {m: round(float(self.scores(m).mean()), 6) if len(self) else 0.0 for m in ("hr@20", "mrr@20", "ndcg@20")}


def queries(sessions: Sessions, since_ms: int | None = None) -> NDArray[np.bool_]:
    """[events] what is a query: an event from ``since_ms`` on that is not its session's first."""
    query = np.ones(len(sessions.items), bool) if since_ms is None else sessions.times >= since_ms
    query[sessions.starts[:-1]] = False
    return query


def ranks(model: SessionModel, sessions: Sessions, since_ms: int | None = None, chunk: int = 512) -> Ranks:
    """The rank of each event's item in the list that the events before it in the session lead to.

    ``sessions.items`` are the model's rows, -1 for what it does not know: such an event is passed over as context and missed
    as a target, as is one whose score is no finite number. Only targets from ``since_ms`` on count. The list is of all items, with
    the one that the user is on: that one is a target where repeats count (`offline.dataset.sessions_of`), and else takes up a place.
    """
    owner = sessions.owner
    known = sessions.items >= 0
    query = queries(sessions, since_ms)
    before: Ints = np.cumsum(known) - known  # known events before this one, in all sessions
    first: Ints = before[sessions.starts[:-1]][owner]
    answerable = query & known & (before > first)
    found = np.full(len(owner), MISS)
    states = _states(model, sessions.keep(known))
    found[answerable] = _ranks_of(model, states, before[answerable] - 1, sessions.items[answerable], chunk)
    return Ranks(found[query], owner[query])


@torch.no_grad()
def _states(model: SessionModel, sessions: Sessions, tokens: int = 8192) -> torch.Tensor:
    """Queries [events, dims] after each event."""
    model.eval()
    device = model.bias.device
    out = torch.empty(len(sessions.items), model.config.dims, device=device)
    starts, lengths, wanted_from = _windows(sessions, model.config.length)
    order = np.argsort(-lengths, kind="stable")
    place = 0
    while place < len(order):
        width = int(lengths[order[place]])
        group = order[place : place + max(1, tokens // width)]
        place += len(group)
        inside = np.arange(width) < lengths[group, None]
        at = np.where(inside, starts[group, None] + np.arange(width), 0)
        states = model(torch.from_numpy(np.where(inside, sessions.items[at], 0)).to(device))
        wanted = inside & (at >= wanted_from[group, None])
        out[torch.from_numpy(at[wanted]).to(device)] = states[torch.from_numpy(wanted).to(device)].float()
    return out


def _windows(sessions: Sessions, length: int) -> tuple[Ints, Ints, Ints]:
    """Start, length, and first event that is asked for, of windows over the sessions: each event is asked for once.

    A session longer than ``length`` is gone through in steps of half of it, so an event sees at least half that many.
    """
    step = max(1, length // 2)
    lengths = sessions.lengths
    count = np.maximum(0, -(-(lengths - length) // step)) + 1
    owner = np.repeat(np.arange(len(sessions)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    starts = sessions.starts[owner] + number * step
    inside = np.minimum(lengths[owner] - number * step, length)
    return starts, inside, np.where(number == 0, starts, starts + length - step)


@torch.no_grad()
def _ranks_of(model: SessionModel, states: torch.Tensor, at: Ints, targets: Ints, chunk: int) -> Floats:
    """Ranks of the targets [n] in the order of all items, by the queries ``states[at]``."""
    vectors, bias = model.vectors().T.contiguous(), model.bias
    out = np.empty(len(at))
    for begin in range(0, len(at), chunk):
        part = slice(begin, begin + chunk)
        wanted = torch.from_numpy(targets[part]).to(bias.device)
        scores = torch.addmm(bias, states[torch.from_numpy(at[part]).to(bias.device)], vectors)
        theirs = scores.gather(1, wanted[:, None])
        above, level = (scores > theirs).sum(1), (scores == theirs).sum(1)
        place = torch.where(theirs[:, 0].isfinite(), above + 0.5 * (level - 1), MISS)
        out[part] = place.double().cpu().numpy()
    return out
