"""The union of all candidates, described: one row of numbers in about [0, 1] for each.

Features need no running normalisation, so a weight means the same at any time. They come in groups: what each source says of
the item, what everybody does with it, what the user has done with it, how it stands to the user's last item, what becomes of
it in general (`habits`), and how near it is to the user's latest items (`closeness`). What is only there sometimes stands behind all
of that (`Beside`): what the catalogue says (`shelf`), and sources that need it or were asked for. Where nothing of it is in use, those
columns are neither filled nor read, and everything is the same to the bit as without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from . import closeness, habits, shelf
from ._kernels import fast_log
from .base import BOUGHT, CARTED, LIKED
from .repeats import due

SOURCE = ("inv_rank", "ratio", "log_ratio", "listed", "log_rank")
"""What a source says of an item: one column for each source, feature by feature."""
PER_SOURCE = len(SOURCE)
ITEM = ("events_since", "seconds_since", "inv_events_since", "inv_events_since_20", "count", "age", "rare")
OWN_NAMES = (
    "own", "own_count", "own_share", "own_seconds", "own_inv_distinct", "own_log_distinct", "own_in_session", "own_once",
    "own_last", "own_due", "own_bought", "own_carted", "own_liked",
)  # fmt: skip
PAIR = ("transition", "log_transition", "share_of_sources")
LAST = "deep_match"
"""The last column before the hidden units: how near the deep model has the item to the session."""


@dataclass(frozen=True)
class Beside:
    """The columns from ``first`` on, which are there only sometimes: of the candidate ``lists`` behind all others, then of the item."""

    first: int
    lists: tuple[str, ...]
    bonus: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in order: source by source, each rank last, so that what hidden units see is one piece."""
        of_sources = (f"{s}.{f}" for f in SOURCE for s in self.lists)
        return (*of_sources, *shelf.NAMES, *(("bonus",) if self.bonus else ()))

    @property
    def seen_by_units(self) -> tuple[int, int]:
        """Where the columns begin that hidden units are sums of, too, and how many these are: the ranks, and what is of the item."""
        skipped = SOURCE.index("log_rank") * len(self.lists)
        return self.first + skipped, len(self.names) - skipped

    @property
    def of_item(self) -> int:
        """The first column that is of the item."""
        return self.first + PER_SOURCE * len(self.lists)


def feature_names(lists: tuple[str, ...], half_lives: int, units: int = 0) -> tuple[str, ...]:
    """Names of the columns, in order, for these candidate lists, this number of popularity half-lives and of hidden units.

    Those of `Beside` come after them.
    """
    return (
        *(f"{s}.{f}" for f in SOURCE for s in lists),
        *(f"share-{h}" for h in range(half_lives)),
        *ITEM,
        *OWN_NAMES,
        *PAIR,
        *habits.NAMES,
        *closeness.FACTORS,
        *closeness.VISITS,
        LAST,
        *(f"hidden-{h}" for h in range(units)),
    )


@njit(cache=True)
def unite(
    items: Any, scores: Any, counts: Any, minmax: Any, inv: Any, log_rank: Any, mark: Any, rows: Any, x: Any, n_lists: int, beside: int
) -> int:  # fmt: skip
    """Merge the lists [S, k] into distinct ``rows`` and their source features; ``mark`` is all zero before and after.

    Columns of the first ``n_lists`` begin at 0, those of the others at ``beside``.
    """
    n = 0
    for s in range(counts.shape[0]):
        if counts[s] == 0:
            continue
        best = scores[s, 0]
        floor = np.float32(0.0)
        if minmax[s]:
            floor = scores[s, counts[s] - 1]
        span = best - floor
        for r in range(counts[s]):
            row = items[s, r]
            at = mark[row] - 1
            if at < 0:
                at = n
                rows[n] = row
                mark[row] = n + 1
                x[n, :] = 0.0
                n += 1
            ratio = (scores[s, r] - floor) / span if span > 0.0 else np.float32(1.0)
            c, wide = (s, n_lists) if s < n_lists else (beside + s - n_lists, counts.shape[0] - n_lists)
            x[at, c] = inv[r]
            x[at, wide + c] = ratio
            x[at, 2 * wide + c] = np.float32(1.0) + fast_log(ratio + np.float32(0.001)) * np.float32(1.0 / 6.91)
            x[at, 3 * wide + c] = 1.0
            x[at, 4 * wide + c] = log_rank[r]
    for i in range(n):
        mark[rows[i]] = 0
    return n


@njit(cache=True, error_model="numpy")
def describe(
    x: Any, rows: Any, n: int, first: int, n_lists: int, pop: Any, pop_total: Any, last_n: Any, last_ms: Any, first_ms: Any, count: Any,
    events: int, now: int, own: Any, n_events: int, session_seq: int, mark: Any, t_keys: Any, t_weights: Any, t_from: int,
    t_to: int, t_total: float,
) -> None:  # fmt: skip
    """Fill the columns from ``first`` on. Ages are in events and seconds; ``own`` has dtype OWN, the latest last."""
    n_own = own.shape[0]
    for i in range(n_own):
        mark[own[i]["item"]] = i + 1
    n_pop = pop.shape[0]
    one = np.float32(1.0)
    for i in range(n):
        row = rows[i]
        c = first
        for h in range(n_pop):
            share = np.float32(pop[h, row] / pop_total[h]) if pop_total[h] > 0.0 else np.float32(0.0)
            x[i, c] = one + fast_log(share + np.float32(1e-6)) * np.float32(1.0 / 13.8)
            c += 1
        since = np.float32(events - last_n[row])
        x[i, c] = one - fast_log(one + since) * np.float32(1.0 / 14.0)
        seconds = np.float32(max(now - last_ms[row], 0)) * np.float32(0.001)
        x[i, c + 1] = one - fast_log(one + seconds) * np.float32(1.0 / 16.0)
        x[i, c + 2] = one / (one + since)
        x[i, c + 3] = one / (one + since * np.float32(0.05))
        seen = np.float32(count[row])
        x[i, c + 4] = fast_log(one + seen) * np.float32(0.1)
        age = np.float32(max(now - first_ms[row], 0)) * np.float32(0.001)
        x[i, c + 5] = one - fast_log(one + age) * np.float32(1.0 / 18.0)
        x[i, c + 6] = one if count[row] <= 2 else np.float32(0.0)
        c += 7
        at = mark[row] - 1
        if at >= 0:
            o = own[at]
            times = np.float32(o["count"])
            distinct = np.float32(n_own - 1 - at)
            gap = np.float32(max(now - o["last"], 0)) * np.float32(0.001)
            x[i, c] = one
            x[i, c + 1] = fast_log(times) * np.float32(0.25)
            x[i, c + 2] = times / np.float32(max(n_events, 1))
            x[i, c + 3] = one - fast_log(one + gap) * np.float32(1.0 / 16.0)
            x[i, c + 4] = one / (one + distinct)
            x[i, c + 5] = one - fast_log(one + distinct) * np.float32(1.0 / 6.0)
            x[i, c + 6] = one if o["seq"] >= session_seq else np.float32(0.0)
            x[i, c + 7] = one if o["count"] == 1 else np.float32(0.0)
            x[i, c + 8] = one if distinct == 0 else np.float32(0.0)
            waited = np.float32(due(o["first"], o["last"], o["count"], now))
            x[i, c + 9] = min(waited, np.float32(2.0)) * np.float32(0.5)
            x[i, c + 10] = one if o["flags"] & BOUGHT else np.float32(0.0)
            x[i, c + 11] = one if o["flags"] & CARTED else np.float32(0.0)
            x[i, c + 12] = one if o["flags"] & LIKED else np.float32(0.0)
        c += 13
        listed = np.float32(0.0)
        for s in range(n_lists):
            listed += x[i, 3 * n_lists + s]
        x[i, c + 2] = listed / np.float32(n_lists)
    for i in range(n_own):
        mark[own[i]["item"]] = 0
    for i in range(n):
        mark[rows[i]] = i + 1
    c = first + n_pop + len(ITEM) + len(OWN_NAMES)
    for t in range(t_from, t_to):
        at = mark[t_keys[t]] - 1
        if at >= 0:
            p = np.float32(t_weights[t] / t_total)
            x[at, c] = p
            x[at, c + 1] = one + fast_log(p + np.float32(0.001)) * np.float32(1.0 / 6.91)
    for i in range(n):
        mark[rows[i]] = 0


def seen_by_units(lists: tuple[str, ...]) -> int:
    """The first of the columns that hidden units are sums of, up to `LAST`: of a source the rank alone, and all that is not of a source."""
    return SOURCE.index("log_rank") * len(lists)
